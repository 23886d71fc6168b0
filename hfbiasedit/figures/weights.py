"""Which layers and modules the edit touched, and how much of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hfbiasedit.figures.style import BLUE, GREEN, new_figure, plain, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_weights(layers: Sequence[tuple[int, int]], modules: Sequence[tuple[str, int]]) -> Figure:
    """Edited weights per layer (number, weights; left) and per kind of module (name, weights).

    Layers that are not in the list were not edited and show as gaps.
    """
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(10.4, max(2.6, 1.1 + 0.24 * len(modules)))
    left, right = figure.subplots(1, 2, width_ratios=[1.6, 1])
    last = max(number for number, _ in layers)
    left.bar([number for number, _ in layers], [count for _, count in layers], color=BLUE)
    left.set_xlim(-0.7, last + 0.7)
    left.xaxis.set_major_locator(MaxNLocator(24, integer=True, min_n_ticks=1))
    left.set_xlabel("layer")
    left.set_ylabel("edited weights")
    left.grid(True, axis="y")
    right.barh(range(len(modules)), [weights for _, weights in modules], color=GREEN, height=0.75)
    names = [plain(shorten(name, 34)) for name, _ in modules]
    right.set_yticks(range(len(modules)), names, fontsize=8)
    right.invert_yaxis()
    right.set_xlabel("edited weights")
    right.grid(True, axis="x")
    _counts(left, "y")
    _counts(right, "x")
    return figure


def _counts(axes: Axes, axis: str) -> None:
    from matplotlib.ticker import EngFormatter, MaxNLocator

    target = axes.yaxis if axis == "y" else axes.xaxis
    target.set_major_locator(MaxNLocator(5, integer=True))
    target.set_major_formatter(EngFormatter(sep=""))
