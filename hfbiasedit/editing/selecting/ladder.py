"""The selections that a budget allows: one, or nested ones to choose from."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from hfbiasedit.editing.config import EditConfig
from hfbiasedit.editing.locating.locator import Location
from hfbiasedit.editing.selecting.allowance import allowed
from hfbiasedit.editing.selecting.choosing import select
from hfbiasedit.editing.weights.selection import Selection, block_numbers
from hfbiasedit.levels import LEVELS

if TYPE_CHECKING:
    from hfbiasedit.models.loading import LoadedModel

STRAY = 0.05  # of the selected weights: so many are given up to leave the blocks below alone


def ladder_of(loaded: LoadedModel, config: EditConfig, location: Location) -> list[Selection]:
    """The selections of a budget: one, or for `auto` nested ones, the widest first."""
    level, blocks = config.granularity, location.blocks
    budgets = allowed(loaded.model, location.ranking, level, config.chosen_budget)
    widest = max(budgets, key=lambda budget: budget.items)
    choose = partial(
        select,
        loaded.model,
        location.ranking,
        level,
        include=config.include,
        entry_scores=location.entry_scores,
        pool=widest.items,
    )
    first = choose(widest, blocks=None if LEVELS[level].everything else blocks)
    if config.blocks == "auto" and not LEVELS[level].few:
        lowest = _floor(first, loaded)
        if lowest > min(blocks):
            blocks = [block for block in blocks if block >= lowest]
            first = choose(widest, blocks=blocks)
    others = [choose(budget, blocks=blocks) for budget in budgets if budget is not widest]
    return [first, *others]


def _floor(selection: Selection, loaded: LoadedModel) -> int:
    """The block below which hardly any selected weights lie: what is below it need not run."""
    below, numbers = 0.0, block_numbers(loaded.model)
    counts: dict[int, int] = {}
    for name, part in selection.slices.items():
        counts[numbers[name]] = counts.get(numbers[name], 0) + part.count
    for block in sorted(counts):
        below += counts[block]
        if below > STRAY * selection.weights:
            return block
    return 0
