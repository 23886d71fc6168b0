"""From a generous selection to the budget: keep what a Gauss-Newton step makes most use of.

Saliency looks at every weight alone; a few weights that say the same thing all rank high. One step
over a pool of several times the budget tells which of them the joint solution really moves: items
are kept by what their own move costs, the sum of u_i^2 (kappa F_ii + rho), per weight where the
budget is a share. The step is solved for a few folds of the templates, each by itself, and the
geometric mean over folds counts: an item that only one kind of prompt asks for does not carry over
to a new one. Blocks and matrices are few enough to ask that directly: those are added one at a time
with which the solution for one fold does best on the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from hfbiasedit.editing.choosing import Budget
from hfbiasedit.editing.deltas import Deltas
from hfbiasedit.editing.gradients import checkpointing
from hfbiasedit.editing.jacobian import recorded
from hfbiasedit.editing.linear import Problem, problem, solved
from hfbiasedit.editing.optimisation import Task
from hfbiasedit.editing.ranking import Ranking
from hfbiasedit.editing.selection import Selection
from hfbiasedit.editing.slices import ENTRIES, WHOLE, Slice
from hfbiasedit.models.architecture import UnitGroup

POOLS = (6, 3)  # times the budget; the first that fits into memory
STAGES = (3.0, 1.7, 1.0)  # times the budget: what is left after every solution
FOLDS = 3
_CANDIDATES = 12  # matrices or blocks that are compared
_KAPPA = 3.0


def widened(budget: str, of: int, times: int) -> str:
    """Some times a budget that is a count or a share, at most everything."""
    if budget.strip().endswith("%"):
        return f"{min(100.0, times * float(budget.strip()[:-1]))}%"
    return str(min(of, times * int(budget)))


def items_of(pool: Selection, ranking: Ranking) -> list[Tensor]:
    """Per tensor of a pool, which item of its level each of its slices (or weights) belongs to."""
    owners = {item.name: item for item in ranking.projections}
    units = ranking.units() if pool.granularity == "unit" else []
    found, start = [], 0
    for number, part in enumerate(pool.slices.values()):
        if pool.granularity == "layer":
            found.append(torch.tensor([owners[part.name].block]))
        elif pool.granularity == "module":
            found.append(torch.tensor([number]))
        elif pool.granularity == "unit":
            found.append(_unit_numbers(part, units))
        else:
            assert part.index is not None
            found.append(torch.arange(start, start + len(part.index)))
            start += len(part.index)
    return found


def _unit_numbers(part: Slice, groups: Sequence[UnitGroup]) -> Tensor:
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


def prune(
    task: Task, deltas: Deltas, pool: Selection, items: list[Tensor], budget: Budget
) -> tuple[Selection, Problem | None]:
    """The part of `pool` within the budget that Gauss-Newton steps use most.

    `items` are the pool's (`items_of`). With the selection comes the problem in the weights that
    are kept, which the solver can go on from, unless it had to be cut to fewer coordinates.
    """
    model = task.loaded.model
    with checkpointing(model, task.config.checkpoint), recorded(model, deltas.slices) as tape:
        found, _ = problem(task, tape, deltas, 1)
    folds = _folds(task, found.prompts.index)
    parts = list(pool.slices.values())
    few = pool.granularity in ("layer", "module")
    for stage in STAGES[:1] if few else STAGES:
        limit = replace(budget, items=round(stage * budget.items), weights=stage * budget.weights)
        if few:
            limit = replace(limit, items=max(_CANDIDATES, limit.items))
        chosen = _within(_use(found, folds, parts), items, parts, limit)
        if few:
            chosen = _foretelling(found, folds, chosen, items, parts, budget.items)
        found = _narrowed(found, chosen, parts)
        kept = [number for number, mask in enumerate(chosen) if mask.any()]
        parts = [_kept(parts[number], chosen[number]) for number in kept]
        items = [items[number][chosen[number]] for number in kept]
    slices = {part.name: part for part in parts}
    count = len(torch.unique(torch.cat(items)))
    selection = replace(pool, slices=slices, items=count, of=budget.of)
    return selection, None if found.bases else found


def _narrowed(found: Problem, chosen: list[Tensor], parts: list[Slice]) -> Problem:
    """The problem in the coordinates of some slices (or weights) of every tensor."""
    kept, mine = [], []
    for mask, part, own in zip(chosen, parts, found.metric.parts, strict=True):
        mask = mask.expand(len(own.values)) if part.kind == WHOLE else mask
        kept.append(mask.nonzero()[:, 0])
        mine.append(mask.repeat_interleave(own.values.numel() // len(mask)))
    columns = torch.cat(mine)
    metric, prompts = found.metric.kept(kept), found.prompts.columns(columns)
    return replace(found, scale=found.scale[columns], metric=metric, prompts=prompts)


def _foretelling(
    found: Problem,
    folds: list[Tensor],
    allowed: list[Tensor],
    items: list[Tensor],
    parts: list[Slice],
    count: int,
) -> list[Tensor]:
    """Per tensor a mask of `count` of the allowed items, added one at a time: always the one with
    which the solution for one fold of the templates does best on the others.
    """
    marked = [own[mask] for own, mask in zip(items, allowed, strict=True)]
    left, taken = torch.cat(marked).unique().tolist(), list[int]()
    rho = found.prompts.rho

    def masks(numbers: list[int]) -> list[Tensor]:
        return [torch.isin(own, torch.tensor(numbers)) for own in items]

    def loss(number: int) -> float:
        part = _narrowed(found, masks([*taken, number]), parts)
        moves = [solved(part.prompts.part(fold), part.metric, _KAPPA, rho) for fold in folds]
        pairs = zip(folds, moves, strict=True)
        return sum(part.prompts.part(~fold).loss_at(move) for fold, move in pairs)

    while left and len(taken) < count:
        taken.append(min(left, key=loss))
        left.remove(taken[-1])
    return masks(taken)


def _use(found: Problem, folds: list[Tensor], parts: list[Slice]) -> list[list[Tensor]]:
    """Per fold and tensor, what the move of each slice (or weight) costs."""
    rho, uses = found.prompts.rho, []
    for fold in folds:
        move = solved(found.prompts.part(fold), found.metric, _KAPPA, rho)
        energies = found.metric.energy(move, _KAPPA, rho)
        uses.append([_per_slice(e, part) for e, part in zip(energies, parts, strict=True)])
    return uses


def _per_slice(energy: Tensor, part: Slice) -> Tensor:
    if part.kind == ENTRIES:
        return energy
    return energy.sum().view(1) if part.kind == WHOLE else energy.sum(1)


def _folds(task: Task, index: Tensor) -> list[Tensor]:
    """Masks over prompts: the templates, sorted, dealt out to at most `FOLDS` folds."""
    names = [task.prompts.records[number].template for number in index.tolist()]
    order = {name: number for number, name in enumerate(sorted(set(names)))}
    count = min(FOLDS, len(order))
    number = torch.tensor([order[name] % count for name in names])
    return [number == fold for fold in range(count)]


def _kept(part: Slice, mask: Tensor) -> Slice:
    return part if part.index is None else replace(part, index=part.index[mask])


def _within(
    uses: list[list[Tensor]], items: list[Tensor], parts: list[Slice], budget: Budget
) -> list[Tensor]:
    """Per tensor a mask of the slices whose items are of most use, within a budget (at least one).

    Items that cost different numbers of weights are compared by their use per weight, unless the
    budget counts items only.
    """
    numbers, place = torch.unique(torch.cat(items), return_inverse=True)
    pairs = zip(items, parts, strict=True)
    weights = torch.cat([torch.full((len(own),), part.count / len(own)) for own, part in pairs])
    costs = torch.zeros(len(numbers)).index_add_(0, place, weights)
    use = torch.zeros(len(numbers))
    for fold in uses:
        use += (
            torch.zeros(len(numbers)).index_add_(0, place, torch.cat(fold)).clamp_min(1e-30).log()
        )
    if math.isfinite(budget.weights):
        use -= len(uses) * costs.log()
    order = torch.argsort(use, descending=True, stable=True)
    fits = int((torch.cumsum(costs[order], 0) <= budget.weights).sum())
    chosen = torch.zeros(len(numbers), dtype=torch.bool)
    chosen[order[: max(1, min(budget.items, fits))]] = True
    return list(chosen[place].split([len(i) for i in items]))
