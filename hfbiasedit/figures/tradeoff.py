"""What each granularity buys: bias left on held-out prompts against how many weights it took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfbiasedit.figures.style import COLOURS, GREY, new_figure
from hfbiasedit.levels import LEVELS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Attempt:
    """One edit of a sweep; `fb` with its interval is the FB-Score left on the held-out split."""

    name: str
    granularity: str
    weights: int
    fb: float
    fb_interval: tuple[float, float]
    kl: float
    baseline: bool = False


def draw_tradeoff(attempts: Sequence[Attempt], fb_before: float) -> Figure:
    """FB-Score against edited weights (left) and against divergence on general code (right)."""
    figure = new_figure(8.6, 3.9)
    left, right = figure.subplots(1, 2, sharey=True)
    _panel(left, attempts, [max(1, attempt.weights) for attempt in attempts], fb_before)
    left.set_xscale("log")
    left.set_xlabel("edited weights")
    left.set_ylabel("FB-Score, held-out (0: matches the reference)")
    _panel(right, attempts, [max(1e-6, attempt.kl) for attempt in attempts], fb_before)
    right.set_xscale("log")
    right.set_xlabel("KL(original || edited) on general code, nats per token")
    top = max([fb_before, *(attempt.fb_interval[1] for attempt in attempts)])
    left.set_ylim(0, 1.08 * top)
    left.legend(loc="lower left", ncols=2)
    return figure


def _panel(
    axes: Axes, attempts: Sequence[Attempt], places: Sequence[float], fb_before: float
) -> None:
    axes.axhline(fb_before, color=GREY, linewidth=1, linestyle="--", label="before")
    axes.grid(axis="y")
    for attempt, place in zip(attempts, places, strict=True):
        level = LEVELS.get(attempt.granularity)
        colour = COLOURS[level.colour] if level else GREY
        low, high = attempt.fb_interval
        axes.errorbar(
            place,
            attempt.fb,
            yerr=[[max(0.0, attempt.fb - low)], [max(0.0, high - attempt.fb)]],
            fmt=level.marker if level else "x",
            color=colour,
            markerfacecolor="white" if attempt.baseline else colour,
            markersize=6,
            capsize=2,
            linewidth=0.9,
            label=attempt.name,
        )
