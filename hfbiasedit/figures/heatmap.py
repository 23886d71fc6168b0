"""FB-Score of every template for every occupation group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfbiasedit.documents.thresholds import FEW_IN_CELL
from hfbiasedit.figures.style import PALE, SEQUENTIAL, axes_or_new, new_figure, plain, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage


@dataclass(frozen=True)
class Cell:
    """The FB-Score of the prompts of one template about one group, and their number."""

    score: float
    prompts: int


# Not the ink and the ground of figures: pages turn those round for dark screens, not the cells.
_ON_LIGHT, _ON_DARK = "#010101", "#FEFEFE"

_MOST = 16  # templates that are still read at the width of a card

Cells = Mapping[tuple[str, str], Cell]  # (template, group)


def is_readable(cells: Cells) -> bool:
    """Whether it fits a page, and at least half of the cells have prompts enough."""
    if len({template for template, _ in cells}) > _MOST:
        return False
    return 2 * sum(cell.prompts >= FEW_IN_CELL for cell in cells.values()) >= len(cells) > 0


def draw_heatmap(panels: Sequence[tuple[str, Cells]], *, ax: Axes | None = None) -> Figure:
    """One panel per audit (title, cells), one colour scale for all.

    Groups are rows, templates columns, both with the highest mean of the first panel first. A cell
    shows its score and, smaller, its number of prompts; cells of fewer than five prompts are grey,
    cells without prompts white.
    """
    templates, groups = (_sorted(panels[0][1], axis) for axis in (0, 1))
    height = 1.3 + len(panels) * (0.5 + 0.3 * len(groups))
    if ax is not None:
        figure, column = axes_or_new(ax, 0, 0)[0], [ax]
    else:
        figure = new_figure(2.6 + 0.36 * len(templates), height)
        column = list(figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0])
    values = [c.score for _, cells in panels for c in cells.values() if c.prompts >= FEW_IN_CELL]
    top = max([*values, 1.0])
    for axes, (title, cells) in zip(column, panels, strict=True):
        image = _panel(axes, title, cells, groups, templates, top)
    bar = figure.colorbar(image, ax=column, fraction=0.03, pad=0.015, aspect=30)
    bar.set_label("FB-Score (grey: fewer than 5 prompts)")
    bar.outline.set_visible(False)
    return figure


def _sorted(cells: Cells, axis: int) -> list[str]:
    """Names of one axis by the mean of their prompts, the highest first."""
    sums: dict[str, tuple[float, int]] = {}
    for key, cell in cells.items():
        total, number = sums.get(key[axis], (0.0, 0))
        sums[key[axis]] = (total + cell.score * cell.prompts, number + cell.prompts)
    return sorted(sums, key=lambda name: (-sums[name][0] / sums[name][1], name))


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
    from matplotlib.patches import Rectangle

    values = np.full((len(groups), len(templates)), np.nan)
    shades = matplotlib.colormaps[SEQUENTIAL]
    for (template, group), cell in cells.items():
        if template not in templates or group not in groups:
            continue
        x, y = templates.index(template), groups.index(group)
        few = cell.prompts < FEW_IN_CELL
        if few:
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, color=PALE, linewidth=0))
        else:
            values[y, x] = cell.score
        red, green, blue, _ = shades(cell.score / top)
        light = few or 0.3 * red + 0.59 * green + 0.11 * blue > 0.5
        colour = _ON_LIGHT if light else _ON_DARK
        axes.text(
            x, y - 0.14, f"{cell.score:.0f}", ha="center", va="center", fontsize=7, color=colour
        )
        axes.text(
            x, y + 0.28, f"{cell.prompts}", ha="center", va="center", fontsize=5, color=colour
        )
    image = axes.imshow(values, cmap=SEQUENTIAL, vmin=0, vmax=top, aspect="auto")
    names = [plain(shorten(name, 26)) for name in templates]
    axes.set_xticks(range(len(templates)), names, rotation=50, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(groups)), [plain(shorten(name, 34)) for name in groups])
    axes.tick_params(length=0, labelsize=7.5)
    axes.set_title(plain(title))
    for side in axes.spines.values():
        side.set_visible(False)
    return image
