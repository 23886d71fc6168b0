"""Where the bias sits: mean saliency per weight of every kind of matrix in every block."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hfbiasedit.figures.style import SEQUENTIAL, new_figure, plain, shorten

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure


def draw_saliency(
    roles: Sequence[str], cells: np.ndarray, saliency: str, chosen: Sequence[int] = ()
) -> Figure:
    """Blocks as rows (the first at the top), kinds of matrices as columns, on a logarithmic scale.

    `cells` [blocks, roles] holds the mean of a weight, of the measure called `saliency`. Blocks in
    `chosen` (those an edit may use) carry a mark; white cells have no such matrix.
    """
    from matplotlib.colors import LogNorm

    blocks = len(cells)
    positive = cells[cells > 0]
    low, high = (positive.min(), positive.max()) if len(positive) else (1e-12, 1.0)
    norm = LogNorm(low, max(high, low * 1.01))
    height = min(11.0, max(2.4, 1.4 + 0.26 * blocks))
    figure = new_figure(max(4.6, 2.2 + 0.62 * len(roles)), height)
    axes = figure.subplots()
    image = axes.imshow(cells, cmap=SEQUENTIAL, norm=norm, aspect="auto")
    axes.set_xticks(
        range(len(roles)),
        [plain(shorten(role, 24)) for role in roles],
        rotation=40,
        ha="right",
        rotation_mode="anchor",
    )
    step = max(1, math.ceil(blocks / 40))
    shown = range(0, blocks, step)
    marks = set(chosen)
    axes.set_yticks(shown, [f"{block} •" if block in marks else str(block) for block in shown])
    axes.set_ylabel("block (• open to the edit)" if marks else "block")
    axes.set_title(f"Saliency of a weight ({saliency}), mean")
    axes.tick_params(length=0, labelsize=7.5)
    for side in axes.spines.values():
        side.set_visible(False)
    bar = figure.colorbar(image, ax=axes, fraction=0.05, pad=0.02)
    bar.outline.set_visible(False)
    return figure
