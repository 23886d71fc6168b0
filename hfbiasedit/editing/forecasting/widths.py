"""What a token goes through in a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from hfbiasedit.editing.running.activations import matrices_per_token, sides_per_token
from hfbiasedit.models.architecture import Projection


@dataclass(frozen=True)
class Widths:
    """What a token goes through: weights and sides of projections, matrices, the head's weights."""

    weights: int
    sides: int
    matrices: int
    head: int

    @classmethod
    def of(cls, model: nn.Module, items: Sequence[Projection]) -> Widths:
        """Those of a model; of experts those count that a token is given to.

        Raises:
            BiasEditError: nobody knows how many these are.
        """
        head = model.get_output_embeddings()  # type: ignore[operator]
        used = [matrices_per_token(model, item) for item in items]
        return cls(
            sum(n * (i.weights // i.experts) for n, i in zip(used, items, strict=True)),
            sum(sides_per_token(model, item) for item in items),
            sum(used),
            0 if head is None else head.weight.numel(),
        )
