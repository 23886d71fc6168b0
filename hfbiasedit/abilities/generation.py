"""Batched completion of prompts, greedy or sampled, with stop sequences.

Sampling draws Gumbel noise per completion from a generator of its own (the Gumbel-max trick gives
exact samples), so a completion depends on its seed and not on who shares its batch; it can be
resumed, and an edited model answers with the same draws as the original.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from hfbiasedit.abilities.context import context_length
from hfbiasedit.errors import BiasEditError

if TYPE_CHECKING:
    from hfbiasedit.models.loading import LoadedModel

# Where a function body ends: the list of Chen et al. 2021, with the marks of chat and notebooks.
FUNCTION_STOPS = (
    "\nclass", "\ndef", "\n#", "\n@", "\nif", "\nprint", "\nimport", "\nfrom", "\nassert",
    '\n"""', "\n'''", "\n```",
)  # fmt: skip
_ROWS, _ROWS_LARGE = 64, 16  # sequences at a time; fewer where a large model runs on a processor
_LARGE = 200_000_000  # weights above which a model counts as large
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


def complete(
    loaded: LoadedModel,
    requests: Sequence[Request],
    sampling: Sampling,
    *,
    batch_size: int | str = "auto",
    on_batch: Callable[[list[Completion]], None] | None = None,
) -> list[Completion]:
    """Complete every prompt, in the order given; `on_batch` gets each batch as it is done.

    Raises:
        BiasEditError: a prompt leaves no room for a completion in the model's context.
    """
    encoded = [_encode(loaded, request) for request in requests]
    room = context_length(loaded)
    for request, ids in zip(requests, encoded, strict=True):
        if len(ids) >= room:
            raise BiasEditError(
                f"{request.key} has {len(ids)} tokens, but the context of {loaded.source.id} is "
                f"{room}; leave it out or take a model with a longer context"
            )
    rows = _rows(loaded) if batch_size == "auto" else int(batch_size)
    order = sorted(range(len(requests)), key=lambda index: (-len(encoded[index]), index))
    done: dict[int, Completion] = {}
    start = 0
    while start < len(order):
        batch = order[start : start + rows]
        try:
            texts = _complete_batch(
                loaded, [requests[i] for i in batch], [encoded[i] for i in batch], sampling, room
            )
        except torch.OutOfMemoryError:
            if rows == 1 or batch_size != "auto":
                raise
            rows = max(1, rows // 2)
            torch.cuda.empty_cache()
            continue
        done.update(zip(batch, texts, strict=True))
        if on_batch is not None:
            on_batch(texts)
        start += len(batch)
    return [done[index] for index in range(len(requests))]


def _rows(loaded: LoadedModel) -> int:
    slow = loaded.device.type == "cpu" and loaded.parameters > _LARGE
    return _ROWS_LARGE if slow else _ROWS


def _encode(loaded: LoadedModel, request: Request) -> list[int]:
    ids = list(loaded.tokenizer(request.prompt, verbose=False)["input_ids"])
    if not ids:
        start = loaded.tokenizer.bos_token_id
        ids = [loaded.tokenizer.eos_token_id if start is None else start]
    if ids[0] is None:
        raise BiasEditError(f"{request.key} is empty, and {loaded.source.id} has no first token")
    return ids


def _complete_batch(
    loaded: LoadedModel,
    requests: Sequence[Request],
    encoded: Sequence[Sequence[int]],
    sampling: Sampling,
    room: int,
) -> list[Completion]:
    from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

    longest = max(len(ids) for ids in encoded)
    pad, ends = _special(loaded)
    ids = torch.full((len(encoded), longest), pad, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for row, tokens in enumerate(encoded):
        ids[row, longest - len(tokens) :] = torch.tensor(tokens)
        mask[row, longest - len(tokens) :] = 1
    # Everything is said here, so that nothing of the model's own generation settings is mixed in.
    config = GenerationConfig(
        max_new_tokens=min(sampling.max_new_tokens, room - longest),
        do_sample=False,
        num_beams=1,
        repetition_penalty=1.0,
        pad_token_id=pad,
        eos_token_id=ends or None,
        use_cache=True,
    )
    processors: list[Any] = []
    if sampling.temperature > 0:
        processors.append(_GumbelNoise(requests, sampling))
    stopping = StoppingCriteriaList([_StopText(loaded.tokenizer, sampling.stops, longest)])
    model: Any = loaded.model  # its class can generate; the base class of all models cannot
    with torch.inference_mode():
        output = model.generate(
            ids.to(loaded.device),
            attention_mask=mask.to(loaded.device),
            generation_config=config,
            logits_processor=LogitsProcessorList(processors),
            stopping_criteria=stopping if sampling.stops else None,
        )
    written = output[:, longest:].tolist()
    return [
        _finish(loaded.tokenizer, request, list(tokens), new, ends, sampling.stops)
        for request, tokens, new in zip(requests, encoded, written, strict=True)
    ]


def _special(loaded: LoadedModel) -> tuple[int, list[int]]:
    """The padding token, and the tokens that end a text."""
    configured = getattr(loaded.model.generation_config, "eos_token_id", None)
    known = configured if isinstance(configured, list) else [configured]
    ends = sorted({int(t) for t in (*known, loaded.tokenizer.eos_token_id) if t is not None})
    pad = loaded.tokenizer.pad_token_id
    return (pad if pad is not None else ends[0] if ends else 0), ends


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


class _GumbelNoise:
    """Logits processor after which the arg max is an exact sample of the tempered top-p."""

    def __init__(self, requests: Sequence[Request], sampling: Sampling) -> None:
        self._sampling = sampling
        self._generators = [_generator(sampling.seed, request.key) for request in requests]

    def __call__(self, _ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        logs = (scores.float() / self._sampling.temperature).log_softmax(-1)
        if self._sampling.top_p < 1:
            ordered, index = logs.sort(-1, descending=True)
            # A token is out when those before it hold the mass already; the first always stays.
            out = ordered.exp().cumsum(-1) - ordered.exp() >= self._sampling.top_p
            logs = logs.scatter(-1, index, ordered.masked_fill(out, -torch.inf))
        shape = logs.shape[-1:]
        noise = torch.stack([torch.rand(shape, generator=one) for one in self._generators])
        noise = noise.clamp(1e-20, 1 - 1e-7)
        return logs - (-noise.log()).log().to(logs.device)


class _StopText:
    """Stopping criterion per row: a stop sequence occurs in the newest text."""

    def __init__(self, tokenizer: Any, stops: Sequence[str], start: int) -> None:
        self._tokenizer, self._stops, self._start = tokenizer, stops, start

    def __call__(self, ids: torch.Tensor, _scores: Any, **_: Any) -> torch.Tensor:
        tails = ids[:, max(self._start, ids.shape[1] - _TAIL) :].tolist()
        hits = [any(s in self._tokenizer.decode(tail) for s in self._stops) for tail in tails]
        return torch.tensor(hits, device=ids.device)


def _generator(seed: int, key: str) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}\0{key}".encode("utf-8", "surrogatepass")).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
