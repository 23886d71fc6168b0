"""What smaller and larger budgets reach: the curve from which the size of an edit was chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfbiasedit.figures.style import BLUE, GREY, VERMILLION, WIDTH, axes_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Budget:
    """One of nested budgets: weights, distance on dev, KL in nats per token, whether taken."""

    weights: int
    dev_fb: float
    kl: float
    chosen: bool


def draw_budgets(budgets: Sequence[Budget], allowed: float, *, ax: Axes | None = None) -> Figure:
    """Distance on dev against the number of weights; `allowed` is the largest mean KL.

    Budgets above it are hollow, the chosen one has a ring.
    """
    order = sorted(budgets, key=lambda budget: budget.weights)
    figure, axes = axes_or_new(ax, WIDTH, 3.0)
    axes.grid(True, axis="y")
    axes.plot([b.weights for b in order], [b.dev_fb for b in order], color=GREY, linewidth=1)
    within = [budget for budget in order if budget.kl <= allowed]
    beyond = [budget for budget in order if not budget.kl <= allowed]  # nan included
    for label, part, fill in (
        ("within the allowed divergence", within, BLUE),
        ("beyond it", beyond, "white"),
    ):
        if part:
            places, scores = [b.weights for b in part], [b.dev_fb for b in part]
            axes.scatter(
                places, scores, s=34, facecolor=fill, edgecolor=BLUE, zorder=3, label=label
            )
    taken = [budget for budget in order if budget.chosen]
    if taken:
        places, scores = [b.weights for b in taken], [b.dev_fb for b in taken]
        axes.scatter(
            places, scores, s=130, facecolor="none", edgecolor=VERMILLION, zorder=4, label="chosen"
        )
    axes.set_xscale("log")
    _name_budgets(axes, [budget.weights for budget in order])
    axes.set_xlabel("weights that may change")
    axes.set_ylabel("distance on dev prompts, weighted")
    axes.set_ylim(0, 1.15 * max(1.0, *(budget.dev_fb for budget in order)))
    axes.legend(loc="lower left")
    return figure


def _name_budgets(axes: Axes, weights: Sequence[int]) -> None:
    """A tick for every budget: powers of ten say little about five of them."""
    from matplotlib.ticker import EngFormatter, FixedLocator, NullLocator

    number = EngFormatter(sep="")
    axes.xaxis.set_major_locator(FixedLocator(weights))
    axes.xaxis.set_major_formatter(lambda value, _: number(float(f"{value:.3g}")))
    axes.xaxis.set_minor_locator(NullLocator())
