"""Decoding many prompts at once: rows leave the batch when they are done, and others take over.

Every row is padded on the left, so that all of them write their next token into the same column;
a row's positions count its own tokens, and its padding is masked. Who shares a batch therefore
changes neither a row's length nor, but for rounding, its numbers.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.nn.functional import pad

from hfbiasedit.abilities.generating.room import RoomyLayer, roomy_cache
from hfbiasedit.scoring.logits import selected_logits

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


_TOGETHER = 8  # rows that start when others have ended
_READ = 1024  # tokens of prompts read at once, padding included

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
        if waiting and most - len(batch.rows) >= min(_TOGETHER, (most + 1) // 2):
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
        parts = [self._read(chunk) for chunk in _chunks(rows)]
        if self._cache is not None:
            parts.insert(0, (self._cache, self._mask, self.logits))
        caches, masks, logits = zip(*parts, strict=True)
        for layer, *others in zip(*map(_layers, caches), strict=True):
            layer.join(others)
        columns = max(mask.shape[1] for mask in masks)
        self._cache = caches[0]
        self._mask = torch.cat([pad(mask, (columns - mask.shape[1], 0)) for mask in masks])
        self.logits = torch.cat(logits)
        self.rows += rows

    def _read(self, rows: Sequence[Row]) -> tuple[Cache, torch.Tensor, torch.Tensor]:
        """Cache, mask and logits after the prompts of rows."""
        # One column of padding stays in front of all: where nothing is masked, transformers runs
        # every head of a query by itself, which takes several times as long on a processor.
        width = 1 + max(len(row.prompt) for row in rows)
        before = [width - len(row.prompt) for row in rows]
        ids = [[row.prompt[0]] * n + [*row.prompt] for row, n in zip(rows, before, strict=True)]
        mask = [[0] * n + [1] * (width - n) for n in before]
        found = torch.tensor(mask, device=self._device)
        cache = roomy_cache()
        return cache, found, self._forward(torch.tensor(ids, device=self._device), found, cache)

    def remove(self, rows: Sequence[Row]) -> None:
        """Take rows out, the last ones filling their places, and columns that are all padding."""
        gone = {id(row) for row in rows}
        left = len(self.rows) - len(gone)
        if not left:
            self.rows, self._cache = [], None
            return
        assert self._cache is not None
        stays = [id(row) not in gone for row in self.rows]
        holes = [place for place in range(left) if not stays[place]]
        movers = [place for place in range(left, len(stays)) if stays[place]]
        moves = list(zip(movers, holes, strict=True))
        order = list(range(left))
        for source, place in moves:
            order[place] = source
        self.rows = [self.rows[place] for place in order]
        index = torch.tensor(order, device=self._mask.device)
        self.logits, self._mask = self.logits[index], self._mask[index]
        padding = int(self._mask.any(0).int().argmax()) - 1
        self._mask = self._mask[:, padding:]
        for layer in _layers(self._cache):
            layer.shrink(moves, left, self._mask.shape[1])

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


def _chunks(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Cut rows into neighbours that are read together; of one length there is no padding."""
    chunk: list[Row] = []
    for row in rows:
        width = max(len(one.prompt) for one in (*chunk, row))
        if chunk and width * (len(chunk) + 1) > _READ:
            yield chunk
            chunk = []
        chunk.append(row)
    yield chunk


def _layers(cache: Cache) -> list[RoomyLayer]:
    return cast("list[RoomyLayer]", cache.layers)
