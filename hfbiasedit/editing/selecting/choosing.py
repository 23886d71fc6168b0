"""From a ranking and a budget to a selection, at every granularity."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from hfbiasedit.editing.locating.method import EntryScores
from hfbiasedit.editing.locating.ranking import Ranking
from hfbiasedit.editing.selecting.allowance import budget_of, check_extras
from hfbiasedit.editing.selecting.budget import Budget
from hfbiasedit.editing.selecting.choice import Choice
from hfbiasedit.editing.selecting.items import ITEMS
from hfbiasedit.editing.weights.selection import Selection, fingerprint
from hfbiasedit.editing.weights.slices import WHOLE, Slice
from hfbiasedit.errors import BiasEditError
from hfbiasedit.levels import LEVELS
from hfbiasedit.models.architecture import decoder_blocks


def select(
    model: nn.Module,
    ranking: Ranking,
    granularity: str,
    budget: str | Budget,
    *,
    blocks: Sequence[int] | None = None,
    include: Sequence[str] = (),
    entry_scores: EntryScores | None = None,
    pool: int | None = None,
) -> Selection:
    """The highest-ranked items of a level within a budget, in the given blocks (None: all).

    `include` adds parameters besides projections (`full`, `layer`); `entry_scores` is asked for the
    scalars of the most promising rows (`neuron`), those that `pool` weights would be looked for in
    (by default the budget's), so that selections of several budgets are nested.

    Raises:
        UsageError: the budget makes no sense for the level. BiasEditError: nothing to choose from.
    """
    allowed = frozenset(range(ranking.blocks) if blocks is None else blocks)
    items = [item for item in ranking.projections if item.block in allowed]
    if not items:
        raise BiasEditError("the chosen blocks hold no projections; give other blocks")
    limit = budget if isinstance(budget, Budget) else budget_of(model, ranking, granularity, budget)
    choice = Choice(ranking, allowed, items, limit, entry_scores, pool)
    chosen, number = ITEMS[granularity].choose(choice)
    chosen += _extra(model, granularity, chosen, include)
    slices = {part.name: part for part in chosen}
    return Selection(granularity, slices, fingerprint(model), number, limit.of, ranking.origin)


def _extra(
    model: nn.Module, granularity: str, chosen: list[Slice], include: Sequence[str]
) -> list[Slice]:
    """Parameters that were asked for besides projections: of the model, or of the chosen blocks."""
    if not include:
        return []
    check_extras(granularity, include)
    level = LEVELS[granularity]
    taken = {part.name for part in chosen}
    paths = [path for path, _ in decoder_blocks(model)]
    if not level.everything:
        paths = [path for path in paths if any(name.startswith(f"{path}.") for name in taken)]
    found = []
    for name, parameter in model.named_parameters():
        inside = any(name.startswith(f"{path}.") for path in paths)
        kind = _kind_of(model, name, parameter)
        if name not in taken and kind in include and (inside or level.everything):
            found.append(Slice(name, WHOLE, tuple(parameter.shape)))
    return found


def _kind_of(model: nn.Module, name: str, parameter: nn.Parameter) -> str | None:
    """Which of `INCLUDES` a parameter is; a tied head is an embedding."""
    for getter, kind in (("get_input_embeddings", "embeddings"), ("get_output_embeddings", "head")):
        module = getattr(model, getter)()
        if module is not None and any(parameter is own for own in module.parameters()):
            return kind
    if name.endswith(".bias"):
        return "biases"
    if parameter.dim() == 1:
        return "norms"
    return "embeddings" if "embed" in name or name.rpartition(".")[0].endswith("wpe") else None
