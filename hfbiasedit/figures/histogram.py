"""How far single prompts are from the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hfbiasedit.figures.style import AFTER, BEFORE, POLARITIES, WIDTH, axes_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Counts = Mapping[str, Sequence[int]]
_LINES = ("-", "--", ":", "-.")  # told apart without colours too


def draw_histogram(
    edges: Sequence[float],
    counts: Counts,
    after: Counts | None = None,
    *,
    ax: Axes | None = None,
) -> Figure:
    """The share of prompts by their distance from the reference.

    `counts[polarity][i]` prompts have FB in `edges[i]..edges[i+1]` (points, 0 to 100). One audit
    shows a line per polarity of the modifier; with `after`, all prompts before (outline) and
    after the edit (filled).
    """
    figure, axes = axes_or_new(ax, WIDTH, 3.2)
    axes.grid(True, axis="y")
    if after is None:
        names = [name for name in POLARITIES if name in counts]
        names += sorted(name for name in counts if name not in POLARITIES)
        for number, name in enumerate(names):
            _line(
                axes, edges, counts[name], f"{name} modifiers", POLARITIES.get(name, BEFORE), number
            )
        shown = list(counts.values())
    else:
        before, later = (_sum(side, len(edges) - 1) for side in (counts, after))
        axes.stairs(
            _shares(later), edges, fill=True, color=AFTER, alpha=0.75, label="after the edit"
        )
        _line(axes, edges, before, "before it", BEFORE, 0)
        shown = [before, later]
    last = max((i for row in shown for i, number in enumerate(row) if number), default=0)
    axes.set_xlim(edges[0], edges[last + 1])  # no empty tail
    axes.set_xlabel("distance of a prompt from the reference (FB, points)")
    axes.set_ylabel("share of prompts")
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.legend(loc="upper right")
    return figure


def _line(
    axes: Axes, edges: Sequence[float], counts: Sequence[int], name: str, colour: str, number: int
) -> None:
    axes.stairs(
        _shares(counts),
        edges,
        color=colour,
        linewidth=1.8,
        linestyle=_LINES[number % len(_LINES)],
        label=f"{name} ({sum(counts):,} prompts)",
        zorder=4,
    )


def _sum(counts: Counts, length: int) -> list[int]:
    return [sum(row[place] for row in counts.values()) for place in range(length)]


def _shares(counts: Sequence[int]) -> list[float]:
    total = max(1, sum(counts))
    return [count / total for count in counts]
