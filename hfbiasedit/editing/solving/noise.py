"""What a divergence comes to where nothing of note was changed: the noise of narrow arithmetic.

In bfloat16 every sum is rounded, and where a weight changes, by however little, all that is
computed after it is rounded otherwise. Between two such models KL is not zero: 0.0018 nats per
token for rows of SmolLM2-135M, 0.0005 for Qwen2.5-Coder-0.5B, where in float32 the same weights
differ by less than a millionth. It adds to what an edit costs, and is taken off. How much it is
depends on how much is computed after the weights, so it is measured with those that are edited.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from hfbiasedit.editing.solving.divergence import mean_divergence
from hfbiasedit.editing.solving.task import Task, watched_divergence
from hfbiasedit.editing.weights.slices import ENTRIES, Slice, entry_slice

_FEW = 256  # single weights of a tensor; of rows and columns one is enough


@torch.no_grad()
def arithmetic_noise(task: Task, slices: Mapping[str, Slice]) -> float:
    """Mean divergence on the watched windows with a few selected weights moved by a last digit.

    The model must be the original, and is it again after.
    """
    generator = torch.Generator().manual_seed(task.config.seed)
    model = task.loaded.model
    few = [_few(part, generator) for part in slices.values()]
    before = [part.take(model.get_parameter(part.name).detach()) for part in few]
    try:
        for part, values in zip(few, before, strict=True):
            digit = torch.finfo(values.dtype).eps
            part.put_(model.get_parameter(part.name).data, values * (1 + digit))
        return mean_divergence(watched_divergence(task), 0.0)
    finally:
        for part, values in zip(few, before, strict=True):
            part.put_(model.get_parameter(part.name).data, values)


def _few(part: Slice, generator: torch.Generator) -> Slice:
    """A row or some single weights of a slice."""
    if part.index is None:
        drawn = torch.randint(part.count, (_FEW,), generator=generator)
        return entry_slice(part.name, part.shape, drawn)
    count = _FEW if part.kind == ENTRIES else 1
    drawn = torch.randperm(len(part.index), generator=generator)[:count].sort().values
    return Slice(part.name, part.kind, part.shape, part.axis, part.index[drawn])
