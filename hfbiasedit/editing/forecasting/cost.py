"""From passes to operations and seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from hfbiasedit.editing.forecasting.calibration import Rate, Rates
from hfbiasedit.editing.forecasting.counts import Selected
from hfbiasedit.editing.forecasting.passes import LOOKS, Pass, Sizes, tries
from hfbiasedit.editing.locating.energies import SLIM
from hfbiasedit.editing.locating.solutions import SKETCH
from hfbiasedit.editing.running.activations import matrices_per_token, sides_per_token
from hfbiasedit.editing.solving import curve, gauss_newton
from hfbiasedit.models.architecture import Projection

# What a pass takes beside its matrix products (attention, norms, activations, bookkeeping), in
# times of them.
BESIDE = 1.4


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


def operations(one: Pass, widths: Widths) -> float:
    """Of the products of all passes of a kind; two per weight and token, forwards and back."""
    size = one.size
    forward = 2.0 * (size.tokens * widths.weights + size.places * widths.head)
    return one.times * forward * (2 if one.backward else 1)


def beside(one: Pass, widths: Widths, coordinates: int) -> float:
    """Operations in float32 on inputs and gradients."""
    each = {
        "nothing": 0.0,
        "sketch": 2.0 * widths.sides * SKETCH + 2.0 * widths.matrices * SKETCH**2,
        "sums": 4.0 * widths.sides * SLIM,
        "rows": 2.0 * coordinates,
        "move": 2.0 * coordinates,
    }
    return one.times * one.size.tokens * each[one.beside]


def algebra(sizes: Sizes, ladder: Sequence[Selected]) -> tuple[float, float]:
    """Operations of inner products between prompts, elements of rows that are gone through."""
    values, rounds = sizes.train.sequences + sizes.held.sequences, gauss_newton.ROUNDS
    widest = ladder[0].coordinates
    tried = [one.coordinates for one in ladder] if len(ladder) > 1 else []
    # A try pulls a move out of the rows, as often as the gender mass is looked at, and pushes it
    # back once; a linear model is filled and checked.
    narrow = curve.TRIES * len(tried) + 2
    wide = 2 * rounds + tries() * (LOOKS + 1)
    inner = 2.0 * values**2 * (sum(tried) + rounds * widest)
    return inner, float((narrow + wide) * values * widest)


def seconds(
    sizes: Sizes, passes: Sequence[Pass], ladder: Sequence[Selected], widths: Widths, rates: Rates
) -> tuple[float, float]:
    """Processor seconds and seconds of the clock."""
    products = BESIDE * sum(operations(one, widths) for one in passes)
    wide = sum(beside(one, widths, ladder[0].coordinates) for one in passes)
    inner, through = algebra(sizes, ladder)

    def spent(part: str) -> float:
        def by(rate: Rate) -> float:
            return float(getattr(rate, part))

        return (
            products / by(rates.products)
            + (wide + inner) / by(rates.wide)
            + through / by(rates.rows)
        )

    return spent("processor"), spent("wall")
