"""FB-Scores of parts of the prompts with their 95 % intervals, before and after an edit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfbiasedit.figures.style import AFTER, BEFORE, GREY, WIDTH, axes_or_new, plain, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Score:
    """An FB-Score and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """One part: its name, its number of prompts, its score and, of a run, that after the edit."""

    name: str
    prompts: int
    before: Score
    after: Score | None = None


def draw_scores(rows: Sequence[Row], *, ax: Axes | None = None) -> Figure:
    """One line per part in the order given: circle before, square after, bars for the intervals.

    The number of prompts stands behind each name.
    """
    figure, axes = axes_or_new(ax, WIDTH, 1.0 + 0.27 * len(rows))
    axes.grid(True, axis="x")
    run = any(row.after is not None for row in rows)
    for place, row in enumerate(rows):
        if row.after is not None:
            ends = [row.before.value, row.after.value]
            axes.plot(ends, [place, place], color=GREY, linewidth=1, zorder=1)
            _mark(axes, place + 0.14, row.after, AFTER, "s")
        shift, colour = (-0.14, BEFORE) if run else (0.0, AFTER)
        _mark(axes, place + shift, row.before, colour, "o")
    names = [f"{plain(shorten(row.name, 36))} ({row.prompts:,})" for row in rows]
    axes.set_yticks(range(len(rows)), names)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel(
        "FB-Score (0: matches the reference), 95% interval; in brackets: prompts", loc="right"
    )
    if run:
        axes.plot([], [], "o-", color=BEFORE, label="before the edit")
        axes.plot([], [], "s-", color=AFTER, label="after it")
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.2)
    return figure


def _mark(axes: Axes, place: float, score: Score, colour: str, marker: str) -> None:
    axes.plot([score.low, score.high], [place, place], color=colour, linewidth=1.8, zorder=2)
    axes.plot([score.value], [place], marker, color=colour, markersize=5.5, zorder=3)
