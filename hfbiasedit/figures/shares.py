"""Model share against factual share, one point per profession; the diagonal is reality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfbiasedit.figures.labels import label_points
from hfbiasedit.figures.style import AFTER, BEFORE, GREY, INK, new_figure, share_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Point:
    """A profession: its name, the share of women in reality and in the model, both 0..1."""

    name: str
    factual: float
    model: float


def draw_shares(panels: Sequence[tuple[str, Sequence[Point]]], *, labels: int = 8) -> Figure:
    """One panel per audit (`title`, points), side by side on the same axes.

    A point on the diagonal is a profession that the model writes as reality has it; the
    `labels` professions farthest from it are named.
    """
    side = 6.0 if len(panels) == 1 else 4.6
    figure = new_figure(0.6 + side * len(panels), side + 0.3)
    row = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    for number, (axes, (title, points)) in enumerate(zip(row, panels, strict=True)):
        first = number == 0
        _panel(axes, title, points, BEFORE if first and len(panels) > 1 else AFTER)
        share_axis(axes, "y", "women in the model's answers" if first else "")
    row[0].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.1)
    for axes, (_, points) in zip(row, panels, strict=True):
        far = sorted(points, key=lambda point: (-abs(point.model - point.factual), point.name))
        obstacles = [(point.factual, point.model) for point in points]
        obstacles += [(step / 60, step / 60) for step in range(61)]
        named = [(point.factual, point.model, point.name) for point in far[:labels]]
        label_points(axes, named, obstacles=obstacles)
    return figure


def _panel(axes: Axes, title: str, points: Sequence[Point], colour: str) -> None:
    axes.grid(True)
    axes.fill_between(
        [0, 1],
        [-0.1, 0.9],
        [0.1, 1.1],
        color=GREY,
        alpha=0.15,
        linewidth=0,
        label="within 10 points of it",
    )
    axes.plot([0, 1], [0, 1], color=INK, linewidth=1.1, label="reality")
    axes.scatter(
        [point.factual for point in points],
        [point.model for point in points],
        s=17,
        facecolor=colour,
        edgecolor="white",
        linewidth=0.35,
        alpha=0.85,
        zorder=3,
    )
    axes.set_title(title)
    axes.set_aspect("equal")
    share_axis(axes, "x", "women in the occupation (reference)")
