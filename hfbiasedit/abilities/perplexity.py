"""Perplexity of code before and after an edit, and how far the two distributions lie apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from hfbiasedit import console
from hfbiasedit.abilities.generating.context import refuse_lost, window_length
from hfbiasedit.abilities.text_windows import Window, batches, cut_windows, encode_documents
from hfbiasedit.documents.structures.ability_document import (
    Perplexity,
    PerplexityChange,
    PerplexitySide,
)
from hfbiasedit.errors import BiasEditError
from hfbiasedit.intervals import bootstrap
from hfbiasedit.models.limits import check_fit
from hfbiasedit.scoring.logits import selected_logits
from hfbiasedit.texts.corpus import Corpus

if TYPE_CHECKING:
    from hfbiasedit.abilities.config import AbilityConfig
    from hfbiasedit.console import Progress
    from hfbiasedit.models.loading import LoadedModel
    from hfbiasedit.patches.patch import Patch

_FLOAT32_BYTES = 1 << 26  # of logits turned into float32 at once
_BATCH_BYTES = 1 << 28  # of logits of one batch
_HELD_BYTES = 1 << 29  # of logits of the original that wait for those of the edited model
_BATCH_TOKENS = {"cpu": 2048}  # of one pass, by kind of device
_BATCH_TOKENS_GPU = 16384
_FEWEST_UNITS = 8  # documents; with fewer, windows are resampled


@dataclass
class Positions:
    """One entry per predicted token: float64, int64 or bool [tokens]."""

    nll: np.ndarray
    document: np.ndarray
    window: np.ndarray
    nll_after: np.ndarray | None = None
    kl: np.ndarray | None = None
    changed: np.ndarray | None = None


def measure_perplexity(
    loaded: LoadedModel,
    corpus: Corpus,
    config: AbilityConfig,
    patch: Patch | None = None,
) -> Perplexity:
    """Token and byte perplexity on `corpus`; with a patch also after it, on the same positions.

    Token perplexity is exp(mean negative log-likelihood), byte perplexity
    exp(summed negative log-likelihood / bytes), which tokenizers have in common. KL is
    KL(original || edited) in nats per position.

    Raises:
        BiasEditError: the context is too short, the tokenizer cannot encode the text or is another
            model's, or a document has a distribution of NaN.
    """
    length = window_length(loaded, config.window)
    sequences, sizes = encode_documents(loaded.tokenizer, corpus.texts)
    for text, ids in zip(corpus.texts, sequences, strict=True):
        refuse_lost(loaded, corpus.name, text, ids)
    _warn_of_unknown(loaded, corpus.name, sequences)
    # Windows are cut to the context; a tokenizer of another model is still to be found out.
    check_fit(loaded.model, ((corpus.name, set(ids), 0) for ids in sequences))
    stride = min(config.stride or length // 2, length - 1)
    windows = list(cut_windows(sequences, length, stride))
    if not windows:
        raise BiasEditError(f"{corpus.name} has no token to predict; give a longer text")
    with console.progress("perplexity", len(windows)) as bar:
        positions = score_windows(loaded, windows, patch, bar)
    used = {window.document for window in windows}
    size = sum(sizes[document] for document in used)
    result: Perplexity = {
        "text": {
            "name": corpus.name,
            "sha256": corpus.sha256,
            "documents": len(corpus.texts),
            "bytes": corpus.bytes,
        },
        "window": length,
        "stride": stride,
        "before": _summary(positions.nll, size, positions, config),
    }
    if positions.nll_after is not None:
        result["after"] = _summary(positions.nll_after, size, positions, config)
        result |= _comparison(positions, config)
    return result


def _warn_of_unknown(loaded: LoadedModel, name: str, sequences: Sequence[Sequence[int]]) -> None:
    """Say when a tokenizer does not know all of a text: what is lost is foretold easily."""
    unknown = loaded.tokenizer.unk_token_id
    lost = sum(token == unknown for ids in sequences for token in ids[1:])
    if lost:
        share = lost / sum(map(len, sequences))
        console.warn(
            f"{share:.1%} of the tokens of {name} are unknown to the tokenizer of "
            f"{loaded.source.id}: perplexity per byte looks better than it is"
        )


def score_windows(
    loaded: LoadedModel,
    windows: Sequence[Window],
    patch: Patch | None = None,
    progress: Progress | None = None,
) -> Positions:
    """Negative log-likelihood of every scored token, before and (with a patch) after.

    The original's logits wait in the model's own dtype until the patch has been applied, as many
    batches at a time as memory allows, so that both are compared in full without being stored.
    """
    device = loaded.device.type
    tokens = _BATCH_TOKENS.get(device, _BATCH_TOKENS_GPU)
    longest = max(len(window.ids) for window in windows)
    per_window = longest * loaded.model.config.get_text_config().vocab_size
    per_window *= loaded.model.dtype.itemsize
    rows = max(1, min(tokens // longest, _BATCH_BYTES // per_window))
    held = max(1, _HELD_BYTES // (rows * per_window)) if patch is not None else 1
    plan = list(batches(windows, rows))
    number = {id(window): index for index, window in enumerate(windows)}
    parts: list[Positions] = []
    with torch.inference_mode():
        for start in range(0, len(plan), held):
            group = plan[start : start + held]
            parts += _score_group(loaded, group, number, patch)
            if progress is not None:
                progress.advance(sum(len(batch) for batch in group))
    joined = {
        name: None
        if getattr(parts[0], name) is None
        else np.concatenate([getattr(part, name) for part in parts])
        for name in ("nll", "document", "window", "nll_after", "kl", "changed")
    }
    return Positions(**joined)  # type: ignore[arg-type]


def _score_group(
    loaded: LoadedModel,
    group: Sequence[Sequence[Window]],
    number: dict[int, int],
    patch: Patch | None,
) -> list[Positions]:
    if patch is None:
        return [_before(batch, _logits(loaded, batch), number) for batch in group]
    before = [_logits(loaded, batch) for batch in group]
    parts = [_before(batch, logits, number) for batch, logits in zip(group, before, strict=True)]
    with patch.applied(loaded):
        for batch, logits, part in zip(group, before, parts, strict=True):
            edited = _logits(loaded, batch)
            part.nll_after = _losses(edited, batch)
            part.kl, part.changed = _differences(logits, edited)
    return parts


def _before(batch: Sequence[Window], logits: torch.Tensor, number: dict[int, int]) -> Positions:
    repeats = [window.scored for window in batch]
    return Positions(
        _losses(logits, batch),
        np.repeat([window.document for window in batch], repeats),
        np.repeat([number[id(window)] for window in batch], repeats),
    )


def _logits(loaded: LoadedModel, batch: Sequence[Window]) -> torch.Tensor:
    """Logits that predict the scored tokens, [scored, vocabulary], window by window.

    Padding is on the right, where no real token of a causal model sees it, so no mask is needed,
    and attention runs its fast causal path.
    """
    longest = max(len(window.ids) for window in batch)
    ids = torch.zeros(len(batch), longest, dtype=torch.int64)
    keep = torch.zeros(len(batch), longest, dtype=torch.bool)
    for row, window in enumerate(batch):
        end = len(window.ids)
        ids[row, :end] = torch.tensor(window.ids)
        keep[row, end - 1 - window.scored : end - 1] = True
    device = loaded.device
    return selected_logits(
        loaded.model,
        keep.to(device),
        input_ids=ids.to(device),
        use_cache=False,
    )


def _losses(logits: torch.Tensor, batch: Sequence[Window]) -> np.ndarray:
    """-log P of each scored token in float32, as float64 [scored]."""
    targets = torch.tensor([token for window in batch for token in window.ids[-window.scored :]])
    targets = targets.to(logits.device)
    losses = []
    for rows in _chunks(logits):
        part = logits[rows].float()
        picked = part.gather(-1, targets[rows].unsqueeze(-1)).squeeze(-1)
        losses.append(part.logsumexp(-1) - picked)
    values = torch.cat(losses).cpu().double().numpy()
    if not np.isfinite(values).all():
        raise BiasEditError("the model's distribution holds NaN or infinity; try --dtype float32")
    return values


def _differences(before: torch.Tensor, after: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """KL(before || after) in nats, and whether the most likely token differs, per position."""
    divergence, changed = [], []
    for rows in _chunks(before):
        old, new = before[rows].float().log_softmax(-1), after[rows].float().log_softmax(-1)
        divergence.append(torch.nn.functional.kl_div(new, old, reduction="none", log_target=True))
        divergence[-1] = divergence[-1].sum(-1).clamp_min(0)
        changed.append(old.argmax(-1) != new.argmax(-1))
    return torch.cat(divergence).cpu().double().numpy(), torch.cat(changed).cpu().numpy()


def _chunks(logits: torch.Tensor) -> Iterator[slice]:
    size = max(1, _FLOAT32_BYTES // (4 * logits.shape[-1]))
    for start in range(0, logits.shape[0], size):
        yield slice(start, start + size)


def _units(positions: Positions) -> np.ndarray:
    """What is resampled: documents, or windows where there are only a few documents."""
    few = len(np.unique(positions.document)) < _FEWEST_UNITS
    unit: np.ndarray = np.unique(
        positions.window if few else positions.document, return_inverse=True
    )[1]
    return unit


def _summary(
    nll: np.ndarray, size: int, positions: Positions, config: AbilityConfig
) -> PerplexitySide:
    unit = _units(positions)
    sums, counts = np.bincount(unit, nll), np.bincount(unit)
    interval = bootstrap(
        lambda drawn: np.exp(drawn @ sums / (drawn @ counts)),
        len(sums),
        resamples=config.bootstrap,
        seed=config.seed,
    )
    return {
        "token_perplexity": float(np.exp(nll.mean())),
        "byte_perplexity": float(np.exp(nll.sum() / max(1, size))),
        "ci95": interval,
        "tokens": len(nll),
        "bytes": size,
    }


def _comparison(positions: Positions, config: AbilityConfig) -> PerplexityChange:
    """Relative change of token perplexity, paired over units; KL and changed top tokens."""
    assert positions.nll_after is not None
    assert positions.kl is not None
    assert positions.changed is not None
    difference = positions.nll_after - positions.nll
    unit = _units(positions)
    sums, counts = np.bincount(unit, difference), np.bincount(unit)
    interval = bootstrap(
        lambda drawn: np.expm1(drawn @ sums / (drawn @ counts)),
        len(sums),
        resamples=config.bootstrap,
        seed=config.seed,
    )
    return {
        "relative_change": float(np.expm1(difference.mean())),
        "relative_change_ci95": interval,
        "kl_mean": float(positions.kl.mean()),
        "kl_p99": float(np.percentile(positions.kl, 99)),
        "top1_changed": float(positions.changed.mean()),
    }
