"""What a level chooses from."""

from __future__ import annotations

from dataclasses import dataclass

from hfbiasedit.editing.locating.method import EntryScores
from hfbiasedit.editing.locating.ranking import Ranking
from hfbiasedit.editing.selecting.budget import Budget
from hfbiasedit.models.architecture import Projection


@dataclass(frozen=True)
class Choice:
    """A ranking, the blocks that may be edited, their projections, and how much is allowed.

    `entry_scores` judges single weights, where the caller can; `pool` is how many are looked at as
    if so many were wanted (None: as many as are).
    """

    ranking: Ranking
    blocks: frozenset[int]
    projections: list[Projection]
    limit: Budget
    entry_scores: EntryScores | None = None
    pool: int | None = None
