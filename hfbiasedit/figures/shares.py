"""Model share against factual share, one point per profession; the diagonal is the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfbiasedit.figures.labels import name_points
from hfbiasedit.figures.style import AFTER, BEFORE, GREY, INK, new_figure, plain, share_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_BELOW = 36  # points from an axis to what stands under its label


@dataclass(frozen=True)
class Point:
    """A profession: the share of women in the reference and in the model, both 0..1.

    `prompts` are behind the model's share; `rank` orders the names, the largest first.
    """

    name: str
    factual: float
    model: float
    prompts: int
    rank: float


@dataclass(frozen=True)
class Panel:
    """One audit: its title and its professions."""

    title: str
    points: Sequence[Point]


def draw_shares(
    panels: Sequence[Panel], *, labels: int = 6, axes: Sequence[Axes] | None = None
) -> Figure:
    """One panel per audit, side by side; hollow points rest on a single prompt.

    A point on the diagonal is a profession that the model writes as the reference has it.
    The `labels` professions of the highest rank are named with their number of prompts.
    """
    if axes is None:
        figure = new_figure(5.7, 4.3) if len(panels) == 1 else new_figure(10.4, 3.9)
        axes = list(figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0])
    for number, (one, panel) in enumerate(zip(axes, panels, strict=True)):
        first = number == 0
        _panel(one, panel, BEFORE if first and len(panels) > 1 else AFTER)
        share_axis(one, "x", "women, the reference")
        share_axis(one, "y", "women, model" if first else "")
        far = sorted(panel.points, key=lambda point: (-point.rank, point.name))[:labels]
        name_points(
            one,
            [
                (_place(p.factual), _place(p.model), f"{p.name} ({_prompts(p.prompts)})")
                for p in far
            ],
        )
    return axes[0].figure  # type: ignore[return-value]  # we draw no sub-figures


def _place(share: float) -> float:
    """Where a share stands on an axis of `share_axis`, 0..1."""
    return (share + 0.03) / 1.06


def _prompts(number: int) -> str:
    return "1 prompt" if number == 1 else f"{number} prompts"


def _panel(axes: Axes, panel: Panel, colour: str) -> None:
    from matplotlib.transforms import ScaledTranslation

    axes.grid(True)
    low, high = [-0.1, 0.9], [0.1, 1.1]
    axes.plot([0, 1], [0, 1], color=INK, linewidth=1.1, label="the reference")
    axes.fill_between(
        [0, 1], low, high, color=GREY, alpha=0.15, linewidth=0, label="within 10 points of it"
    )
    for single in (False, True):
        some = [point for point in panel.points if (point.prompts == 1) == single]
        if not some:
            continue
        axes.scatter(
            [point.factual for point in some],
            [point.model for point in some],
            s=15,
            facecolor="none" if single else colour,
            edgecolor=colour if single else "white",
            linewidth=0.8 if single else 0.35,
            alpha=0.9,
            zorder=3,
            label="one prompt" if single else "several prompts",
        )
    axes.set_title(plain(panel.title))
    axes.set_aspect("equal")
    # As far below as ticks and label reach, whatever room long names leave for the axes.
    below = axes.transAxes + ScaledTranslation(0, -_BELOW / 72, axes.figure.dpi_scale_trans)
    axes.legend(
        loc="upper left", bbox_to_anchor=(0, 0), bbox_transform=below, ncols=2, borderaxespad=0
    )
