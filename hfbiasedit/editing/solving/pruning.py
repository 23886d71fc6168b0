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
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hfbiasedit.editing.running.gradients import checkpointing
from hfbiasedit.editing.selecting.budget import Budget
from hfbiasedit.editing.solving.jacobian import recorded
from hfbiasedit.editing.solving.linear import Problem, problem, solved
from hfbiasedit.editing.solving.task import Task
from hfbiasedit.editing.weights.deltas import Deltas
from hfbiasedit.editing.weights.selection import Selection
from hfbiasedit.editing.weights.slices import ENTRIES, WHOLE, Slice
from hfbiasedit.levels import LEVELS

POOLS = (6, 3)  # times the budget; the first that fits into memory
STAGES = (3.0, 1.7, 1.0)  # times the budget: what is left after every solution
FOLDS = 3
_CANDIDATES = 12  # matrices or blocks that are compared
_KAPPA = 3.0


@dataclass(frozen=True)
class _Pool:
    """What is left to choose from: slices, the item each of their pieces belongs to, and the
    problem in their weights.
    """

    problem: Problem
    parts: list[Slice]
    items: list[Tensor]

    def kept(self, chosen: list[Tensor]) -> _Pool:
        """The slices (or weights) that are marked, by one mask per tensor."""
        numbers = [number for number, mask in enumerate(chosen) if mask.any()]
        parts = [_kept(self.parts[number], chosen[number]) for number in numbers]
        items = [self.items[number][chosen[number]] for number in numbers]
        return _Pool(_narrowed(self.problem, chosen, self.parts), parts, items)

    def marked(self, numbers: list[int]) -> list[Tensor]:
        """Masks of some items."""
        return [torch.isin(own, torch.tensor(numbers)) for own in self.items]


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
    left = _Pool(found, list(pool.slices.values()), items)
    # A single template foretells no other.
    few = LEVELS[pool.granularity].few and len(folds) > 1
    left = _foretelling(left, folds, budget) if few else _used(left, folds, budget)
    slices = {part.name: part for part in left.parts}
    count = len(torch.unique(torch.cat(left.items)))
    selection = replace(pool, slices=slices, items=count, of=budget.of)
    return selection, None if found.bases else left.problem


def _used(pool: _Pool, folds: list[Tensor], budget: Budget) -> _Pool:
    """What the solution makes most use of, solved anew for every stage."""
    for stage in STAGES:
        pool = pool.kept(_within(pool, _use(pool, folds), budget.times(stage)))
    return pool


def _foretelling(pool: _Pool, folds: list[Tensor], budget: Budget) -> _Pool:
    """Items added one at a time: always the one with which the solution for one fold of the
    templates does best on the others.
    """
    rho, taken = pool.problem.prompts.rho, list[int]()
    count = max(_CANDIDATES, budget.times(STAGES[0]).items)
    most = Budget(count, budget.of, math.inf)
    pool = pool.kept(_within(pool, _use(pool, folds), most))
    left: list[int] = torch.cat(pool.items).unique().tolist()

    def loss(number: int) -> float:
        part = _narrowed(pool.problem, pool.marked([*taken, number]), pool.parts)
        moves = [solved(part.prompts.part(fold), part.metric, _KAPPA, rho) for fold in folds]
        pairs = zip(folds, moves, strict=True)
        return sum(part.prompts.part(~fold).loss_at(move) for fold, move in pairs)

    while left and len(taken) < budget.items:
        best = min(left, key=loss)
        left.remove(best)
        marks = zip(pool.parts, pool.marked([*taken, best]), strict=True)
        weights = sum(part.count for part, mask in marks if mask.any())
        if not taken or weights <= budget.weights:
            taken.append(best)
    return pool.kept(pool.marked(taken))


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


def _use(pool: _Pool, folds: list[Tensor]) -> list[list[Tensor]]:
    """Per fold and tensor, what the move of each slice (or weight) costs."""
    prompts, metric = pool.problem.prompts, pool.problem.metric
    rho, uses = prompts.rho, []
    for fold in folds:
        move = solved(prompts.part(fold), metric, _KAPPA, rho)
        energies = metric.energy(move, _KAPPA, rho)
        uses.append([_per_slice(e, part) for e, part in zip(energies, pool.parts, strict=True)])
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


def _within(pool: _Pool, uses: list[list[Tensor]], budget: Budget) -> list[Tensor]:
    """Per tensor a mask of the slices whose items are of most use, within a budget (at least one).

    Items that cost different numbers of weights are compared by their use per weight, unless the
    budget counts items only.
    """
    numbers, place = torch.unique(torch.cat(pool.items), return_inverse=True)
    pairs = zip(pool.items, pool.parts, strict=True)
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
    return list(chosen[place].split([len(own) for own in pool.items]))
