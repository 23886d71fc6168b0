"""Logits of chosen positions only, with every model's own head."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.attention import any_shape

if TYPE_CHECKING:
    from transformers import Cache, PreTrainedModel

# Logits turned into float32 at once: 128 MiB; 4 MiB where they then stay in a cache.
_CHUNK, _CHUNK_CPU = 1 << 25, 1 << 20


def selected_logits(model: PreTrainedModel, keep: torch.Tensor, **inputs: Any) -> torch.Tensor:
    """Run a model and return its logits at the kept positions, [kept, vocabulary], row by row.

    The hidden states are gathered right before they enter the output embedding, so the projection
    onto the vocabulary is paid for the kept positions alone, while scaling, soft-capping and
    whatever else a model does after it stay the model's own. A model that does not call its output
    embedding on [batch, length, hidden] has all logits computed and is gathered from afterwards.

    Args:
        model: A causal language model.
        keep: Boolean mask [batch, length].
        **inputs: Passed to the model.
    """
    gathered = False

    def gather(_module: torch.nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        nonlocal gathered
        if not args or args[0].shape[:2] != keep.shape:
            return None
        gathered = True
        return (args[0][keep.to(args[0].device)].unsqueeze(0), *args[1:])

    head = model.get_output_embeddings()
    hook = head.register_forward_pre_hook(gather) if head is not None else None
    try:
        with any_shape():
            logits = model(**inputs).logits
    finally:
        if hook is not None:
            hook.remove()
    if gathered:
        return logits[0]
    if logits.shape[:2] != keep.shape:
        raise BiasEditError(f"{type(model).__name__} does not return logits for every token")
    return logits[keep.to(logits.device)]


def token_log_probs(
    logits: torch.Tensor, rows: Sequence[int], tokens: Sequence[int]
) -> list[float]:
    """Log-probabilities of tokens, each from its row of the logits [rows, vocabulary], in float32.

    NaN stands for a row whose logits hold NaN or infinity: it has no distribution.
    """
    chunk = _CHUNK_CPU if logits.device.type == "cpu" else _CHUNK
    size = max(1, chunk // logits.shape[-1])
    norms = torch.cat([part.float().logsumexp(-1) for part in logits.split(size)])
    norms = torch.where(norms.isfinite(), norms, torch.nan)
    index = torch.tensor(rows, device=logits.device)
    picked = logits[index, torch.tensor(tokens, device=logits.device)].float()
    return (picked - norms[index]).tolist()


def new_cache() -> Cache:
    """An empty cache that keeps every key and value, whatever window a layer attends to.

    Windows are then enforced by the attention mask alone, which transformers builds for the length
    of the cache; so a prefix can be cut and shared at any point.
    """
    from transformers import DynamicCache

    return DynamicCache()


def cache_rows(cache: Cache, rows: Sequence[int], length: int) -> Cache:
    """A new cache of the first `length` positions of the given rows; `cache` stays as it is."""
    from transformers.cache_utils import DynamicLayer

    result = new_cache()
    for number, layer in enumerate(cache.layers):
        assert isinstance(layer, DynamicLayer)  # see `can_share_prefix`
        assert layer.keys is not None
        assert layer.values is not None
        index = torch.tensor(rows, device=layer.keys.device)
        result.update(
            layer.keys[:, :, :length].index_select(0, index),
            layer.values[:, :, :length].index_select(0, index),
            number,
        )
    return result


def can_share_prefix(model: PreTrainedModel) -> bool:
    """Whether a model keeps plain keys and values per token (no recurrent or compressed state)."""
    from transformers import DynamicCache

    if "past_key_values" not in inspect.signature(model.forward).parameters:
        return False
    if getattr(model, "_is_stateful", False) or not getattr(model, "_supports_cache_class", True):
        return False
    try:
        layers = DynamicCache(config=model.config).layers
    except (AttributeError, KeyError, TypeError, ValueError):
        return False
    plain = {"DynamicLayer", "DynamicSlidingWindowLayer"}
    return all(type(layer).__name__ in plain for layer in layers)
