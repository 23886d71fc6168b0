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
from hfbiasedit.editing.metric import fisher
from hfbiasedit.editing.newton import RHO, linear_model, sizes_of, solved, spread, whitened
from hfbiasedit.editing.optimisation import Task, prepared
from hfbiasedit.editing.selection import Selection
from hfbiasedit.editing.slices import ENTRIES, Slice

POOL = 6  # times the budget
FOLDS = 3
_KAPPA = 3.0


def widened(budget: str, of: int) -> str:
    """`POOL` times a budget that is a count or a share, at most everything."""
    if budget.strip().endswith("%"):
        return f"{min(100.0, POOL * float(budget.strip()[:-1]))}%"
    return str(min(of, POOL * int(budget)))


def prune(task: Task, deltas: Deltas, pool: Selection, budget: Budget) -> Selection:
    """The part of `pool` within the budget that one Gauss-Newton step uses most."""
    train = prepared(task, task.prompts.batches(task.train, 32))
    sizes = sizes_of(deltas)
    with recorded(task.loaded.model, deltas.slices) as tape:
        metric = fisher(task.loaded, tape, task.keep, task.trunk, sizes, task.config.seed)
        scale = spread(deltas, sizes)
        now = torch.zeros(len(scale))
        rows, residual, _ = linear_model(task, tape, train, scale, now)
    rho = RHO * float(rows.square().sum()) / len(rows)
    energies = []
    for fold in _folds(task, torch.cat([batch.index for batch in train])):
        mine = torch.cat([fold, fold])  # rows of the shares, then rows of the masses
        weight = (len(fold) / float(fold.sum())) ** 0.5
        system = whitened(metric, rows[mine] * weight, _KAPPA, rho)
        move = solved(system, residual[mine] * weight, now, 0.0)
        energies.append(metric.energy(move, _KAPPA, rho))
    use, costs = [], []
    for part, *found in zip(pool.slices.values(), *energies, strict=True):
        entries = part.kind == ENTRIES
        per_item = torch.stack([e if entries else e.sum(1) / e.shape[1] for e in found])
        use.append(per_item.clamp_min(1e-30).log().mean(0))
        costs.append(torch.full((len(use[-1]),), part.count // len(use[-1])))
    chosen = _within(torch.cat(use), torch.cat(costs), budget)
    slices, start = {}, 0
    for part, found in zip(pool.slices.values(), use, strict=True):
        kept = chosen[(chosen >= start) & (chosen < start + len(found))] - start
        start += len(found)
        if len(kept):
            slices[part.name] = _kept(part, kept)
    return replace(pool, slices=slices, items=budget.items, of=budget.of)


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
    order = torch.argsort(use, descending=True, stable=True)
    fits = int((torch.cumsum(costs[order], 0) <= budget.weights).sum())
    return order[: max(1, min(budget.items, fits))]
