"""The professions as points of a drawing inside the page, linked with the rows of its table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hfbiasedit.documents import formatting as text
from hfbiasedit.documents.movements import Movement

SIDE = 320.0  # length of an axis in units of the drawing


@dataclass(frozen=True)
class Point:
    """A profession's place (units from the left and from the top), its row, and what a tip says."""

    x: float
    y: float
    row: int
    single: bool
    tip: str


@dataclass(frozen=True)
class Panel:
    """One drawing: that before the edit, that after it, or that of one audit."""

    title: str
    kind: str
    points: list[Point]


def panels(rows: Sequence[Movement], *, edited: bool) -> list[Panel]:
    """The drawings for rows of the profession table, in its order."""
    if not edited:
        return [Panel("", "after", _points(rows, after=False))]
    return [
        Panel("before the edit", "before", _points(rows, after=False)),
        Panel("after the edit", "after", _points(rows, after=True)),
    ]


def _points(rows: Sequence[Movement], *, after: bool) -> list[Point]:
    found = []
    for number, row in enumerate(rows):
        share = row.share_after if after else row.share_before
        prompts = "1 prompt" if row.prompts == 1 else f"{text.count(row.prompts)} prompts"
        found.append(
            Point(
                round(SIDE * row.share_female, 1),
                round(SIDE * (1 - share), 1),
                number,
                row.prompts == 1,
                f"{row.profession}: {text.percent(share)} women in the model, "
                f"{text.percent(row.share_female)} in the reference, {prompts}",
            )
        )
    return found
