"""Which layers and modules the edit touched, and how much of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hfbiasedit.figures.style import BLUE, GREEN, WIDTH, new_figure, plain, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_weights(layers: Sequence[tuple[int, int]], modules: Sequence[tuple[str, int]]) -> Figure:
    """Edited weights per layer (number, weights; above) and per kind of module (name, weights).

    Layers that are not in the list were not edited and show as gaps.
    """
    from matplotlib.ticker import MaxNLocator

    below = 0.9 + 0.24 * len(modules)
    figure = new_figure(WIDTH, 2.2 + below)
    above, under = figure.subplots(2, 1, height_ratios=[2.2, below])
    last = max(number for number, _ in layers)
    above.bar([number for number, _ in layers], [count for _, count in layers], color=BLUE)
    above.set_xlim(-0.7, last + 0.7)
    above.xaxis.set_major_locator(MaxNLocator(16, integer=True, min_n_ticks=1))
    above.set_xlabel("layer")
    above.set_ylabel("edited weights")
    above.grid(True, axis="y")
    under.barh(range(len(modules)), [weights for _, weights in modules], color=GREEN, height=0.75)
    names = [plain(shorten(name, 34)) for name, _ in modules]
    under.set_yticks(range(len(modules)), names, fontsize=8)
    under.invert_yaxis()
    under.set_xlabel("edited weights")
    under.grid(True, axis="x")
    _counts(above, "y")
    _counts(under, "x")
    return figure


def _counts(axes: Axes, axis: str) -> None:
    from matplotlib.ticker import EngFormatter, MaxNLocator

    target = axes.yaxis if axis == "y" else axes.xaxis
    target.set_major_locator(MaxNLocator(5, integer=True))
    target.set_major_formatter(EngFormatter(sep=""))
