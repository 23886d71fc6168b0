"""How far single prompts are from reality, by the polarity of their modifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hfbiasedit.figures.style import AFTER, BEFORE, POLARITIES, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Counts = Mapping[str, Sequence[int]]


def draw_histogram(edges: Sequence[float], counts: Counts, after: Counts | None = None) -> Figure:
    """One panel per polarity; `counts[polarity][i]` prompts have FB in `edges[i]..edges[i+1]`.

    FB is in points (0 to 100). With `after`, the outline is the distribution before the edit
    and the filled one after it. Bars show the share of that polarity's prompts.
    """
    polarities = [name for name in POLARITIES if name in counts]
    polarities += sorted(name for name in counts if name not in POLARITIES)
    filled = [list(series) for each in (counts, after or {}) for series in each.values()]
    last = max((i for series in filled for i, number in enumerate(series) if number), default=0)
    right = edges[last + 1]  # no empty tail
    figure = new_figure(10.4, 2.9)
    row = figure.subplots(1, len(polarities), sharex=True, sharey=True, squeeze=False)[0]
    for axes, name in zip(row, polarities, strict=True):
        axes.grid(True, axis="y")
        if after is None:
            fill = POLARITIES.get(name, BEFORE)
            _steps(axes, edges, counts[name], fill=fill, label="prompts")
        else:
            _steps(axes, edges, after.get(name, [0] * (len(edges) - 1)), fill=AFTER, label="after")
            _steps(axes, edges, counts[name], line=BEFORE, label="before")
        total = sum(counts[name])
        axes.set_title(f"{name} modifiers ({total:,} prompts)")
        axes.set_xlabel("distance from reality (FB, points)")
        axes.set_xlim(edges[0], right)
    row[0].set_ylabel("share of prompts")
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    row[0].yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    row[0].yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    if after is not None:
        row[-1].legend(loc="upper right")
    return figure


def _steps(
    axes: Axes,
    edges: Sequence[float],
    counts: Sequence[int],
    *,
    label: str,
    fill: str | None = None,
    line: str | None = None,
) -> None:
    total = max(1, sum(counts))
    shares = [count / total for count in counts]
    if fill is not None:
        axes.stairs(shares, edges, fill=True, color=fill, alpha=0.75, label=label)
    else:
        axes.stairs(shares, edges, color=line, linewidth=2, label=label, zorder=4)
