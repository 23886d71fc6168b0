"""Names of points beside the axes: they cover no data, and the lines to them do not cross."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from hfbiasedit.figures.style import INK, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GAP = 0.055  # between names, as a share of the height of the axes
_LEFT = 1.06  # where names begin, as a share of the width


def name_points(
    axes: Axes, points: Sequence[tuple[float, float, str]], *, size: float = 8
) -> list[str]:
    """Write names (x, y, name; both coordinates as shares of the axes, 0..1) in the right margin.

    Each point gets one of the places beside the axes so that the lines are shortest in all, which
    is also the assignment without crossings. Returns the names from bottom to top.
    """
    places = _spread([y for _, y, _ in points])
    order = _shortest(points, places)
    for place, index in zip(places, order, strict=True):
        x, y, name = points[index]
        axes.annotate(
            plain(name),
            (x, y),
            xycoords="axes fraction",
            xytext=(_LEFT, place),
            textcoords="axes fraction",
            ha="left",
            va="center",
            fontsize=size,
            color=INK,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "relpos": (0, 0.5),
                "color": INK,
                "linewidth": 0.5,
                "shrinkA": 1,
                "shrinkB": 2,
            },
            zorder=6,
        )
    return [points[index][2] for index in order]


def _spread(heights: Sequence[float]) -> list[float]:
    """Places near the heights, ascending, at least a gap apart and inside the axes."""
    gap = min(_GAP, 1 / max(1, len(heights)))
    places: list[float] = []
    for height in sorted(heights):
        places.append(max(height, places[-1] + gap) if places else height)
    top = 1.0
    for number in reversed(range(len(places))):
        places[number] = min(places[number], top)
        top = places[number] - gap
    shift = max(0.0, -places[0]) if places else 0.0
    return [place + shift for place in places]


def _shortest(points: Sequence[tuple[float, float, str]], places: Sequence[float]) -> list[int]:
    """The point of each place; two lines that cross are always longer than when exchanged."""
    order = sorted(range(len(points)), key=lambda index: points[index][1])

    def length(index: int, place: float) -> float:
        x, y, _ = points[index]
        return float(((_LEFT - x) ** 2 + (place - y) ** 2) ** 0.5)

    better = True
    while better:
        better = False
        for one, other in combinations(range(len(order)), 2):
            i, j = order[one], order[other]
            now = length(i, places[one]) + length(j, places[other])
            if length(j, places[one]) + length(i, places[other]) < now - 1e-9:
                order[one], order[other], better = j, i, True
    return order
