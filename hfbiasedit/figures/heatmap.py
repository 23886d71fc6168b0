"""FB-Score of every template for every occupation group."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hfbiasedit.figures.style import SEQUENTIAL, new_figure, plain, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

Cells = Mapping[tuple[str, str], float]


def draw_heatmap(panels: Sequence[tuple[str, Cells]]) -> Figure:
    """One panel per audit (`title`, (template, group) -> FB-Score), one colour scale for all.

    Cells without prompts stay white. Groups are rows, templates columns.
    """
    groups = sorted({group for _, cells in panels for _, group in cells})
    templates = sorted({template for _, cells in panels for template, _ in cells})
    width = max(7.0, 3.4 + 0.52 * len(templates))
    height = 1.5 + len(panels) * max(1.2, 0.4 + 0.24 * len(groups))
    figure = new_figure(width, height)
    column = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    top = max((value for _, cells in panels for value in cells.values()), default=1.0)
    for axes, (title, cells) in zip(column, panels, strict=True):
        image = _panel(axes, title, cells, groups, templates, max(top, 1.0))
    bar = figure.colorbar(image, ax=list(column), fraction=0.03, pad=0.015, aspect=30)
    bar.set_label("FB-Score (0 = matches reality)")
    bar.outline.set_visible(False)
    return figure


def _panel(
    axes: Axes,
    title: str,
    cells: Cells,
    groups: Sequence[str],
    templates: Sequence[str],
    top: float,
) -> AxesImage:
    import matplotlib
    import numpy as np

    values = np.array(
        [[cells.get((template, group), math.nan) for template in templates] for group in groups]
    )
    image = axes.imshow(values, cmap=SEQUENTIAL, vmin=0, vmax=top, aspect="auto")
    shades = matplotlib.colormaps[SEQUENTIAL]
    for y, line in enumerate(values):
        for x, value in enumerate(line):
            if math.isfinite(value):
                red, green, blue, _ = shades(value / top)
                light = 0.3 * red + 0.59 * green + 0.11 * blue > 0.5
                colour = "black" if light else "white"
                text = f"{value:.0f}"
                axes.text(x, y, text, ha="center", va="center", fontsize=6.5, color=colour)
    names = [plain(shorten(name, 26)) for name in templates]
    axes.set_xticks(range(len(templates)), names, rotation=50, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(groups)), [plain(shorten(name, 34)) for name in groups])
    axes.tick_params(length=0, labelsize=7.5)
    axes.set_title(title)
    for side in axes.spines.values():
        side.set_visible(False)
    return image
