"""The gender mass bends: a move that keeps it in the linear model may lose some in the model.

What is lost grows with the square of the move (of a row edit of SmolLM2 a tenth, 0.3, 0.6 and
all lost 0, 0.4, 2 and 5 % on dev). Its mean is measured, half of it at prompts that are held (which
the move was solved for) and half on dev, whose templates have not been learnt from and lose more;
and the move is solved for again with as much more mass to aim at.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hfbiasedit import processes
from hfbiasedit.editing.material.dual import Solution, solution_for
from hfbiasedit.editing.material.forward import run
from hfbiasedit.editing.material.objective import bias_terms
from hfbiasedit.editing.solving.bench import Bench
from hfbiasedit.editing.solving.linearisation import Linear
from hfbiasedit.editing.solving.task import Judged, judged

LOOKS = 3  # at the mass of a move, at most
NEAR = 0.01  # of the mass: not worth another one


@dataclass(frozen=True)
class Held:
    """A solution, its move [D], what dev says of it, and how much more mass it was aimed at."""

    solution: Solution
    move: Tensor
    judged: Judged
    more: float

    def more_for(self, found: Solution) -> float:
        """What another solution of the same linear model is best aimed at first.

        What moves lose grows a little more slowly than their divergence: about as their length.
        """
        before, now = self.solution.predicted, found.predicted
        if before <= 0 or now <= 0:  # of hardly any move arithmetic makes less than nothing
            return 0.0
        return self.more * math.sqrt(now / before)


def held(
    bench: Bench,
    linear: Linear,
    gram: Tensor,
    found: Solution,
    columns: Tensor | None = None,
    more: float = 0.0,
) -> Held:
    """A solution at the same price that changes the gender mass least, of a few.

    Args:
        linear, gram: of the unchanged model, and its inner products [N, N].
        found: what the linear model's targets lead to.
        columns: the coordinates that move, a mask [D] (None: all).
        more: log mass to aim at more than the linear model's, to begin with.
    """
    best, least, aimed = None, math.inf, 0.0
    for _ in range(LOOKS):
        if more != aimed:
            aimed = more
            targets = linear.targets.moved(-aimed * (~linear.targets.share).double())
            found = solution_for(gram, targets, found.price, found.values)
        move = linear.pulled(found.y, columns)
        bench.write(move)
        seen = judged(bench.task, bench.dev)
        change = mass_change(bench, seen)
        if best is None or abs(change) < least:
            best, least = Held(found, move, seen, aimed), abs(change)
        if least < NEAR or not math.isfinite(change):
            break
        more = aimed - change
    assert best is not None
    return best


@torch.no_grad()
def mass_change(bench: Bench, dev: Judged) -> float:
    """Mean change of the log gender mass, by the original's mass, at the held prompts and on dev.

    Under several processes each takes its share of the batches and all know the same mean.
    """
    task, seen = bench.task, torch.zeros(2, dtype=torch.float64)
    for batch in processes.share(bench.sample.held):
        terms = bias_terms(batch, run(task.loaded, batch, task.trunk))
        change = terms.mass_change.cpu().double()  # there are devices without float64
        mass = batch.log_mass.double().exp()
        seen += torch.stack([(mass * change).sum(), mass.sum()])
    processes.add_up_([seen])
    total, heavy = float(seen[0]) + dev.change, float(seen[1]) + dev.mass
    return total / heavy if heavy > 0 else 0.0
