"""Exact log-probabilities of male and female continuations, in few forward passes.

What is saved, and why the result stays the same:

* all one-token candidates of a prompt come from one pass, longer ones add only their own tokens;
* the vocabulary projection runs at the needed positions only;
* where a model's attention can be exchanged, many prompts run as one tree in one row of tokens:
  what they share stands in it once, and nothing is padding;
* elsewhere a prefix that prompts share is computed once and its keys and values are reused, and
  batches are padded on the right and need no mask: in a causal model no real token sees what
  follows it, and positions count from the first token as in an unpadded run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from hfbiasedit.documents.structures.audit_document import BatchPlan
from hfbiasedit.errors import BiasEditError
from hfbiasedit.scoring.continuations import EncodedPrompt
from hfbiasedit.scoring.grouping import Budget, by_tokens, plan_groups, tree_tokens, trees

if TYPE_CHECKING:
    import torch

    from hfbiasedit.console import Progress
    from hfbiasedit.models.loading import LoadedModel
    from hfbiasedit.scoring.batches import OnBatch

# Fixed cost of a forward pass in tokens, and tokens per pass, by kind of device. A processor is
# busy with a thousand tokens; a GPU wants many, and waits as long for one token as for a thousand.
_OVERHEAD = {"cpu": 24}
_TOKENS = {"cpu": 2048}
_OVERHEAD_GPU, _TOKENS_GPU = 1024, 16384
_ROWS = 1024  # prompts per pass at most, however short they are


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
        share_prefixes: Whether what prompts share may be computed once and used for all of them;
            without, every sequence runs whole, as slow and as simple as can be.
        known: Results from an interrupted run (index -> log_male, log_female). Batches are planned
            as if there were none, and those that are wholly known are skipped.
        on_batch: Called after each batch with its indices and their two log-probabilities.

    Raises:
        BiasEditError: Nothing to score, a prompt does not fit the model's context or vocabulary,
            logits are NaN or infinite, or one prompt alone exceeds the memory.
    """
    from hfbiasedit.scoring.batches import Run
    from hfbiasedit.scoring.passes import Passes

    if not encoded:
        raise BiasEditError("nothing to score: the selection holds no prompts")
    budget, overhead = _limits(batch_size, loaded.device)
    passes = Passes(loaded.model, loaded.device, overhead)
    passes.check_fit(encoded)
    run = Run(passes, encoded, budget, loaded.dtype, dict(known or {}), progress, on_batch)
    passes.can_share = passes.can_share and share_prefixes
    passes.can_pack = passes.can_pack and share_prefixes
    if passes.can_pack:
        run.together(run.trees)  # finds out whether the model can
    while len(run.done) < len(encoded):
        groups = plan_groups(encoded, share=passes.can_share, overhead=overhead)
        run.together(partial(run.groups, groups))
    values = np.array([run.done[index] for index in range(len(encoded))], np.float64)
    plan: BatchPlan = {
        "batch_size": "auto" if batch_size == "auto" else run.budget.rows,
        "tokens": run.budget.tokens if batch_size == "auto" else None,
        "halvings": run.halvings,
        "prefix_sharing": passes.can_share,
        "packed": passes.can_pack,
    }
    return Scores(values[:, 0], values[:, 1], plan)


def tokens_of(encoded: Sequence[EncodedPrompt], device: torch.device) -> int:
    """How many tokens `score` computes for prompts on a device, of a model that runs as trees."""
    budget, _ = _limits("auto", device)
    return sum(tree_tokens(encoded, tree) for tree in trees(encoded, by_tokens(encoded), budget))


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
