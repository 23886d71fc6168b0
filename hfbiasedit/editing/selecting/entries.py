"""Single weights: looked for among the rows with the largest peaks, or drawn."""

from __future__ import annotations

import torch
from torch import Tensor

from hfbiasedit.editing.locating.ranking import Ranking
from hfbiasedit.editing.selecting.budget import Budget
from hfbiasedit.editing.selecting.choice import Choice
from hfbiasedit.editing.selecting.density import apart, densest
from hfbiasedit.editing.weights.slices import Slice, entry_slice
from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.architecture import Projection

_POOL = 8  # entries are looked for among the rows that hold this many times the budget


class Entries:
    """Single weights of projections."""

    def count(self, ranking: Ranking) -> int:
        """The weights of all projections."""
        return sum(item.weights for item in ranking.projections)

    def choose(self, choice: Choice) -> tuple[list[Slice], int]:
        """Weights by their own scores; a ranking that was drawn draws them evenly.

        Raises:
            BiasEditError: nobody can score single weights.
        """
        ranking, items, count = choice.ranking, choice.projections, choice.limit.items
        if ranking.drawn:
            chosen = _random_entries(items, count, int(ranking.origin.get("seed", 0)))
            return chosen, sum(part.count for part in chosen)
        if choice.entry_scores is None:
            raise BiasEditError("single weights are chosen with gradients; none were given")
        pool = candidate_rows(ranking, items, choice.pool or count)
        scores = choice.entry_scores(pool)
        by_name = {item.name: item for item in items}
        flat = torch.cat([scores[name].reshape(-1) for name in pool])
        best = torch.topk(flat, min(count, len(flat))).indices
        chosen = []
        owners = [by_name[name] for name in pool]
        for item, inside in apart(best, [scores[name].numel() for name in pool], owners):
            rows = pool[item.name][inside // item.columns]
            places = item.flat_indices(rows, inside % item.columns)
            chosen.append(entry_slice(item.name, item.shape, places))
        return chosen, len(best)


def candidate_rows(ranking: Ranking, items: list[Projection], count: int) -> dict[str, Tensor]:
    """Rows to look for single weights in: those with the largest peaks, `_POOL * count` weights."""
    peaks = torch.cat([ranking.scores[item.name].peaks for item in items])
    costs = torch.cat([torch.full((item.rows,), item.columns) for item in items])
    largest = max(item.weights for item in items)
    limit = Budget(len(peaks), len(peaks), max(_POOL * count, min(largest, _POOL**2 * count)))
    best = densest(peaks, costs, limit)
    return {item.name: rows for item, rows in apart(best, [item.rows for item in items], items)}


def _random_entries(items: list[Projection], count: int, seed: int) -> list[Slice]:
    """`count` different weights, all equally likely; all where there are no more."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [item.weights for item in items]
    total, found = sum(sizes), torch.empty(0, dtype=torch.int64)
    count = min(count, total)
    while len(found) < count:
        more = torch.randint(total, (count,), generator=generator)
        found = torch.unique(torch.cat([found, more]))
    keep = torch.randperm(len(found), generator=generator)[:count]
    return [
        entry_slice(item.name, item.shape, places)
        for item, places in apart(found[keep], sizes, items)
    ]
