"""The gender mass bends: a move that keeps it in the linear model may lose some in the model.

What is lost grows with the square of the move (of a row edit of SmolLM2 a tenth, 0.3, 0.6 and
all lost 0, 0.4, 2 and 5 % on dev). Its mean over some prompts is measured, and the move is solved
for again with as much more mass to aim at.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hfbiasedit import processes
from hfbiasedit.editing.material.dual import Solution, solution_for
from hfbiasedit.editing.material.forward import run
from hfbiasedit.editing.material.objective import bias_terms
from hfbiasedit.editing.solving.bench import Bench
from hfbiasedit.editing.solving.linearisation import Linear

LOOKS = 3  # at the mass of a move, at most
NEAR = 0.01  # of the mass: not worth another one


def held(
    bench: Bench,
    linear: Linear,
    gram: Tensor,
    found: Solution,
    columns: Tensor | None = None,
) -> tuple[Solution, Tensor]:
    """A solution at the same price that changes the gender mass least: never more than `found`.

    With it comes its move [D].

    Args:
        linear, gram: of the unchanged model, and its inner products [N, N].
        found: what the linear model's targets lead to.
        columns: the coordinates that move, a mask [D] (None: all).
    """
    targets, least = linear.targets, math.inf
    best = found, torch.empty(0)
    for look in range(LOOKS):
        move = linear.pulled(found.y, columns)
        bench.write(move)
        change = mass_change(bench)
        if look == 0 or abs(change) < least:
            best, least = (found, move), abs(change)
        if least < NEAR or not math.isfinite(change) or look == LOOKS - 1:
            break
        targets = targets.moved(change * (~targets.share).double())
        found = solution_for(gram, targets, found.price, found.values)
    return best


@torch.no_grad()
def mass_change(bench: Bench) -> float:
    """Mean change of the log gender mass at the held prompts, by their mass in the original.

    Under several processes each takes its share of the batches and all know the same mean.
    """
    task, seen = bench.task, torch.zeros(2, dtype=torch.float64)
    for batch in processes.share(bench.sample.held):
        terms = bias_terms(batch, run(task.loaded, batch, task.trunk))
        change = terms.mass_change.cpu().double()  # there are devices without float64
        mass = batch.log_mass.double().exp()
        seen += torch.stack([(mass * change).sum(), mass.sum()])
    processes.add_up_([seen])
    return float(seen[0] / seen[1]) if seen[1] > 0 else 0.0
