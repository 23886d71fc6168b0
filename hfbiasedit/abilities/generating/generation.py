"""Batched completion of prompts, greedy or sampled, with stop sequences.

Sampling draws Gumbel noise per completion from a generator of its own (the Gumbel-max trick gives
exact samples), so a completion depends on its seed and not on who shares its batch; it can be
resumed, and an edited model answers with the same draws as the original.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from hfbiasedit.abilities.generating.context import context_length, refuse_lost
from hfbiasedit.abilities.generating.decoding import Row, decode
from hfbiasedit.abilities.generating.fallback import alike, generate
from hfbiasedit.abilities.generating.noise import GumbelNoise
from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.chat import prefilled
from hfbiasedit.models.limits import check_fit
from hfbiasedit.scoring.continuations import prompt_tokens
from hfbiasedit.scoring.logits import can_share_prefix

if TYPE_CHECKING:
    from hfbiasedit.models.loading import LoadedModel

# Where a function body ends: the list of Chen et al. 2021, with the marks of chat and notebooks.
FUNCTION_STOPS = (
    "\nclass", "\ndef", "\n#", "\n@", "\nif", "\nprint", "\nimport", "\nfrom", "\nassert",
    '\n"""', "\n'''", "\n```",
)  # fmt: skip
_MOST_ROWS = 64  # at a time
_CACHE_BYTES = 1 << 30  # of keys and values of all rows at their longest
_TAIL = 24  # tokens looked at for a stop sequence after each step


@dataclass(frozen=True)
class Request:
    """A prompt to complete; `key` names it and, with the run's seed, fixes its random draws."""

    key: str
    prompt: str


@dataclass(frozen=True)
class Completion:
    """What a model wrote after a prompt: up to a stop sequence, the end token or the limit."""

    key: str
    text: str
    finish: str  # "stop", "end" or "length"


@dataclass(frozen=True)
class Sampling:
    """How to generate: temperature 0 is greedy; `stops` end a completion and are cut off."""

    max_new_tokens: int
    stops: tuple[str, ...] = ()
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


def as_answers(loaded: LoadedModel, requests: Sequence[Request]) -> list[Request]:
    """The same requests, all of Python, through the model's chat template (`models.chat`).

    Raises:
        BiasEditError: the model has none that can be used.
    """
    prompts = [request.prompt for request in requests]
    texts = prefilled(loaded.tokenizer, prompts, ["python"] * len(prompts))
    return [Request(one.key, text) for one, text in zip(requests, texts, strict=True)]


def complete(
    loaded: LoadedModel,
    requests: Sequence[Request],
    sampling: Sampling,
    *,
    batch_size: int | str = "auto",
    on_batch: Callable[[list[Completion]], None] | None = None,
) -> list[Completion]:
    """Complete every prompt, in the order given; `on_batch` gets completions as they are done.

    Raises:
        BiasEditError: a prompt leaves no room for a completion in the model's context, or the
            tokenizer does not belong to the model.
    """
    encoded = _encode(loaded, requests)
    room = context_length(loaded)
    for request, ids in zip(requests, encoded, strict=True):
        if len(ids) >= room:
            raise BiasEditError(
                f"{request.key} has {len(ids)} tokens, but the context of {loaded.source.id} is "
                f"{room}; leave it out or take a model with a longer context"
            )
    rows = [
        Row(number, ids, min(sampling.max_new_tokens, room - len(ids)))
        for number, ids in enumerate(encoded)
    ]
    writer = _Writer(loaded, requests, sampling, on_batch)
    most = _rows(loaded, rows) if batch_size == "auto" else int(batch_size)
    while left := writer.left(rows):
        try:
            writer.write(left, most)
        except torch.OutOfMemoryError:
            if most == 1 or batch_size != "auto":
                raise
            most = max(1, most // 2)
            torch.cuda.empty_cache()
    return [writer.done[number] for number in range(len(requests))]


def _rows(loaded: LoadedModel, rows: Sequence[Row]) -> int:
    """Rows at a time whose keys and values take a moderate amount of memory."""
    config = loaded.model.config.get_text_config()
    heads = getattr(config, "num_attention_heads", 1) or 1
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    pairs = (getattr(config, "num_key_value_heads", None) or heads) * size
    per_token = 2 * config.num_hidden_layers * pairs * loaded.model.dtype.itemsize
    longest = max((len(row.prompt) + row.limit for row in rows), default=1)
    return max(1, min(_MOST_ROWS, _CACHE_BYTES // (per_token * longest)))


def _encode(loaded: LoadedModel, requests: Sequence[Request]) -> list[list[int]]:
    """Tokens of every prompt, by the rule of scoring; an empty one begins with the first token."""
    tokenizer = loaded.tokenizer
    prompts = [request.prompt for request in requests]
    encoded = [list(ids) for ids in prompt_tokens(tokenizer, prompts)]
    for request, ids in zip(requests, encoded, strict=True):
        refuse_lost(loaded, request.key, request.prompt, ids)
        if not ids:
            start = tokenizer.bos_token_id
            start = tokenizer.eos_token_id if start is None else start
            if start is None:
                raise BiasEditError(
                    f"{request.key} is empty, and {loaded.source.id} has no first token"
                )
            ids.append(start)
    named = zip(requests, encoded, strict=True)
    check_fit(loaded.model, ((request.key, ids, 0) for request, ids in named))
    return encoded


class _Writer:
    """Writes completions and keeps those that are done, by number of the request."""

    def __init__(
        self,
        loaded: LoadedModel,
        requests: Sequence[Request],
        sampling: Sampling,
        on_batch: Callable[[list[Completion]], None] | None,
    ) -> None:
        self.done: dict[int, Completion] = {}
        self._loaded, self._requests, self._sampling = loaded, requests, sampling
        self._on_batch = on_batch
        self._ends = end_tokens(loaded)
        self._pad = _padding(loaded, self._ends)
        keys = [request.key for request in requests]
        self._noise = GumbelNoise(sampling.temperature, sampling.top_p, sampling.seed, keys)

    def left(self, rows: Sequence[Row]) -> list[Row]:
        """Fresh copies of the rows that are not done, longest prompts first."""
        left = [Row(r.number, r.prompt, r.limit) for r in rows if r.number not in self.done]
        return sorted(left, key=lambda row: (-len(row.prompt), row.number))

    def write(self, rows: list[Row], most: int) -> None:
        """Complete rows, at most so many at a time."""
        self._noise.restart()
        model, device = self._loaded.model, self._loaded.device
        choose, is_done = self._noise.choose, self._is_done
        with torch.inference_mode():
            if can_share_prefix(model):
                decode(model, device, rows, most, choose, is_done, self._keep)
                return
            for batch in alike(rows, most):
                generate(model, device, batch, self._pad, self._ends, choose, is_done)
                self._keep(batch)

    def _is_done(self, row: Row) -> bool:
        if row.written[-1] in self._ends:
            return True
        if not self._sampling.stops:
            return False
        tail = self._loaded.tokenizer.decode(row.written[-_TAIL:])
        return any(stop in tail for stop in self._sampling.stops)

    def _keep(self, rows: Sequence[Row]) -> None:
        found = [
            _finish(
                self._loaded.tokenizer,
                self._requests[row.number],
                list(row.prompt),
                row.written,
                self._ends,
                self._sampling.stops,
            )
            for row in rows
        ]
        self.done.update(zip([row.number for row in rows], found, strict=True))
        if self._on_batch is not None:
            self._on_batch(found)


def end_tokens(loaded: LoadedModel) -> list[int]:
    """The tokens that end a text: the tokenizer's, and those of the model's generation settings."""
    configured = getattr(loaded.model.generation_config, "eos_token_id", None)
    known = configured if isinstance(configured, list) else [configured]
    return sorted({int(t) for t in (*known, loaded.tokenizer.eos_token_id) if t is not None})


def _padding(loaded: LoadedModel, ends: Sequence[int]) -> int:
    pad: int | None = loaded.tokenizer.pad_token_id
    return pad if pad is not None else ends[0] if ends else 0


def _finish(
    tokenizer: Any,
    request: Request,
    prompt: list[int],
    new: list[int],
    ends: Sequence[int],
    stops: Sequence[str],
) -> Completion:
    finish = "length"
    for index, token in enumerate(new):
        if token in ends:
            new, finish = new[:index], "end"
            break
    text = decode_after(tokenizer, prompt, new)
    cuts = [position for stop in stops if (position := text.find(stop)) >= 0]
    if cuts:
        text, finish = text[: min(cuts)], "stop"
    return Completion(request.key, text, finish)


def decode_after(tokenizer: Any, prompt: list[int], new: list[int]) -> str:
    """The text of tokens that follow others; some tokenizers drop a leading space otherwise."""
    options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
    before = tokenizer.decode(prompt, **options)
    whole = tokenizer.decode(prompt + new, **options)
    if whole.startswith(before):
        return str(whole[len(before) :])
    return str(tokenizer.decode(new, **options))
