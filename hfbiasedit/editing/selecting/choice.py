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

    `entry_scores` judges single weights, where the caller can.
    """

    ranking: Ranking
    blocks: frozenset[int]
    projections: list[Projection]
    limit: Budget
    entry_scores: EntryScores | None = None

    @property
    def number(self) -> int:
        """How many items the limit allows."""
        return min(self.limit.items, self.limit.of)
