"""What a budget comes to at a level: weights, items, coordinates of the linear model."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from hfbiasedit.editing.config import EditConfig
from hfbiasedit.editing.locating.ranking import Ranking
from hfbiasedit.editing.selecting.allowance import allowed
from hfbiasedit.editing.selecting.budget import Budget
from hfbiasedit.editing.solving.coordinates import RANKS
from hfbiasedit.editing.solving.directions import widest
from hfbiasedit.levels import LEVELS
from hfbiasedit.models.architecture import Projection, parameter_count, projections


@dataclass(frozen=True)
class Selected:
    """What one budget selects, items being of average size (whole matrices: the largest).

    Attributes:
        items: how many of the level's `of` items. weights: their scalars.
        coordinates: of the linear model, after a cut to leading directions (`cut`).
    """

    items: int
    of: int
    weights: int
    coordinates: int
    cut: bool


def selections(model: nn.Module, config: EditConfig) -> list[Selected]:
    """What the budget allows; for `auto` all that are tried, the widest first.

    Raises:
        UsageError: the budget makes no sense. BiasEditError: the level has no items.
    """
    items = tuple(projections(model))
    ranking = Ranking("none", items, {})
    level = config.granularity
    budgets = allowed(model, ranking, level, config.chosen_budget)
    most = widest(parameter_count(model))
    found = [_selected(level, items, ranking, budget, most) for budget in budgets]
    return sorted(found, key=lambda one: -one.weights)


def _selected(
    level: str, items: tuple[Projection, ...], ranking: Ranking, budget: Budget, most: int
) -> Selected:
    """Items are taken to be of average size, but large ones where they are few.

    `most` coordinates are kept.
    """
    if LEVELS[level].few:
        whole = _largest(level, items, budget.items)
        weights = sum(item.weights for item in whole)
        coordinates = _narrowed([(item.rows, item.columns) for item in whole], weights, most)
        return Selected(budget.items, budget.of, weights, coordinates, coordinates < weights)
    total = sum(_pool(level, items, ranking))
    size = 1.0 if level == "neuron" else total / budget.of
    number = max(1, math.floor(min(budget.items, budget.of, budget.weights / size)))
    weights = round(number * size)
    if level == "neuron" or weights <= most:
        return Selected(number, budget.of, weights, weights, False)
    rows = math.ceil(weights / (sum(i.weights for i in items) / sum(i.rows for i in items)))
    length = weights // rows
    fitting = [rank for rank in RANKS if rows * min(rank, length) <= most]
    rank = min(length, fitting[0] if fitting else RANKS[-1])
    return Selected(number, budget.of, weights, rows * rank, rank < length)


def _pool(level: str, items: tuple[Projection, ...], ranking: Ranking) -> list[int]:
    """Weights that a level chooses among, by matrix."""
    if level != "unit":
        return [item.weights for item in items]
    found = []
    for group in ranking.units():
        inner = [len(part) if part else item.rows // item.experts for item, part in group.up]
        up = sum(
            n * item.experts * item.columns for n, (item, _) in zip(inner, group.up, strict=True)
        )
        found.append(up + group.down.weights)
    return found


def _largest(level: str, items: tuple[Projection, ...], number: int) -> list[Projection]:
    """The projections of so many whole matrices or blocks: the largest, which cost most."""
    if level == "module":
        return sorted(items, key=lambda item: -item.weights)[:number]
    sizes: dict[int, int] = {}
    for item in items:
        sizes[item.block] = sizes.get(item.block, 0) + item.weights
    best = set(sorted(sizes, key=lambda block: -sizes[block])[:number])
    return [item for item in items if item.block in best]


def _narrowed(shapes: list[tuple[int, int]], weights: int, most: int) -> int:
    """Coordinates of whole matrices, cut on both sides alike."""
    if weights <= most:
        return weights
    sums = [sum(min(a, rank) * min(b, rank) for a, b in shapes) for rank in RANKS]
    return next((total for total in sums if total <= most), sums[-1])
