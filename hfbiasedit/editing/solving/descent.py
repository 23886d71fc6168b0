"""Steps that pay what general code really charges.

The diagonal of a Fisher matrix guesses what a move costs, and the best move under a guess is one
that is guessed too cheap. From a state `now` on, the gradient g of the measured divergence corrects
it: a step minimises

    loss(v)  +  price * (g (v - now) + BEND / 2 |v - now|^2)

with the linear model's loss, its weights held. g comes from a few windows of general code at a time
and is averaged over steps; all steps of a run share one factorisation in prompt space, so that a
step costs little more than its windows (a proximal gradient method with momentum).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from hfbiasedit import processes
from hfbiasedit.console import tracked
from hfbiasedit.editing.material.dual import System, Targets, curvature
from hfbiasedit.editing.material.forward import run
from hfbiasedit.editing.material.objective import divergences
from hfbiasedit.editing.material.windows import Windows, choose, windows_at_once
from hfbiasedit.editing.running.recording import Passed, recorded
from hfbiasedit.editing.solving.coordinates import Coordinates
from hfbiasedit.editing.solving.linearisation import Linear
from hfbiasedit.editing.solving.task import Task

RUN = 10  # steps that share a factorisation
WINDOWS = 32  # per step
# How much more than F a direction may bend: the first that is steady. At solutions of SmolLM2 the
# measured gradient is up to 90 times as long as F says, at those of the demo model up to 8 times.
BENDS = (10.0, 40.0, 160.0, 640.0)
MOMENTUM = 0.7
_BLOWN = 3.0  # times the larger of the first and the allowed divergence: the steps are too long
_CLIP = 2.0  # times the mean length of the gradients so far: a few windows may be wild


def descend(
    task: Task,
    coordinates: Coordinates,
    write: Callable[[Tensor], None],
    linear: Linear,
    now: Tensor,
    price: float,
    seed: int,
    bends: Sequence[float] | None = None,
) -> tuple[Tensor, float]:
    """One run of steps from the move `now` [D], and the steady bend; the deltas are left anywhere.

    Where the steps blow up the run starts again with shorter ones; `now` if none is short enough.
    """
    gram = linear.gram()
    bends = BENDS if bends is None else bends
    for bend in bends:
        found = _run(task, coordinates, write, linear, gram, now, price, bend, random.Random(seed))
        if found is not None:
            return found, bend
    return now, bends[-1]


def _run(
    task: Task,
    coordinates: Coordinates,
    write: Callable[[Tensor], None],
    linear: Linear,
    gram: Tensor,
    now: Tensor,
    price: float,
    bend: float,
    rng: random.Random,
) -> Tensor | None:
    """The move after all steps, or nothing where the divergence gets out of hand."""
    targets: Targets = linear.targets
    values = targets.start + linear.pushed(now).double()
    dear = price * bend
    system = System.of(gram / dear, curvature(targets, values) * targets.weight)
    slope, limit = torch.zeros_like(now), math.inf
    lengths: list[float] = []
    for number in tracked(range(1, RUN + 1), "descending"):
        chosen = sorted(rng.sample(range(len(task.keep)), min(WINDOWS, len(task.keep))))
        write(now)
        found, divergence = divergence_gradient(task, coordinates, choose(task.keep, chosen))
        if not divergence <= limit:  # also where it is not a number
            return None
        if number == 1:
            limit = _BLOWN * max(divergence, task.config.allowed_kl)
        length = float(found.norm())
        if lengths:
            found = found * min(1.0, _CLIP * sum(lengths) / len(lengths) / max(length, 1e-30))
        lengths.append(min(length, float(found.norm())))
        slope = MOMENTUM * slope + (1 - MOMENTUM) * found
        centre = now - slope / (1 - MOMENTUM**number) / bend
        wanted = targets.goal - targets.start - linear.pushed(centre).double()
        now = centre + linear.pulled(system.solve(wanted) / dear)
    return now


def divergence_gradient(
    task: Task, coordinates: Coordinates, windows: Windows
) -> tuple[Tensor, float]:
    """Gradient [D] of the mean KL(original || now) on windows of general code, and that mean.

    Under several processes each takes its share of the windows and all hold the same result.
    """
    totals = {key: torch.zeros(coordinates.count(key)) for key in coordinates.keys}

    def receive(passed: Passed) -> None:
        totals[passed.key] += coordinates.summed(passed).cpu()

    seen = torch.zeros(2)
    mine = processes.share(range(len(windows)))
    with recorded(task.loaded.model, coordinates.names, receive, totals):
        size = windows_at_once(task.loaded.model, task.loaded.device)
        for start in range(0, len(mine), size):
            piece = choose(windows, mine[start : start + size])
            assert piece.original is not None
            found = divergences(piece.original, run(task.loaded, piece, task.trunk))
            found.sum().backward()
            seen += torch.tensor([float(found.detach().sum()), float(len(found))])
    total = torch.cat(list(totals.values()))
    processes.add_up_([total, seen])
    return total / seen[1].clamp_min(1), float(seen[0] / seen[1].clamp_min(1))
