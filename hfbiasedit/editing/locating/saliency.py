"""How much each weight matters for the bias, added up per row and column as gradients appear.

A *probe* is a small batch of one kind of prompt: one template, and within it the professions whose
women the model writes too rarely, or too often. A weight's saliency is the mean over probes of

    taylor       |g * w|    first-order change of the loss if the weight were zero
    grad         |g|        how fast the loss falls when the weight moves
    fisher       g^2        the same, with emphasis on weights that matter much in some probes
    contrastive  g^2 / (c^2 + d)   fisher over the same for general code (c), damped by d

with g the gradient of the probe's loss. Taking absolute values before averaging keeps weights
whose gradients differ in sign between kinds of prompts, which is what bias is made of: the same
weights write men for engineers and women for nurses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from hfbiasedit.editing.running.gradients import checkpointing, streamed
from hfbiasedit.models.architecture import Projection

_PIECE = 1 << 20  # elements of one temporary

Measure = Callable[[Tensor, Tensor], Tensor]


def taylor(weight: Tensor, gradient: Tensor) -> Tensor:
    """|g * w|."""
    return (gradient * weight).abs()


def grad(weight: Tensor, gradient: Tensor) -> Tensor:
    """|g|."""
    return gradient.abs()


def fisher(weight: Tensor, gradient: Tensor) -> Tensor:
    """g^2."""
    return gradient.square()


@dataclass
class Sums:
    """Totals of one projection: per row, the largest entry of each row, per column; float64."""

    rows: Tensor
    peaks: Tensor
    columns: Tensor


@dataclass
class Totals:
    """Collects a measure over probes; `mean()` divides by their number."""

    measure: Measure
    sums: dict[str, Sums] = field(default_factory=dict)
    probes: int = 0

    def receive(self, item: Projection, weight: Tensor, gradient: Tensor) -> None:
        """Add one gradient, a few rows at a time, so that temporaries stay small."""
        # Sums per column are kept per expert: unit i of expert e is column e * columns + i.
        if item.name not in self.sums:
            sizes = ((item.rows,), (item.rows,), (item.experts, item.columns))
            wide = _widest(gradient.device)
            self.sums[item.name] = Sums(
                *(torch.zeros(s, dtype=wide, device=gradient.device) for s in sizes)
            )
        total = self.sums[item.name]
        weight, gradient = item.row_view(weight), item.row_view(gradient)
        dtype = torch.promote_types(gradient.dtype, torch.float32)
        inner = item.rows // item.experts
        step = max(1, _PIECE // item.columns)
        for expert in range(item.experts):
            end = (expert + 1) * inner
            for start in range(expert * inner, end, step):
                stop = min(start + step, end)
                part = self.measure(weight[start:stop].to(dtype), gradient[start:stop].to(dtype))
                total.rows[start:stop] += part.sum(1, dtype=total.rows.dtype)
                total.peaks[start:stop] += part.amax(1)
                total.columns[expert] += part.sum(0, dtype=total.columns.dtype)

    def mean(self) -> dict[str, Sums]:
        """The totals divided by the number of probes, on the CPU."""
        scale = 1 / max(1, self.probes)
        return {
            name: Sums(
                (sums.rows * scale).cpu().double(),
                (sums.peaks * scale).cpu().double(),
                (sums.columns * scale).reshape(-1).cpu().double(),
            )
            for name, sums in self.sums.items()
        }


def collect(
    model: nn.Module,
    items: list[Projection],
    losses: Iterable[Callable[[], Tensor]],
    measure: Measure,
    *,
    checkpoint: bool = False,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Sums]:
    """Run every loss forward and backward and average the measure of its gradients.

    Projections that no probe reaches (experts that are never chosen) get zeros.
    """
    totals = Totals(measure)
    with checkpointing(model, checkpoint), streamed(model, items, totals.receive):
        for loss in losses:
            loss().backward()
            totals.probes += 1
            advance()
    found = totals.mean()
    for item in items:
        if item.name not in found:
            zeros = [item.rows, item.rows, item.experts * item.columns]
            found[item.name] = Sums(*(torch.zeros(size, dtype=torch.float64) for size in zeros))
    return found


def _widest(device: torch.device) -> torch.dtype:
    """What sums over many gradients are kept in; Apple's GPUs have no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


def ratio(bias: Tensor, code: Tensor, damping: float) -> Tensor:
    """Bias saliency over damped code saliency."""
    return bias / (code + damping)
