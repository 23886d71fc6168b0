"""The baseline: scores drawn by seed, which know nothing of the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hfbiasedit.editing.locating.method import Evidence, Judgement
from hfbiasedit.editing.locating.ranking import Ranking
from hfbiasedit.editing.locating.saliency import Sums
from hfbiasedit.errors import UsageError
from hfbiasedit.models.architecture import Projection


class Drawn:
    """Scores that are equally likely for every weight's share of them."""

    def judge(self, evidence: Evidence) -> Judgement:
        """Draw; the model is not looked at."""
        return Judgement(drawn(evidence.items, evidence.config.seed), _no_entries, drawn=True)


def drawn(items: list[Projection], seed: int) -> dict[str, Sums]:
    """Scores of rows and columns, between zero and their numbers of weights."""
    generator = torch.Generator().manual_seed(seed)

    def draw(count: int, weights: int) -> Tensor:
        return torch.rand(count, generator=generator, dtype=torch.float64) * weights

    scores = {}
    for item in items:
        inner = item.rows // item.experts
        columns = item.experts * item.columns
        scores[item.name] = Sums(
            draw(item.rows, item.columns), draw(item.rows, 1), draw(columns, inner)
        )
    return scores


def random_ranking(items: list[Projection], seed: int, origin: Mapping[str, Any]) -> Ranking:
    """A ranking by drawn scores; `origin` holds the seed of what else is drawn."""
    return Ranking("random", tuple(items), drawn(items, seed), origin, drawn=True)


def _no_entries(pool: dict[str, Tensor]) -> dict[str, Tensor]:
    raise UsageError("weights drawn at random have no scores")


RANDOM = Drawn()
