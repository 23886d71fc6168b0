"""From passes to operations and seconds."""

from __future__ import annotations

from collections.abc import Sequence

from hfbiasedit.editing.forecasting.calibration import Rate, Rates
from hfbiasedit.editing.forecasting.counts import Selected
from hfbiasedit.editing.forecasting.passes import LOOKS, TRIES, Pass, Sizes
from hfbiasedit.editing.forecasting.widths import Widths
from hfbiasedit.editing.locating.energies import SLIM
from hfbiasedit.editing.locating.solutions import SKETCH
from hfbiasedit.editing.solving import gauss_newton


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
    narrow = len(tried) + 3
    wide = 2 * rounds + TRIES * (LOOKS + 1)
    inner = 2.0 * values**2 * (sum(tried) + rounds * widest)
    return inner, float((narrow + wide) * values * widest)


def seconds(
    sizes: Sizes, passes: Sequence[Pass], ladder: Sequence[Selected], widths: Widths, rates: Rates
) -> tuple[float, float]:
    """Processor seconds and seconds of the clock."""
    forward = sum(operations(one, widths) for one in passes if not one.backward)
    both = sum(operations(one, widths) for one in passes if one.backward)
    wide = sum(beside(one, widths, ladder[0].coordinates) for one in passes)
    inner, through = algebra(sizes, ladder)

    def spent(part: str) -> float:
        def by(rate: Rate) -> float:
            return float(getattr(rate, part))

        return (
            forward / by(rates.forward)
            + both / by(rates.both)
            + (wide + inner) / by(rates.wide)
            + through / by(rates.rows)
        )

    return spent("processor"), spent("wall")
