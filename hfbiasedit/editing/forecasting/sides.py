"""What a token goes through: of every projection once, of stacked experts some of them."""

from __future__ import annotations

from typing import Any

from torch import nn

from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.architecture import Projection


def matrices_per_token(model: nn.Module, item: Projection) -> int:
    """How many of the matrices of a tensor a token is given to.

    Raises:
        BiasEditError: the configuration of a model with experts does not say it.
    """
    if item.experts == 1:
        return 1
    config: Any = model.config
    found = getattr(config.get_text_config(), "num_experts_per_tok", None)
    if not isinstance(found, int):
        raise BiasEditError(
            "the model's configuration does not say how many experts a token is given to "
            "(num_experts_per_tok), so that there is no forecast"
        )
    return min(found, item.experts)


def sides_per_token(model: nn.Module, item: Projection) -> int:
    """Outputs and inputs of the matrices of a tensor that a token is given to."""
    return matrices_per_token(model, item) * (item.rows // item.experts + item.columns)
