"""Where the edit moved each profession: an arrow from before to after, beside reality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfbiasedit.documents.movements import VISIBLE
from hfbiasedit.figures.labels import label_points
from hfbiasedit.figures.style import BLUE, GREY, INK, VERMILLION, new_figure, share_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Movement:
    """A profession with its factual share and the model's share before and after, all 0..1.

    `fb_change` is the change of its FB in points. FB is the mean distance over prompts, so it may
    rise although the mean share comes closer.
    """

    name: str
    factual: float
    before: float
    after: float
    fb_change: float

    @property
    def direction(self) -> int:
        """1: away from reality, -1: towards it, 0: by less than can be shown."""
        if abs(self.fb_change) <= VISIBLE:
            return 0
        return 1 if self.fb_change > 0 else -1


def draw_arrows(movements: Sequence[Movement], *, labels: int = 8) -> Figure:
    """Professions from left to right by their factual share (the black line).

    Thin blue arrows lead closer to reality; thicker vermillion ones, drawn on top, away
    from it. The `labels` longest of either kind are named.
    """
    order = sorted(movements, key=lambda move: (move.factual, move.name))
    figure = new_figure(10.4, 5.2)
    axes = figure.subplots()
    axes.grid(True, axis="y")
    places = list(range(len(order)))
    axes.plot(places, [move.factual for move in order], color=INK, linewidth=1.6, zorder=4)
    pairs = list(zip(places, order, strict=True))
    closer, still, farther = (
        [(x, move) for x, move in pairs if move.direction == way] for way in (-1, 0, 1)
    )
    _arrows(axes, closer, BLUE, 0.9)
    _arrows(axes, still, GREY, 0.9)
    _arrows(axes, farther, VERMILLION, 1.6)
    _legend(axes, len(closer), len(still), len(farther))
    share_axis(axes, "y", "share of women")
    axes.set_xlim(-2, len(order) + 1)
    axes.set_xlabel(f"{len(order)} professions, ordered by their share of women in the reference")
    axes.set_title("From before the edit (tail) to after it (head)")
    obstacles = [(float(x), move.factual) for x, move in pairs]
    for x, move in pairs:
        span = move.after - move.before
        obstacles += [(x, move.before + span * step / 12) for step in range(13)]
    # Heads lie near the black line; tails of arrows that lead to it have room around them.
    named = [(float(x), move.after, move.name) for x, move in _longest(farther, labels)]
    named += [(float(x), move.before, move.name) for x, move in _longest(closer, labels)]
    label_points(axes, named, obstacles=obstacles)
    return figure


def _longest(moves: Sequence[tuple[int, Movement]], number: int) -> list[tuple[int, Movement]]:
    return sorted(moves, key=lambda item: -abs(item[1].after - item[1].before))[:number]


def _arrows(axes: Axes, moves: Sequence[tuple[int, Movement]], colour: str, width: float) -> None:
    for x, move in moves:
        if abs(move.after - move.before) < 0.002:  # an arrow head alone would point nowhere
            axes.plot([x], [move.after], ".", color=colour, markersize=3, zorder=3)
            continue
        axes.annotate(
            "",
            (x, move.after),
            xytext=(x, move.before),
            arrowprops={
                "arrowstyle": "-|>,head_length=0.28,head_width=0.13",
                "color": colour,
                "linewidth": width,
                "shrinkA": 0,
                "shrinkB": 0,
                "mutation_scale": 10,
            },
            zorder=3,
        ).set_in_layout(False)


def _legend(axes: Axes, closer: int, still: int, farther: int) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=INK, linewidth=1.6, label="reality (reference)"),
        Line2D([], [], color=BLUE, linewidth=0.9, label=f"closer to reality ({closer})"),
        Line2D([], [], color=VERMILLION, linewidth=1.8, label=f"farther from it ({farther})"),
    ]
    if still:
        handles.append(Line2D([], [], color=GREY, linewidth=0.9, label=f"neither ({still})"))
    axes.legend(
        handles=handles,
        loc="lower right",
        bbox_to_anchor=(1, 1.0),
        ncols=len(handles),
        borderaxespad=0.2,
    )
