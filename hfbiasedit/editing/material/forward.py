"""Forward passes over prompts and windows: logits, hidden states, what the original says."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from hfbiasedit.console import tracked
from hfbiasedit.editing.material.batches import PromptBatch
from hfbiasedit.editing.material.objective import Original
from hfbiasedit.editing.material.windows import Windows, choose, windows_at_once
from hfbiasedit.editing.running.execution import Trunk, logits_at
from hfbiasedit.editing.running.paths import following
from hfbiasedit.scoring.packing import packed

if TYPE_CHECKING:
    from hfbiasedit.models.loading import LoadedModel

TOP = 128  # tokens of the original's distribution that are kept per place


def run(
    loaded: LoadedModel, batch: PromptBatch | Windows, trunk: Trunk | None = None
) -> torch.Tensor:
    """Logits [N, vocabulary] at the places of a batch; starts at the trunk's block when it can."""
    skipped = contextlib.nullcontext() if trunk is None else trunk.skipped(batch.hidden)
    with _inputs(loaded, batch) as inputs, skipped:
        return logits_at(loaded.model, sequence=batch.sequence, position=batch.position, **inputs)


@contextlib.contextmanager
def _inputs(loaded: LoadedModel, batch: PromptBatch | Windows) -> Iterator[dict[str, Any]]:
    """What the model is given for a batch; inside the block it keeps to the batch's tree."""
    if not isinstance(batch, PromptBatch) or batch.tree is None or batch.paths is None:
        yield {"input_ids": batch.input_ids.to(loaded.device)}
        return
    with following(batch.paths), packed(loaded.model, batch.tree, loaded.device) as inputs:
        yield inputs


@torch.no_grad()
def remember_original(loaded: LoadedModel, windows: Windows, trunk: Trunk | None) -> Windows:
    """Add what `loss_keep` compares with: the original's likeliest tokens, streamed once.

    With a trunk the hidden states that enter its first block are kept too.
    """
    tokens, values, hidden = [], [], []
    size = windows_at_once(loaded.model, loaded.device)
    for start in tracked(range(0, len(windows), size), "what the original says of code"):
        piece = choose(windows, range(start, min(start + size, len(windows))))
        ids = windows.input_ids[start : start + size].to(loaded.device)
        state = trunk.capture(ids) if trunk else None
        piece = replace(piece, input_ids=ids, hidden=state)
        original = Original.of(run(loaded, piece, trunk), TOP)
        tokens.append(original.tokens)
        values.append(original.log_probabilities)
        hidden.append(state)
    joined = torch.cat([state for state in hidden if state is not None]) if trunk else None
    return replace(windows, original=Original(torch.cat(tokens), torch.cat(values)), hidden=joined)


def with_hidden(loaded: LoadedModel, batch: PromptBatch, trunk: Trunk | None) -> PromptBatch:
    """The batch with the hidden states that enter the trunk's first block."""
    if trunk is None:
        return batch
    with _inputs(loaded, batch) as inputs:
        return replace(batch, hidden=trunk.capture(**inputs))


def code_losses(loaded: LoadedModel, windows: Windows) -> list[Callable[[], torch.Tensor]]:
    """One loss per window: mean negative log-likelihood of its tokens."""

    def loss(number: int) -> torch.Tensor:
        window = choose(windows, [number])
        logits = run(loaded, window).float()
        following = window.input_ids[window.sequence, window.position + 1]
        return torch.nn.functional.cross_entropy(logits, following.to(logits.device))

    return [lambda number=number: loss(number) for number in range(len(windows))]  # type: ignore[misc]
