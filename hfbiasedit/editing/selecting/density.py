"""The best of many items that cost different numbers of weights, and where they came from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hfbiasedit.editing.selecting.budget import Budget
from hfbiasedit.models.architecture import Projection


def densest(density: Tensor, costs: Tensor, limit: Budget) -> Tensor:
    """Positions of the best items, highest density first, within the number and the weights."""
    order = torch.argsort(density, descending=True, stable=True)
    spent = torch.cumsum(costs[order], 0)
    fits = int((spent <= limit.weights).sum())
    return order[: max(1, min(limit.items, fits))]


def apart(
    positions: Tensor, sizes: Sequence[int], items: Sequence[Projection]
) -> list[tuple[Projection, Tensor]]:
    """Positions in a concatenation, back to positions in its pieces (those that have any)."""
    found, start = [], 0
    for item, size in zip(items, sizes, strict=True):
        inside = positions[(positions >= start) & (positions < start + size)] - start
        if len(inside):
            found.append((item, inside.sort().values))
        start += size
    return found
