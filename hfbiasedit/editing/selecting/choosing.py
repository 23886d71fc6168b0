"""From a ranking and a budget to a selection, at every granularity."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from hfbiasedit.editing.locating.ranking import Ranking
from hfbiasedit.editing.selecting.budget import Budget, budget_of
from hfbiasedit.editing.weights.selection import Selection, fingerprint, rows_in
from hfbiasedit.editing.weights.slices import WHOLE, Slice, entry_slice, row_slice
from hfbiasedit.errors import BiasEditError, UsageError
from hfbiasedit.models.architecture import Projection, UnitGroup, decoder_blocks

_POOL = 8  # entries are looked for among the rows that hold this many times the budget

# rows of every matrix -> saliency of their entries [rows, columns]
EntryScores = Callable[[dict[str, Tensor]], dict[str, Tensor]]


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
    scalars of the most promising rows (`neuron`).

    Raises:
        UsageError: the budget makes no sense for the level. BiasEditError: nothing to choose from.
    """
    allowed = set(range(ranking.blocks) if blocks is None else blocks)
    items = [item for item in ranking.projections if item.block in allowed]
    if not items:
        raise BiasEditError("the chosen blocks hold no projections; give other blocks")
    limit = budget if isinstance(budget, Budget) else budget_of(model, ranking, granularity, budget)
    chosen: list[Slice]
    number = min(limit.items, limit.of)
    if granularity == "full":
        chosen = [_whole(item) for item in ranking.projections]
    elif granularity == "layer":
        scores = ranking.block_scores()
        best = set(sorted(allowed, key=lambda block: -scores[block])[: limit.items])
        chosen = [_whole(item) for item in items if item.block in best]
    elif granularity == "module":
        names = [item.name for item, _ in ranking.matrices() if item.block in allowed]
        best_names = set(names[: limit.items])
        chosen = [_whole(item) for item in items if item.name in best_names]
    elif granularity == "row":
        chosen, number = _rows(ranking, items, limit)
    elif granularity == "unit":
        groups = [group for group in ranking.units() if group.block in allowed]
        if not groups:
            raise BiasEditError("the chosen blocks have no MLPs; give other blocks")
        chosen, number = _units(ranking, groups, limit)
    else:
        chosen = _entries(ranking, items, limit.items, entry_scores, pool or limit.items)
    chosen += _extra(model, granularity, chosen, include)
    slices = {part.name: part for part in chosen}
    return Selection(
        granularity,
        slices,
        fingerprint(model),
        number,
        limit.of,
        ranking.origin,
    )


def _whole(item: Projection) -> Slice:
    return Slice(item.name, WHOLE, item.shape)


def _take(density: Tensor, costs: Tensor, limit: Budget) -> Tensor:
    """Positions of the best items, highest density first, within the number and the weights."""
    order = torch.argsort(density, descending=True, stable=True)
    spent = torch.cumsum(costs[order], 0)
    fits = int((spent <= limit.weights).sum())
    return order[: max(1, min(limit.items, fits))]


def _rows(ranking: Ranking, items: list[Projection], limit: Budget) -> tuple[list[Slice], int]:
    scores = torch.cat([ranking.scores[item.name].rows for item in items])
    costs = torch.cat([torch.full((item.rows,), item.columns) for item in items])
    best = _take(scores / costs, costs, limit)
    found = _apart(best, [item.rows for item in items], items)
    return [rows_in(item, rows) for item, rows in found], len(best)


def _apart(
    positions: Tensor, sizes: Sequence[int], items: Sequence[Projection]
) -> list[tuple[Projection, Tensor]]:
    """Positions in a concatenation, back to positions in its pieces (those that have any)."""
    found, start = [], 0
    for item, size in zip(items, sizes, strict=True):
        inside = positions[(positions >= start) & (positions < start + size)] - start
        if len(inside):
            found.append((item, inside.sort().values))
        start += size
    return found


def _units(ranking: Ranking, groups: list[UnitGroup], limit: Budget) -> tuple[list[Slice], int]:
    scores = torch.cat([ranking.unit_scores(group) for group in groups])
    costs = torch.cat([torch.full((group.count,), _unit_cost(group)) for group in groups])
    best = _take(scores / costs, costs, limit)
    chosen, start = [], 0
    for group in groups:
        inside = best[(best >= start) & (best < start + group.count)] - start
        start += group.count
        if len(inside):
            chosen += unit_slices(group, inside.sort().values)
    return chosen, len(best)


def _unit_cost(group: UnitGroup) -> int:
    inner = group.down.rows // group.down.experts
    return inner + sum(item.columns for item, _ in group.up)


def unit_slices(group: UnitGroup, units: Tensor) -> list[Slice]:
    """The weights of hidden units: their rows on the up side and their column on the down side."""
    down = group.down
    expert, unit = units // down.columns, units % down.columns
    rows: dict[str, list[Tensor]] = {}
    owners = {item.name: item for item, _ in group.up}
    for item, part in group.up:
        inner = item.rows // item.experts
        within = unit if part is None else torch.tensor(part.rows())[unit]
        rows.setdefault(item.name, []).append(expert * inner + within)
    chosen = [rows_in(owners[name], torch.cat(found)) for name, found in rows.items()]
    # Unit i of expert e is column e * columns + i, as slices of stacked matrices are numbered.
    return [*chosen, row_slice(down.name, down.shape, 1 - down.row_axis, units)]


def unit_numbers(part: Slice, groups: Sequence[UnitGroup]) -> Tensor:
    """Which hidden unit, over all MLPs, each row or column of a slice belongs to."""
    assert part.index is not None
    start = 0
    for group in groups:
        if part.name == group.down.name:
            return start + part.index
        for item, piece in group.up:
            if item.name != part.name:
                continue
            if piece is None:
                return start + part.index
            rows = [torch.tensor(own.rows()) for other, own in group.up if other is item and own]
            numbers = torch.full((item.rows,), -1)
            for own in rows:
                numbers[own] = start + torch.arange(len(own))
            return numbers[part.index]
        start += group.count
    raise ValueError(f"{part.name} belongs to no MLP")


def candidate_rows(ranking: Ranking, items: list[Projection], count: int) -> dict[str, Tensor]:
    """Rows to look for single weights in: those with the largest peaks, `_POOL * count` weights."""
    peaks = torch.cat([ranking.scores[item.name].peaks for item in items])
    costs = torch.cat([torch.full((item.rows,), item.columns) for item in items])
    largest = max(item.weights for item in items)
    limit = Budget(len(peaks), len(peaks), max(_POOL * count, min(largest, _POOL**2 * count)))
    best = _take(peaks, costs, limit)
    return {item.name: rows for item, rows in _apart(best, [item.rows for item in items], items)}


def _entries(
    ranking: Ranking,
    items: list[Projection],
    count: int,
    entry_scores: EntryScores | None,
    pool_count: int,
) -> list[Slice]:
    if ranking.saliency == "random":
        return _random_entries(items, count, int(ranking.origin.get("seed", 0)))
    if entry_scores is None:
        raise BiasEditError("single weights are chosen with gradients; none were given")
    pool = candidate_rows(ranking, items, pool_count)
    scores = entry_scores(pool)
    by_name = {item.name: item for item in items}
    flat = torch.cat([scores[name].reshape(-1) for name in pool])
    best = torch.topk(flat, min(count, len(flat))).indices
    chosen = []
    owners = [by_name[name] for name in pool]
    for item, inside in _apart(best, [scores[name].numel() for name in pool], owners):
        rows = pool[item.name][inside // item.columns]
        places = item.flat_indices(rows, inside % item.columns)
        chosen.append(entry_slice(item.name, item.shape, places))
    return chosen


def _random_entries(items: list[Projection], count: int, seed: int) -> list[Slice]:
    """`count` different weights, all equally likely."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [item.weights for item in items]
    total, found = sum(sizes), torch.empty(0, dtype=torch.int64)
    while len(found) < count:
        more = torch.randint(total, (count,), generator=generator)
        found = torch.unique(torch.cat([found, more]))
    keep = torch.randperm(len(found), generator=generator)[:count]
    return [
        entry_slice(item.name, item.shape, places)
        for item, places in _apart(found[keep], sizes, items)
    ]


def _extra(
    model: nn.Module, granularity: str, chosen: list[Slice], include: Sequence[str]
) -> list[Slice]:
    """Parameters that were asked for besides projections: of the model, or of the chosen blocks."""
    if not include:
        return []
    if granularity not in ("full", "layer"):
        raise UsageError("include works with granularity full and layer only")
    taken = {part.name for part in chosen}
    paths = [path for path, _ in decoder_blocks(model)]
    if granularity == "layer":
        paths = [path for path in paths if any(name.startswith(f"{path}.") for name in taken)]
    found = []
    for name, parameter in model.named_parameters():
        inside = any(name.startswith(f"{path}.") for path in paths)
        kind = _kind_of(model, name, parameter)
        if name not in taken and kind in include and (inside or granularity == "full"):
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
