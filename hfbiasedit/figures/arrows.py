"""The professions that an edit moved most: an arrow from before to after, and the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfbiasedit.figures.style import (
    BLUE,
    INK,
    VERMILLION,
    WIDTH,
    axes_or_new,
    plain,
    share_axis,
    shorten,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_VISIBLE = 0.006  # of the axis: a shorter arrow would be all head and point nowhere


@dataclass(frozen=True)
class Arrow:
    """A profession: the reference's share of women and the model's before and after, all 0..1.

    FB is the mean distance over prompts, so it may rise (`farther`) although the mean share comes
    closer.
    """

    name: str
    prompts: int
    factual: float
    before: float
    after: float
    farther: bool


def draw_arrows(
    arrows: Sequence[Arrow], counts: tuple[int, int], *, ax: Axes | None = None
) -> Figure:
    """One line per profession in the order given; black ticks are the reference.

    Blue arrows are professions whose FB fell, thicker vermillion ones those whose FB rose;
    `counts` are how many there are of either kind in all.
    """
    figure, axes = axes_or_new(ax, WIDTH, 1.3 + 0.235 * len(arrows))
    axes.grid(True, axis="x")
    for place, arrow in enumerate(arrows):
        colour, width = (VERMILLION, 2.0) if arrow.farther else (BLUE, 1.2)
        axes.plot([arrow.factual], [place], "|", color=INK, markersize=10, markeredgewidth=1.6)
        if abs(arrow.after - arrow.before) < _VISIBLE:
            axes.plot([arrow.after], [place], ".", color=colour, markersize=5, zorder=3)
            continue
        axes.plot([arrow.before], [place], "o", color=colour, markersize=3, zorder=3)
        axes.annotate(
            "",
            (arrow.after, place),
            xytext=(arrow.before, place),
            arrowprops={
                "arrowstyle": "-|>,head_length=0.3,head_width=0.16",
                "color": colour,
                "linewidth": width,
                "shrinkA": 0,
                "shrinkB": 0,
                "mutation_scale": 10,
            },
            zorder=3,
        )
    names = [f"{plain(shorten(arrow.name, 34))} ({arrow.prompts})" for arrow in arrows]
    axes.set_yticks(range(len(arrows)), names, fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(arrows) - 0.4, -0.6)
    share_axis(axes, "x", "")
    axes.set_xlabel("share of women the model writes; in brackets: prompts", loc="right")
    _legend(axes, *counts)
    return figure


def _legend(axes: Axes, closer: int, farther: int) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=INK, marker="|", linestyle="", markersize=10, label="the reference"),
        Line2D([], [], color=BLUE, linewidth=1.2, label=f"closer to it ({closer} in all)"),
        Line2D([], [], color=VERMILLION, linewidth=2.0, label=f"farther from it ({farther})"),
    ]
    axes.legend(
        handles=handles, loc="lower right", bbox_to_anchor=(1, 1.0), ncols=3, borderaxespad=0.2
    )
