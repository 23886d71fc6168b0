"""FB-Score before and after on each split, with its 95% interval: what carries over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfbiasedit.figures.style import AFTER, BEFORE, GREY, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Row:
    """A split: its name and FB-Score with interval (low, high) before and after the edit."""

    name: str
    before: float
    before_interval: tuple[float, float]
    after: float
    after_interval: tuple[float, float]


def draw_intervals(rows: Sequence[Row]) -> Figure:
    """One line per split: circle before, square after, whiskers for the intervals."""
    figure = new_figure(8.6, 1.2 + 0.42 * len(rows))
    axes = figure.subplots()
    axes.grid(True, axis="x")
    for place, row in enumerate(rows):
        axes.plot([row.before, row.after], [place, place], color=GREY, linewidth=1, zorder=1)
        series = (
            (row.before, row.before_interval, BEFORE, "o", -0.1),
            (row.after, row.after_interval, AFTER, "s", 0.1),
        )
        for value, (low, high), colour, marker, shift in series:
            axes.plot([low, high], [place + shift] * 2, color=colour, linewidth=2, zorder=2)
            axes.plot([value], [place + shift], marker, color=colour, markersize=6, zorder=3)
    axes.plot([], [], "o-", color=BEFORE, label="before")
    axes.plot([], [], "s-", color=AFTER, label="after")
    axes.set_yticks(range(len(rows)), [plain(row.name) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel("FB-Score (0 = matches reality), with 95% interval over professions")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.2)
    return figure
