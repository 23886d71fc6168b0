"""What a budget allows at a level of a model."""

from __future__ import annotations

from torch import nn

from hfbiasedit.editing.locating.ranking import Ranking
from hfbiasedit.editing.selecting.budget import OF_WEIGHTS, Budget, parse_budget
from hfbiasedit.editing.selecting.items import ITEMS
from hfbiasedit.errors import UsageError
from hfbiasedit.levels import LEVELS
from hfbiasedit.models.architecture import parameter_count, projections


def budget_of(model: nn.Module, ranking: Ranking, granularity: str, text: str) -> Budget:
    """What a budget allows at a level.

    Raises:
        UsageError: the budget makes no sense for the level. BiasEditError: it has no items at all.
    """
    level = LEVELS[granularity]
    of = ITEMS[granularity].count(ranking)
    weights = sum(item.weights for item in ranking.projections)
    text = str(text).strip()  # from Python a count may come as a number
    if text.endswith(OF_WEIGHTS) and level.few:
        raise UsageError(f"budget {text!r} does not fit granularity {level.name}; give a count")
    limit = parse_budget(text, of, weights, parameter_count(model), level.items)
    if level.everything and limit.items != limit.of:
        raise UsageError(
            f"granularity {level.name} edits all weights; its only budget is {level.budget}"
        )
    return limit


def check_budget(model: nn.Module, granularity: str, text: str) -> None:
    """Raise what `budget_of` raises, before anything is ranked."""
    budget_of(model, Ranking("none", tuple(projections(model)), {}), granularity, text)
