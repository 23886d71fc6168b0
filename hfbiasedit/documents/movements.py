"""Which professions an edit moved, and which it made worse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hfbiasedit.documents.structures.audit_document import Audit, Profession
from hfbiasedit.shrinkage import scatter, shrunk

# Points below which a change is not shown as one: it would print as 0.0.
VISIBLE = 0.05


@dataclass(frozen=True)
class Movement:
    """One profession in two audits; shares 0..1, everything else in points (0..100).

    `change_estimate` with its 95 % interval is the change of FB moved towards that of the group by
    as much as so few prompts leave to chance; what lists are sorted by. Where the documents hold no
    prompts, or one of each profession, it is the change itself and there is no interval.
    """

    profession: str
    group: str
    share_female: float
    share_before: float
    share_after: float
    fb_before: float
    fb_after: float
    prompts: int
    change_estimate: float
    change_interval: tuple[float, float] | None

    @property
    def share_change(self) -> float:
        """How far the model's share of women moved, in points; negative: towards men."""
        return round(100 * (self.share_after - self.share_before), 6)

    @property
    def fb_change(self) -> float:
        """Change of the distance from the reference, in points; negative is better."""
        return round(self.fb_after - self.fb_before, 6)


def movements(before: Audit, after: Audit) -> list[Movement]:
    """Every profession that both audits measured, in the order of the first."""
    second = {row["profession"]: row for row in after["professions"]}
    pairs = [
        (row, second[row["profession"]])
        for row in before["professions"]
        if row["profession"] in second
    ]
    found = _estimates(pairs, _scatter(before, after)) if pairs else []
    return [
        Movement(
            profession=row["profession"],
            group=row.get("group") or "",
            share_female=row["share_female"],
            share_before=row["model_share"],
            share_after=other["model_share"],
            fb_before=round(100 * row["fb"], 6),
            fb_after=round(100 * other["fb"], 6),
            prompts=row["n"],
            change_estimate=estimate,
            change_interval=interval,
        )
        for (row, other), (estimate, interval) in zip(pairs, found, strict=True)
    ]


def _estimates(
    pairs: Sequence[tuple[Profession, Profession]], within: float | None
) -> list[tuple[float, tuple[float, float] | None]]:
    """The estimated change of FB and its interval, in points, of each profession."""
    changes = np.array([100 * (after["fb"] - before["fb"]) for before, after in pairs])
    if within is None:
        return [(float(change), None) for change in changes]
    counts = [before["n"] for before, _ in pairs]
    found = shrunk(changes, counts, within, [before.get("group") or "" for before, _ in pairs])
    ends = zip(found.low.tolist(), found.high.tolist(), strict=True)
    return list(zip(found.values.tolist(), ends, strict=True))


def _scatter(before: Audit, after: Audit) -> float | None:
    """Variance of the change of single prompts' FB around their profession's mean change."""
    first, second = (
        {row["id"]: row for row in audit.get("examples", ())} for audit in (before, after)
    )
    names: dict[str, int] = {}
    changes, codes = [], []
    for key in first.keys() & second.keys():
        fb = [
            100 * abs(row["model_share"] - row["share_female"]) for row in (first[key], second[key])
        ]
        changes.append(fb[1] - fb[0])
        codes.append(names.setdefault(first[key]["profession"], len(names)))
    return scatter(np.array(changes), np.array(codes)) if changes else None


def farthest(rows: Sequence[Profession]) -> list[Profession]:
    """Professions of one audit, the farthest from the reference first.

    They are ranked by the estimate that knows how many prompts are behind an FB; where there is
    none (older documents, or one prompt of each), by FB.
    """
    return sorted(rows, key=lambda row: (-row.get("estimate", row["fb"]), row["profession"]))


def moved_to_women(moves: Sequence[Movement], number: int) -> list[Movement]:
    """The `number` professions whose share of women rose most."""
    risen = [move for move in moves if move.share_change > VISIBLE]
    return sorted(risen, key=lambda move: (-move.share_change, move.profession))[:number]


def moved_to_men(moves: Sequence[Movement], number: int) -> list[Movement]:
    """The `number` professions whose share of women fell most."""
    fallen = [move for move in moves if move.share_change < -VISIBLE]
    return sorted(fallen, key=lambda move: (move.share_change, move.profession))[:number]


def better(moves: Sequence[Movement]) -> list[Movement]:
    """All professions that are closer to the reference than before, the best first."""
    won = [move for move in moves if move.fb_change < -VISIBLE]
    return sorted(won, key=lambda move: (move.change_estimate, move.profession))


def worse(moves: Sequence[Movement]) -> list[Movement]:
    """All professions that are farther from the reference than before, the worst first."""
    lost = [move for move in moves if move.fb_change > VISIBLE]
    return sorted(lost, key=lambda move: (-move.change_estimate, move.profession))
