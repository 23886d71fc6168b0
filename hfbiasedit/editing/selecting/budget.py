"""How much of a model an edit may touch: a count, or a share of the items or of all weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from hfbiasedit.editing.locating.ranking import Ranking
from hfbiasedit.errors import BiasEditError, UsageError
from hfbiasedit.models.architecture import parameter_count, projections

_OF_WEIGHTS = " of weights"


@dataclass(frozen=True)
class Budget:
    """At most so many items of `of`, and at most so many scalars."""

    items: int
    of: int
    weights: float

    def times(self, multiple: float) -> Budget:
        """Some times as much, at most everything (`math.inf`)."""
        items = int(min(self.of, round(multiple * self.items, 6)))
        return Budget(items, self.of, multiple * self.weights)


def parse_budget(text: str, of: int, weights: int, parameters: int) -> Budget:
    """A count, a share of a level's items, or a share of the model's weights.

    `64` are 64 of the `of` items; `0.5%` is that share of them and of the `weights` they are made
    of; `0.5% of weights` is as many items as the model's `parameters` allow, large or small ones.

    Raises:
        UsageError: none of these, zero, or more than there is.
    """
    text = str(text).strip()
    number = text.removesuffix(_OF_WEIGHTS).rstrip()
    try:
        share = float(number[:-1]) / 100 if number.endswith("%") else None
        items = int(text) if share is None else math.floor(share * of + 1e-9)
    except (ValueError, OverflowError):
        raise UsageError(
            f"budget {text!r} is not a count (64), a share of a level's items (0.5%) or of the "
            "model's weights (0.5% of weights)"
        ) from None
    if share is not None and not 0 < share <= 1:
        raise UsageError(f"budget {text} is not above 0% and at most 100%")
    if share is not None and number != text:
        most = share * parameters
        return Budget(max(1, min(of, math.floor(most + 1e-9))), of, most)
    if items > of:
        raise UsageError(f"budget {text} is more than there is: {of}")
    if items < 1:
        if share is None or of < 1:
            raise UsageError(f"budget {text} selects nothing; there are {of} to choose from")
        items = 1
    return Budget(items, of, math.inf if share is None else share * weights)


def budget_of(model: nn.Module, ranking: Ranking, granularity: str, text: str) -> Budget:
    """What a budget allows at a level.

    Raises:
        UsageError: the budget makes no sense for the level. BiasEditError: it has no items at all.
    """
    weights = sum(item.weights for item in ranking.projections)
    of = {
        "full": lambda: ranking.blocks,
        "layer": lambda: ranking.blocks,
        "module": lambda: len(ranking.projections),
        "row": lambda: sum(item.rows for item in ranking.projections),
        "unit": lambda: sum(group.count for group in ranking.units()),
        "neuron": lambda: weights,
    }[granularity]()
    if not of and granularity == "unit":
        raise BiasEditError("the model has no MLPs with hidden units; use --granularity row")
    text = str(text).strip()  # from Python a count may come as a number
    if text.endswith(_OF_WEIGHTS) and granularity not in ("row", "unit", "neuron"):
        raise UsageError(f"budget {text!r} does not fit granularity {granularity}; give a count")
    limit = parse_budget(text, of, weights, parameter_count(model))
    if granularity == "full" and limit.items != limit.of:
        raise UsageError("granularity full edits all weights; its only budget is 100%")
    return limit


def check_budget(model: nn.Module, granularity: str, text: str) -> None:
    """Raise what `budget_of` raises, before anything is ranked."""
    budget_of(model, Ranking("none", tuple(projections(model)), {}), granularity, text)
