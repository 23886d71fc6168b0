"""From a generous selection to the budget: keep what a Gauss-Newton step makes most use of.

Saliency looks at every weight alone; a few weights that say the same thing all rank high. One step
over a pool of several times the budget tells which of them the joint solution really moves: rows
and single weights are kept by what their own move costs, u_i^2 (kappa F_ii + rho), per weight.
The step is solved for a few folds of the templates, each by itself, and the geometric mean over
folds counts: a weight that only one kind of prompt asks for does not carry over to a new one.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hfbiasedit.editing.choosing import Budget
from hfbiasedit.editing.deltas import Deltas
from hfbiasedit.editing.jacobian import recorded
from hfbiasedit.editing.metric import Metric, fisher
from hfbiasedit.editing.newton import Linear, linear_model, sizes_of, solved, spread
from hfbiasedit.editing.optimisation import Task, prepared
from hfbiasedit.editing.selection import Selection
from hfbiasedit.editing.slices import ENTRIES, Slice

POOL = 6  # times the budget
STAGES = (3.0, 1.7, 1.0)  # times the budget: what is left after every solution
FOLDS = 3
_KAPPA = 3.0


def widened(budget: str, of: int) -> str:
    """`POOL` times a budget that is a count or a share, at most everything."""
    if budget.strip().endswith("%"):
        return f"{min(100.0, POOL * float(budget.strip()[:-1]))}%"
    return str(min(of, POOL * int(budget)))


def prune(task: Task, deltas: Deltas, pool: Selection, budget: Budget) -> Selection:
    """The part of `pool` within the budget that Gauss-Newton steps use most."""
    train = prepared(task, task.prompts.batches(task.train, 32))
    sizes = sizes_of(deltas)
    with recorded(task.loaded.model, deltas.slices) as tape:
        metric = fisher(task.loaded, tape, task.keep, task.trunk, sizes, task.config.seed)
        scale = spread(deltas, sizes)
        linear = linear_model(task, tape, train, scale, torch.zeros(len(scale)))
    folds = _folds(task, torch.cat([batch.index for batch in train]))
    parts = list(pool.slices.values())
    for stage in STAGES:
        use = _use(metric, linear, folds, parts)
        costs = [torch.full_like(u, p.count // len(u)) for u, p in zip(use, parts, strict=True)]
        limit = replace(budget, items=round(stage * budget.items), weights=stage * budget.weights)
        chosen = _within(torch.cat(use), torch.cat(costs), limit)
        mine = chosen.repeat_interleave(torch.cat(costs).long())
        linear = replace(linear, rows=linear.rows[:, mine])
        kept = [mask.nonzero()[:, 0] for mask in chosen.split([len(u) for u in use])]
        metric = metric.kept(kept)
        parts = [_kept(part, items) for part, items in zip(parts, kept, strict=True) if len(items)]
    slices = {part.name: part for part in parts}
    return replace(pool, slices=slices, items=budget.items, of=budget.of)


def _use(metric: Metric, linear: Linear, folds: list[Tensor], parts: list[Slice]) -> list[Tensor]:
    """Per tensor, the log of what each item's move costs per weight, averaged over folds."""
    rho, energies = linear.rho, []
    for fold in folds:
        move = solved(linear.part(fold), metric, _KAPPA, rho)
        energies.append(metric.energy(move, _KAPPA, rho))
    use = []
    for part, *found in zip(parts, *energies, strict=True):
        per_item = torch.stack([e if part.kind == ENTRIES else e.mean(1) for e in found])
        use.append(per_item.clamp_min(1e-30).log().mean(0))
    return use


def _folds(task: Task, index: Tensor) -> list[Tensor]:
    """Masks over prompts: the templates, sorted, dealt out to at most `FOLDS` folds."""
    names = [task.prompts.records[number].template for number in index.tolist()]
    order = {name: number for number, name in enumerate(sorted(set(names)))}
    count = min(FOLDS, len(order))
    number = torch.tensor([order[name] % count for name in names])
    return [number == fold for fold in range(count)]


def _kept(part: Slice, positions: Tensor) -> Slice:
    assert part.index is not None
    return replace(part, index=part.index[positions.sort().values])


def _within(use: Tensor, costs: Tensor, budget: Budget) -> Tensor:
    """Mask of the items of most use within a budget (at least one)."""
    order = torch.argsort(use, descending=True, stable=True)
    fits = int((torch.cumsum(costs[order], 0) <= budget.weights).sum())
    chosen = torch.zeros(len(use), dtype=torch.bool)
    chosen[order[: max(1, min(budget.items, fits))]] = True
    return chosen
