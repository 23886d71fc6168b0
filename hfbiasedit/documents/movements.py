"""Which professions an edit moved, and which it made worse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hfbiasedit.documents.structures.audit_document import Audit

# Points below which a change is not shown as one: it would print as 0.0.
VISIBLE = 0.05


@dataclass(frozen=True)
class Movement:
    """One profession in two audits; shares 0..1, `fb_*` in points (0..100)."""

    profession: str
    group: str
    share_female: float
    share_before: float
    share_after: float
    fb_before: float
    fb_after: float
    prompts: int

    @property
    def share_change(self) -> float:
        """How far the model's share of women moved, in points; negative: towards men."""
        return round(100 * (self.share_after - self.share_before), 6)

    @property
    def fb_change(self) -> float:
        """Change of the distance from reality, in points; negative is better."""
        return round(self.fb_after - self.fb_before, 6)


def movements(before: Audit, after: Audit) -> list[Movement]:
    """Every profession that both audits measured, in the order of the first."""
    second = {row["profession"]: row for row in after["professions"]}
    return [
        Movement(
            profession=row["profession"],
            group=row.get("group") or "",
            share_female=row["share_female"],
            share_before=row["model_share"],
            share_after=second[row["profession"]]["model_share"],
            fb_before=round(100 * row["fb"], 6),
            fb_after=round(100 * second[row["profession"]]["fb"], 6),
            prompts=row["n"],
        )
        for row in before["professions"]
        if row["profession"] in second
    ]


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
    return sorted(won, key=lambda move: (move.fb_change, move.profession))


def worse(moves: Sequence[Movement]) -> list[Movement]:
    """All professions that are farther from reality than before, the worst first."""
    lost = [move for move in moves if move.fb_change > VISIBLE]
    return sorted(lost, key=lambda move: (-move.fb_change, move.profession))
