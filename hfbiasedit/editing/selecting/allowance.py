"""What a budget allows at a level of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from hfbiasedit.editing.locating.ranking import Ranking
from hfbiasedit.editing.selecting.budget import OF_WEIGHTS, Budget, parse_budget
from hfbiasedit.editing.selecting.items import ITEMS
from hfbiasedit.errors import UsageError
from hfbiasedit.levels import AUTO, LEVELS, Level
from hfbiasedit.models.architecture import parameter_count, projections

FINEST = 1 << 21  # single weights
_ANY = 1 << 62  # of whatever a model may have


def budget_of(model: nn.Module, ranking: Ranking, granularity: str, text: str) -> Budget:
    """What a budget allows at a level.

    Raises:
        UsageError: the budget makes no sense for the level. BiasEditError: it has no items at all.
    """
    level = LEVELS[granularity]
    of = ITEMS[granularity].count(ranking)
    weights = sum(item.weights for item in ranking.projections)
    limit = _parsed(text, level, of, weights, parameter_count(model))
    if level.everything and limit.items != limit.of:
        raise UsageError(
            f"granularity {level.name} edits all weights; its only budget is {level.budget}"
        )
    return limit


def allowed(model: nn.Module, ranking: Ranking, granularity: str, text: str) -> list[Budget]:
    """What a budget allows at a level: one, or for `auto` those that are chosen from.

    Of single weights `auto` takes no more than `FINEST`: every one is a coordinate of its own.

    Raises:
        UsageError, BiasEditError: see `budget_of`.
    """
    texts = budgets_of(granularity, text)
    found = [budget_of(model, ranking, granularity, one) for one in texts]
    if granularity == "neuron" and len(found) > 1:
        found = [
            replace(one, items=min(one.items, FINEST), weights=min(one.weights, FINEST))
            for one in found
        ]
    return list(dict.fromkeys(found))


def check_budget(model: nn.Module, granularity: str, text: str) -> None:
    """Raise what `budget_of` raises, before anything is ranked."""
    ranking = Ranking("none", tuple(projections(model)), {})
    for budget in budgets_of(granularity, text):
        budget_of(model, ranking, granularity, budget)


def check_asked(granularity: str, text: str, include: Sequence[str] = ()) -> None:
    """Refuse a budget or extras that a level has with no model, before one is loaded.

    Raises:
        UsageError: the level does not take them.
    """
    level = LEVELS[granularity]
    for budget in budgets_of(granularity, text):
        _parsed(budget, level, _ANY, _ANY, _ANY)
    check_extras(granularity, include)


def check_extras(granularity: str, include: Sequence[str]) -> None:
    """Raise `UsageError` where parameters besides the projections are asked for in vain."""
    if include and not LEVELS[granularity].extras:
        able = " and ".join(name for name, other in LEVELS.items() if other.extras)
        raise UsageError(f"include works with granularity {able} only")


def _parsed(text: str, level: Level, of: int, weights: int, parameters: int) -> Budget:
    text = str(text).strip()  # from Python a count may come as a number
    if text.endswith(OF_WEIGHTS) and level.few:
        raise UsageError(f"budget {text!r} does not fit granularity {level.name}; give a count")
    return parse_budget(text, of, weights, parameters, level.items)


def budgets_of(granularity: str, text: str) -> tuple[str, ...]:
    """The budgets that a text stands for: itself, or for `auto` those that are chosen from.

    Raises:
        UsageError: the level has no `auto`.
    """
    if str(text).strip() != AUTO:
        return (text,)
    ladder = LEVELS[granularity].ladder
    if not ladder:
        able = ", ".join(name for name, level in LEVELS.items() if level.ladder)
        raise UsageError(f"budget auto is for granularity {able}; give {granularity} a count")
    return ladder
