"""What a state costs general code: its divergence from the original on windows of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hfbiasedit.console import tracked
from hfbiasedit.editing.material.forward import run
from hfbiasedit.editing.material.objective import divergences
from hfbiasedit.editing.material.windows import Windows, choose, windows_at_once
from hfbiasedit.editing.running.execution import Trunk

if TYPE_CHECKING:
    from hfbiasedit.models.loading import LoadedModel

_FEWEST = 32  # windows, of which fewer say too little of how much windows differ
_SURE = 4.0  # standard errors that a mean must be away from what it is compared with
_APART = 1.5  # and times: heavy windows are few, and may not be among those that were seen


@torch.no_grad()
def divergence_on(
    windows: Windows,
    loaded: LoadedModel,
    trunk: Trunk | None,
    limits: Sequence[float] = (),
    noise: float = 0.0,
) -> Tensor:
    """KL(original || now) at every place of windows, float64 on the CPU.

    With `limits` at those of as many windows as it takes to say on which side of each of these the
    mean lies, beyond `noise`: windows are in a drawn order, and most states are far from what is
    allowed.
    """
    found: list[Tensor] = []
    size = windows_at_once(loaded.model, loaded.device)
    for start in tracked(range(0, len(windows), size), "measuring the divergence"):
        seen = min(start + size, len(windows))
        piece = choose(windows, range(start, seen))
        if piece.original is not None:
            found.append(divergences(piece.original, run(loaded, piece, trunk)).cpu().double())
        if limits and _FEWEST <= seen < len(windows):
            kl = torch.cat(found)
            if _clear(kl, windows.sequence[: len(kl)], limits, noise):
                return kl
    return torch.cat(found)


def mean_divergence(kl: Tensor, noise: float) -> float:
    """Mean of a divergence [N] beyond the noise; arithmetic may end a little below zero.

    What is not a number stays so: it is within no limit.
    """
    return max(float(kl.mean()) - noise, 0.0)


def _clear(kl: Tensor, window: Tensor, limits: Sequence[float], noise: float) -> bool:
    """Whether a mean is surely above or below every limit; places of a window say much the same.

    `kl` and `window` are [N]: every place's divergence, and the number of its window.
    """
    mean = mean_divergence(kl, noise)
    totals = torch.zeros(int(window.max()) + 1, dtype=kl.dtype)
    totals.index_add_(0, window, kl - kl.mean())
    error = float(totals.square().sum().sqrt()) / len(kl)
    return all(
        abs(mean - limit) > _SURE * error and not limit / _APART <= mean <= limit * _APART
        for limit in limits
    )
