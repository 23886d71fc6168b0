"""Names beside points, placed so that they cover neither each other nor the data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from hfbiasedit.figures.style import INK, freeze_layout, plain, shorten

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

_DISTANCES = (
    4,
    10,
    17,
    26,
    37,
    52,
    69,
)  # from the point to the nearest edge, in points (1/72 inch)
_COST_OF_COVERING = 29.0  # points of distance that one uncovered data point is worth
_TOO_CROWDED = 72.0  # points of cost above which a name is left out
_WITHOUT_LINE = 7  # points; a name this near needs no line to its point


def label_points(
    axes: Axes,
    points: Sequence[tuple[float, float, str]],
    *,
    obstacles: Sequence[tuple[float, float]] = (),
    size: float = 7.5,
    length: int = 26,
) -> list[str]:
    """Write names near their points (x, y, name; the most important first) with a thin line.

    Each goes to the nearest free place inside the axes that covers no other name and as few
    `obstacles` (x, y) as possible; where it is too crowded the name is left out. Returns the
    names that were written. Call it last: limits and layout must be final.
    """
    import numpy as np

    freeze_layout(axes.figure)  # type: ignore[arg-type]  # we draw no sub-figures
    frame = axes.get_window_extent()
    scale = axes.figure.dpi / 72
    blocked = axes.transData.transform(obstacles) if len(obstacles) else np.empty((0, 2))
    taken: list[tuple[float, float, float, float]] = []
    written = []
    for x, y, name in points:
        text = plain(shorten(name, length))
        width, height = _size(axes, text, size)
        px, py = axes.transData.transform((x, y))
        best = None
        for distance, box in _places(px, py, width, height, scale):
            inside = frame.x0 <= box[0] and box[2] <= frame.x1
            inside = inside and frame.y0 <= box[1] and box[3] <= frame.y1
            if not inside or any(_overlap(box, other) for other in taken):
                continue
            line = _line(px, py, box)
            crossed = sum(_covered(other, line) > 0 for other in taken)
            cost = distance + _COST_OF_COVERING * (_covered(box, blocked) + crossed)
            if best is None or cost < best[0]:
                best = (cost, distance, box)
        if best is None or best[0] > _TOO_CROWDED:
            continue
        _write(axes, (x, y), text, size, best[1] > _WITHOUT_LINE, best[2])
        taken.append(best[2])
        blocked = np.concatenate([blocked, _line(px, py, best[2])])
        written.append(name)
    return written


def _size(axes: Axes, text: str, size: float) -> tuple[float, float]:
    """Width and height of the text in pixels, with a little air around it."""
    probe = axes.text(0, 0, text, fontsize=size)
    box = probe.get_window_extent()
    probe.remove()
    return box.width + 4, box.height + 3


def _places(
    x: float, y: float, width: float, height: float, scale: float
) -> Iterator[tuple[float, tuple[float, float, float, float]]]:
    """Boxes around a point, near ones first: (distance, (left, bottom, right, top))."""
    for distance in _DISTANCES:
        for step in range(16):
            angle = 2 * math.pi * step / 16
            across, up = math.cos(angle), math.sin(angle)
            centre_x = x + across * (distance * scale + width / 2)
            centre_y = y + up * (distance * scale + height / 2)
            yield (
                distance,
                (
                    centre_x - width / 2,
                    centre_y - height / 2,
                    centre_x + width / 2,
                    centre_y + height / 2,
                ),
            )


def _overlap(
    one: tuple[float, float, float, float], other: tuple[float, float, float, float]
) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _line(x: float, y: float, box: tuple[float, float, float, float]) -> np.ndarray:
    """Points on the line from a point to the edge of its box."""
    import numpy as np

    near = np.array([min(max(x, box[0]), box[2]), min(max(y, box[1]), box[3])])
    return np.array([x, y]) + np.linspace(0.1, 0.9, 9)[:, None] * (near - [x, y])


def _covered(box: tuple[float, float, float, float], blocked: np.ndarray) -> int:
    inside = (blocked[:, 0] > box[0] - 2) & (blocked[:, 0] < box[2] + 2)
    return int((inside & (blocked[:, 1] > box[1] - 2) & (blocked[:, 1] < box[3] + 2)).sum())


def _write(
    axes: Axes,
    point: tuple[float, float],
    text: str,
    size: float,
    with_line: bool,
    box: tuple[float, float, float, float],
) -> None:
    centre = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    line = {"arrowstyle": "-", "color": INK, "linewidth": 0.45, "shrinkA": 0, "shrinkB": 2.5}
    note = axes.annotate(
        text,
        point,
        xytext=tuple(axes.transData.inverted().transform(centre)),
        textcoords="data",
        ha="center",
        va="center",
        fontsize=size,
        color=INK,
        arrowprops=line if with_line else None,
        zorder=6,
        bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.4},
    )
    note.set_in_layout(False)
