"""Exact log-probabilities of male and female continuations, in few forward passes.

What is saved, and why the result stays the same:

* all one-token candidates of a prompt come from one pass, longer ones add only their own tokens;
* the vocabulary projection runs at the needed positions only;
* a prefix that prompts share is computed once and its keys and values are reused;
* batches are padded on the right and need no mask: in a causal model no real token sees what
  follows it, and positions count from the first token as in an unpadded run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from hfbiasedit.documents.structures.audit_document import BatchPlan
from hfbiasedit.errors import BiasEditError
from hfbiasedit.scoring.continuations import EncodedPrompt, Tokens, common_prefix
from hfbiasedit.scoring.grouping import Budget, Group, cut, plan_groups

if TYPE_CHECKING:
    import torch
    from transformers import Cache

    from hfbiasedit.console import Progress
    from hfbiasedit.models.loading import LoadedModel
    from hfbiasedit.scoring.passes import Passes

# Fixed cost of a forward pass in tokens, and tokens per pass, by kind of device. A processor is
# busy with a thousand tokens; a GPU wants many, and waits as long for one token as for a thousand.
_OVERHEAD = {"cpu": 24}
_TOKENS = {"cpu": 2048}
_OVERHEAD_GPU, _TOKENS_GPU = 1024, 16384
_ROWS = 1024  # prompts per pass at most, however short they are
# Largest difference between shared and unshared log-probabilities that rounding explains, in nats.
_TOLERANCE = {"float32": 1e-3, "float64": 1e-3}
_TOLERANCE_LOW = 0.25  # nats, with the 8 or 11 bits of bfloat16 and float16

OnBatch = Callable[[Sequence[int], np.ndarray, np.ndarray], None]


@dataclass
class Scores:
    """What `score` returns; arrays are in the order of the prompts.

    Attributes:
        log_male: Natural log of P(male continuations), float64 [prompts].
        log_female: Natural log of P(female continuations), float64 [prompts].
        plan: How it was computed; two runs are comparable to the last bit when their plans agree.
    """

    log_male: np.ndarray
    log_female: np.ndarray
    plan: BatchPlan


def score(
    loaded: LoadedModel,
    encoded: Sequence[EncodedPrompt],
    *,
    batch_size: int | str = "auto",
    progress: Progress | None = None,
    share_prefixes: bool = True,
    known: Mapping[int, tuple[float, float]] | None = None,
    on_batch: OnBatch | None = None,
) -> Scores:
    """Score prompts: log-probabilities of their male and of their female continuations.

    Args:
        loaded: The model.
        encoded: Prompts from `encode`.
        batch_size: Most prompts in one forward pass; `auto` limits tokens instead and halves the
            limit when memory runs out.
        progress: Advanced by the number of prompts done.
        share_prefixes: Whether keys and values may be computed once and used again; without, every
            sequence runs whole, as slow and as simple as can be.
        known: Results from an interrupted run (index -> log_male, log_female). Batches are planned
            as if there were none, and those that are wholly known are skipped.
        on_batch: Called after each batch with its indices and their two log-probabilities.

    Raises:
        BiasEditError: Nothing to score, a prompt does not fit the model's context or vocabulary,
            logits are NaN or infinite, or one prompt alone exceeds the memory.
    """
    from hfbiasedit.scoring.passes import Passes

    if not encoded:
        raise BiasEditError("nothing to score: the selection holds no prompts")
    budget, overhead = _limits(batch_size, loaded.device)
    passes = Passes(loaded.model, loaded.device, overhead)
    passes.check_fit(encoded)
    run = _Run(passes, encoded, budget, batch_size, dict(known or {}), progress, on_batch)
    run.tolerance = _TOLERANCE.get(loaded.dtype, _TOLERANCE_LOW)
    passes.can_share = passes.can_share and share_prefixes
    for group in plan_groups(encoded, share=passes.can_share, overhead=overhead):
        run.group(group)
    return run.result()


def tokens_of(encoded: Sequence[EncodedPrompt], device: torch.device) -> int:
    """How many tokens `score` computes for prompts on a device, padding left out."""
    total, before = 0, ()  # type: tuple[int, Tokens]
    _, overhead = _limits("auto", device)
    for group in plan_groups(encoded, share=True, overhead=overhead):
        members = [encoded[index] for index in group.members]
        prefix = members[0].context[: group.prefix]
        # A prefix grows out of what it shares with the one before it.
        total += len(prefix) - common_prefix(prefix, before)
        before = prefix or before
        for prompt in members:
            total += len(prompt.context) - group.prefix
            total += sum(len(tail) - 1 for tail in prompt.tails)
    return total


def parse_batch_size(batch_size: int | str) -> int | None:
    """The number a batch size stands for; `None` for `auto`."""
    if batch_size == "auto":
        return None
    try:
        rows = int(batch_size)
    except ValueError:
        rows = 0
    if rows < 1:
        raise BiasEditError(f"batch size {batch_size!r} is not usable; use auto or a number from 1")
    return rows


def _limits(batch_size: int | str, device: torch.device) -> tuple[Budget, int]:
    rows = parse_batch_size(batch_size)
    overhead = _OVERHEAD.get(device.type, _OVERHEAD_GPU)
    if rows is not None:
        return Budget(tokens=1 << 40, rows=rows), overhead
    return Budget(tokens=_TOKENS.get(device.type, _TOKENS_GPU), rows=_ROWS), overhead


@dataclass
class _Run:
    """One call of `score`: the results so far and what was learnt on the way."""

    passes: Passes
    encoded: Sequence[EncodedPrompt]
    budget: Budget
    batch_size: int | str
    done: dict[int, tuple[float, float]]
    progress: Progress | None
    on_batch: OnBatch | None
    tolerance: float = 1e-3
    checked: set[bool] = field(default_factory=set)  # with a prefix, without one
    halvings: int = 0
    skipped: list[Tokens] = field(default_factory=list)  # prefixes of groups known already

    def __post_init__(self) -> None:
        self._advance(len(self.done))

    def group(self, group: Group) -> None:
        """Score a group, batch by batch; smaller batches when memory runs out."""
        sharing = group.prefix > 0 and self.passes.can_share
        prefix = self.encoded[group.members[0]].context[: group.prefix]
        if all(index in self.done for index in group.members):
            self.skipped.append(prefix)
            return
        shared = None
        members = list(group.members)
        while members:
            start = group.prefix if sharing else 0
            lengths = [len(self.encoded[index].context) - start for index in members]
            batch = members[next(cut(lengths, self.budget))]
            if any(index not in self.done for index in batch):
                try:
                    if sharing and shared is None:
                        shared = self._prefix(prefix)
                    found = self.passes.run([self.encoded[i] for i in batch], shared)
                except Exception as error:
                    if _out_of_memory(error):
                        self._shrink(error, batch, lengths[len(batch) - 1])
                    elif sharing in self.checked or not self.passes.can_share:
                        raise
                    else:  # a model that fails with a cache may do without
                        self.passes.can_share = sharing = False
                    continue
                if not self._cache_agrees(batch, found, sharing):
                    sharing, shared = False, None
                    continue
                self._keep(batch, found)
            members = members[len(batch) :]

    def _prefix(self, prefix: Tokens) -> Cache:
        """Keys and values of a prefix, grown as in an uninterrupted run: the same to the bit."""
        for tokens in self.skipped:
            if tokens and tokens[0] == prefix[0]:
                self.passes.prefix(tokens)
        self.skipped.clear()
        return self.passes.prefix(prefix)

    def _cache_agrees(
        self, batch: Sequence[int], found: Sequence[tuple[float, float]], sharing: bool
    ) -> bool:
        """Compare the first result with a plain pass; work without a cache if it differs.

        A model from elsewhere may take a cache and use it in its own way; this finds out.
        """
        if not self.passes.can_share or sharing in self.checked:
            return True
        # A prompt with longer candidates uses the cache in every way there is.
        chosen = max(range(len(batch)), key=lambda i: self.encoded[batch[i]].multi_token)
        prompt = self.encoded[batch[chosen]]
        if not sharing and not prompt.multi_token:
            return True
        self.checked.add(sharing)
        self.passes.can_share = False
        plain = self.passes.run([prompt], None)[0]
        pairs = zip(found[chosen], plain, strict=True)
        far = any(
            first != second and abs(first - second) > self.tolerance for first, second in pairs
        )
        self.passes.can_share = not far
        return not far

    def _shrink(self, error: Exception, batch: Sequence[int], longest: int) -> None:
        """Go on with half of what was too much."""
        if len(batch) == 1:
            raise BiasEditError(
                "out of memory with a single prompt; use --dtype bfloat16, --device-map auto "
                "or a smaller model"
            ) from error
        self.budget = Budget(tokens=len(batch) * longest // 2, rows=len(batch) // 2)
        self.halvings += 1
        self.passes.free_memory()

    def _keep(self, batch: Sequence[int], found: Sequence[tuple[float, float]]) -> None:
        for index, pair in zip(batch, found, strict=True):
            if any(math.isnan(value) for value in pair):
                raise BiasEditError(
                    f"the model's logits are NaN or infinite on prompt {self.encoded[index].id}; "
                    "its weights are damaged or its dtype is too narrow (try --dtype float32)"
                )
        fresh = [index for index in batch if index not in self.done]
        self.done.update(zip(batch, found, strict=True))
        if self.on_batch is not None:
            values = np.array(found, dtype=np.float64)
            self.on_batch(batch, values[:, 0], values[:, 1])
        self._advance(len(fresh))

    def _advance(self, amount: int) -> None:
        if self.progress is not None and amount:
            self.progress.advance(amount)

    def result(self) -> Scores:
        values = np.array([self.done[index] for index in range(len(self.encoded))], np.float64)
        plan: BatchPlan = {
            "batch_size": self.batch_size if self.batch_size == "auto" else self.budget.rows,
            "tokens": self.budget.tokens if self.batch_size == "auto" else None,
            "halvings": self.halvings,
            "prefix_sharing": self.passes.can_share,
        }
        return Scores(values[:, 0], values[:, 1], plan)


def _out_of_memory(error: Exception) -> bool:
    """Whether an error of the tensor library says that memory ran out, on any kind of device."""
    import torch

    text = str(error).lower()
    phrases = ("out of memory", "can't allocate memory")
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(phrase in text for phrase in phrases)
    )
