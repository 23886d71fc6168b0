"""Fewer directions for selections that are wide: the subspace in which an edit pays.

The best move of a matrix under the metric C (x) G is a sum of C^-1 x g^T G^-1 over inputs x and
output gradients g of the prompts. Where a linear model of all weights would not fit into memory,
a matrix moves within the leading directions of C^-1 x and G^-1 g only: U A V^T with orthonormal U
and V, of which A is solved for. Rows keep their identity (only what is long in them is cut down),
single weights are left as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import torch
from torch import Tensor

from hfbiasedit.editing.solving.jacobian import Bases, Tape, factors_of_share
from hfbiasedit.editing.solving.metric import Moments
from hfbiasedit.editing.solving.task import Task
from hfbiasedit.editing.weights.slices import ENTRIES, ROWS, Slice

RANKS = (256, 192, 128, 96, 64, 48, 32, 24, 16)
_DAMPING = 0.01  # of the mean eigenvalue, added to C and G


def rank_for(slices: Mapping[str, Slice], most: int) -> int | None:
    """The largest rank at which the selection has at most so many coordinates.

    Returns:
        None where no cut is needed, 0 where even the smallest rank is too large.
    """
    if sum(part.count for part in slices.values()) <= most:
        return None
    fitting = [rank for rank in RANKS if sum(width(s, rank) for s in slices.values()) <= most]
    return fitting[0] if fitting else 0


def width(part: Slice, rank: int) -> int:
    """How many coordinates a slice has at a rank."""
    if part.kind == ENTRIES:
        return part.count
    if part.kind == ROWS:
        items = len(part.index) if part.index is not None else 0
        return items * min(rank, part.count // max(1, items))
    return prod(min(rank, side) for side in part.shape)


def moments(part: Slice) -> int:
    """How many elements the second moments of a slice's two sides have at most."""
    if part.kind == ROWS and part.index is not None:
        first, second = len(part.index), part.count // max(1, len(part.index))
    else:
        first, second = (min(side, part.count) for side in part.shape[-2:])
    return first**2 + second**2


def set_bases(
    task: Task, tape: Tape, slices: Mapping[str, Slice], code: Moments, batches: list, rank: int
) -> None:
    """Let the tape work in the leading directions at a rank; asks some prompts for theirs."""
    wanted = factors_of_share(task.loaded, tape, batches, task.trunk)
    for name, part in slices.items():
        if part.kind == ENTRIES:
            continue
        plan = tape.plans[name]
        inputs = _leading(wanted.inputs[name], code.inputs[name], rank)
        outputs = _leading(wanted.outputs[name], code.outputs[name], rank)
        first, second = (inputs, outputs) if plan.input_first else (outputs, inputs)
        tape.bases[name] = Bases(None if part.kind == ROWS else first, second)


def _leading(wanted: Tensor, price: Tensor, rank: int) -> Tensor | None:
    """Orthonormal [n, rank]: the directions R^-1 s of most weight for s with second moments
    `wanted` [n, n], R being `price` [n, n] damped; None where that is all of them.
    """
    size = len(price)
    if rank >= size:
        return None
    wide = price.double()
    values, vectors = torch.linalg.eigh(wide)
    values = values.clamp_min(0) + _DAMPING * values.clamp_min(0).mean() + 1e-30
    root = (vectors * values.rsqrt()) @ vectors.T
    _, directions = torch.linalg.eigh(root @ wanted.double() @ root)
    basis, _ = torch.linalg.qr(root @ directions[:, -rank:])
    return basis.float()
