"""Decoding many prompts at once: rows leave the batch when they are done, and others take over.

Every row is padded on the left, so that all of them write their next token into the same column;
a row's positions count its own tokens, and its padding is masked. Who shares a batch therefore
changes neither a row's length nor, but for rounding, its numbers.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import pad

from hfbiasedit.scoring.logits import new_cache, selected_logits

if TYPE_CHECKING:
    from transformers import Cache, PreTrainedModel


@dataclass
class Row:
    """A prompt and what has been written after it so far.

    Attributes:
        number: its place in what was asked. prompt: tokens, at least one.
        limit: most tokens to write, at least one. written: tokens.
    """

    number: int
    prompt: Sequence[int]
    limit: int
    written: list[int] = field(default_factory=list)


# From logits [rows, vocabulary] and their rows to the token that each writes next.
Choose = Callable[[torch.Tensor, Sequence[Row]], list[int]]


def decode(
    model: PreTrainedModel,
    device: torch.device,
    rows: Sequence[Row],
    most: int,
    choose: Choose,
    is_done: Callable[[Row], bool],
    on_done: Callable[[list[Row]], None],
) -> None:
    """Write tokens after every row until it is done or at its limit.

    Args:
        model: one that keeps plain keys and values (`can_share_prefix`). device: takes its tokens.
        rows: in the order in which they start. most: rows at a time.
        choose: picks the next tokens. is_done: asked after every token of a row.
        on_done: gets the rows that ended in a step.
    """
    waiting = list(rows)
    batch = _Batch(model, device)
    while waiting or batch.rows:
        # Starting several together is cheap, one after the other is not.
        if waiting and len(batch.rows) <= most // 2:
            room = most - len(batch.rows)
            batch.add(waiting[:room])
            del waiting[:room]
        for row, token in zip(batch.rows, choose(batch.logits, batch.rows), strict=True):
            row.written.append(token)
        ended = [row for row in batch.rows if len(row.written) >= row.limit or is_done(row)]
        if ended:
            batch.remove(ended)
            on_done(ended)
        if batch.rows:
            batch.step()


class _Batch:
    """Rows that are being written.

    Attributes:
        rows: one per row of the tensors.
        logits: what follows each row's last token, [rows, vocabulary].
    """

    def __init__(self, model: PreTrainedModel, device: torch.device) -> None:
        self.rows: list[Row] = []
        self.logits = torch.empty(0)
        self._model, self._device = model, device
        self._cache: Cache | None = None
        self._mask = torch.empty(0)  # [rows, columns]: 1 where a token is, 0 for padding
        self._positions = "position_ids" in inspect.signature(model.forward).parameters

    def add(self, rows: Sequence[Row]) -> None:
        """Read the prompts of more rows; they become the last ones."""
        width = max(len(row.prompt) for row in rows)
        ids = torch.tensor(
            [[row.prompt[0]] * (width - len(row.prompt)) + [*row.prompt] for row in rows]
        )
        mask = torch.tensor(
            [[0] * (width - len(row.prompt)) + [1] * len(row.prompt) for row in rows]
        )
        device = self._model.device
        ids, mask = ids.to(device), mask.to(device)
        cache = new_cache()
        logits = self._forward(ids, mask, cache)
        if self._cache is None or not self.rows:
            self._cache, self._mask, self.logits = cache, mask, logits
        else:
            self._cache = _join(self._cache, cache)
            columns = max(width, self._mask.shape[1])
            parts = [pad(one, (columns - one.shape[1], 0)) for one in (self._mask, mask)]
            self._mask, self.logits = torch.cat(parts), torch.cat([self.logits, logits])
        self.rows += rows

    def remove(self, rows: Sequence[Row]) -> None:
        """Take rows out, and columns in which only they had tokens."""
        gone = {id(row) for row in rows}
        kept = [place for place, row in enumerate(self.rows) if id(row) not in gone]
        self.rows = [self.rows[place] for place in kept]
        if not kept:
            self._cache = None
            return
        assert self._cache is not None
        index = torch.tensor(kept, device=self._mask.device)
        self.logits, self._mask = self.logits[index], self._mask[index]
        first = int(self._mask.any(0).int().argmax())
        self._mask = self._mask[:, first:]
        self._cache = _select(self._cache, index, first)

    def step(self) -> None:
        """Read the token that was written last in every row."""
        last = [[row.written[-1]] for row in self.rows]
        ids = torch.tensor(last, device=self._mask.device)
        self._mask = pad(self._mask, (0, 1), value=1)
        self.logits = self._forward(ids, self._mask, self._cache)

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor, cache: Any) -> torch.Tensor:
        """Logits after the last column, [rows, vocabulary]; the cache grows in place."""
        inputs: dict[str, Any] = {}
        if self._positions:
            counted = (mask.cumsum(-1) - 1).clamp_min(0)
            inputs["position_ids"] = counted[:, -ids.shape[1] :]
        keep = torch.zeros(ids.shape, dtype=torch.bool, device=ids.device)
        keep[:, -1] = True
        logits = selected_logits(
            self._model,
            keep,
            input_ids=ids,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            **inputs,
        )
        return logits.to(ids.device)


def _join(first: Cache, second: Cache) -> Cache:
    """Both caches' rows, in as many columns as the wider has, padded on the left."""
    result = new_cache()
    for number, (one, two) in enumerate(zip(_layers(first), _layers(second), strict=True)):
        columns = max(one.keys.shape[2], two.keys.shape[2])
        keys, values = (
            torch.cat([pad(part, (0, 0, columns - part.shape[2], 0)) for part in pair])
            for pair in ((one.keys, two.keys), (one.values, two.values))
        )
        result.update(keys, values, number)
    return result


def _select(cache: Cache, index: torch.Tensor, first: int) -> Cache:
    """Some rows of a cache, from a column on."""
    result = new_cache()
    for number, layer in enumerate(_layers(cache)):
        at = index.to(layer.keys.device)
        result.update(layer.keys[at, :, first:], layer.values[at, :, first:], number)
    return result


def _layers(cache: Cache) -> list[Any]:
    """The layers of a cache of plain keys and values, both [rows, heads, columns, size]."""
    return list(cache.layers)
