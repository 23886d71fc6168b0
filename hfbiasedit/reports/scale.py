"""The score on a scale, and what it is made of, as numbers for a drawing."""

from __future__ import annotations

from dataclasses import dataclass

from hfbiasedit.documents.reading import Documents
from hfbiasedit.documents.structures.audit_document import Audit

# Percent of the scale: labels nearer than this stand on different lines. At 390 pixels the first,
# which begins at its mark, takes up 41.
_NEAR_FIRST, _NEAR = 46.0, 30.0


@dataclass(frozen=True)
class Mark:
    """A baseline: its place in percent of the scale, and the line (0, 1, ...) of its label."""

    name: str
    score: float
    place: float
    line: int


@dataclass(frozen=True)
class Score:
    """A score with its interval; all places in percent of the scale."""

    name: str
    score: float
    interval: list[float]
    place: float
    low: float
    high: float


@dataclass(frozen=True)
class Share:
    """What a score is made of: one constant lean and the rest; widths in percent of the scale."""

    name: str
    lean: float
    rest: float
    lean_width: float
    rest_width: float


@dataclass(frozen=True)
class Scale:
    """Everything that is drawn; `lines` is the number of lines of labels below the axis."""

    marks: list[Mark]
    scores: list[Score]
    shares: list[Share]
    lines: int


def scale(documents: Documents) -> Scale:
    """The scale from 0 to the farther of always-men and the score."""
    base = documents.before["baselines"]
    top = 1.04 * max(base["always_male"], *(audit["ci95"][1] for _, audit in documents.audits), 1.0)
    marks: list[Mark] = []
    for name, value in (
        ("matches the reference", 0.0),
        ("a coin", base["even"]),
        ("always men", base["always_male"]),
    ):
        place = 100 * value / top
        line = 0
        while any(
            mark.line == line and abs(mark.place - place) < (_NEAR if mark.place else _NEAR_FIRST)
            for mark in marks
        ):
            line += 1
        marks.append(Mark(name, value, place, line))
    scores = [
        Score(
            name,
            audit["fb_score"],
            audit["ci95"],
            *(100 * value / top for value in (audit["fb_score"], *audit["ci95"])),
        )
        for name, audit in documents.audits
    ]
    shares = [part for name, audit in documents.audits if (part := _share(name, audit, top))]
    return Scale(marks, scores, shares, 1 + max(mark.line for mark in marks))


def _share(name: str, audit: Audit, top: float) -> Share | None:
    found = audit.get("shifted")
    if found is None:
        return None
    rest = min(found["fb_score"], audit["fb_score"])
    lean = audit["fb_score"] - rest
    return Share(name, lean, rest, 100 * lean / top, 100 * rest / top)
