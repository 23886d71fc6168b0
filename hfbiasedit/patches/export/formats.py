"""The two kinds of adapter: tensors and configuration as peft reads them.

Ranks are the same in all modules, filled up with zeros, and the scaling is 1: servers keep one
rank and one scaling per adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hfbiasedit.errors import BiasEditError
from hfbiasedit.patches.export.config import MAX_RANK, AdapterConfig, Kind
from hfbiasedit.patches.export.factors import factors, rank_of
from hfbiasedit.patches.export.layers import Layer

_PREFIX = "base_model.model."


@dataclass(frozen=True)
class Made:
    """An adapter in memory: its rank, tensors by peft's names, and part of its configuration."""

    rank: int
    tensors: dict[str, np.ndarray]
    config: dict[str, Any]


def lora(layers: Sequence[Layer], config: AdapterConfig) -> Made:
    """A LoRA adapter whose product is the edit.

    Raises:
        BiasEditError: a module needs a larger rank than allowed.
    """
    ranks = {layer.module: rank_of(layer) for layer in layers}
    module = max(ranks, key=lambda name: ranks[name])
    rank = ranks[module]
    if rank > config.max_rank:
        limit = "the largest --max-lora-rank of vLLM" if config.max_rank == MAX_RANK else "as asked"
        raise BiasEditError(
            f"the edit of {module} needs rank {rank} and --max-rank is {config.max_rank} "
            f"({limit}); edit fewer rows with --budget, or use --as shira, which peft alone loads"
        )
    tensors = {}
    for layer in layers:
        a, b = factors(layer, rank)
        tensors[f"{_PREFIX}{layer.module}.lora_A.weight"] = a
        tensors[f"{_PREFIX}{layer.module}.lora_B.weight"] = b
    details = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": any(layer.transposed for layer in layers),
    }
    return Made(rank, tensors, details)


def shira(layers: Sequence[Layer], config: AdapterConfig) -> Made:
    """peft's sparse adapter: positions and differences; see `peft.ShiraConfig`.

    Raises:
        BiasEditError: a module is a `Conv1D`, or most of its weights are edited.
    """
    for layer in layers:
        if layer.transposed:
            raise BiasEditError(f"{layer.module} is a Conv1D, which shira does not take; use lora")
    changes = {layer.module: layer.changes() for layer in layers}
    # peft keeps r * (in + out) weights in every module, so r is that of the fullest.
    rank = max(-(-len(changes[layer.module][2]) // sum(layer.shape)) for layer in layers)
    tensors: dict[str, np.ndarray] = {}
    for layer in layers:
        outputs, inputs, deltas = changes[layer.module]
        room = rank * sum(layer.shape)
        if room > layer.shape[0] * layer.shape[1]:
            raise BiasEditError(f"the edit of {layer.module} is not sparse enough for shira")
        place = np.zeros((2, room), dtype=np.int32)  # what is left over adds 0 to the first weight
        place[0, : len(outputs)], place[1, : len(inputs)] = outputs, inputs
        values = np.zeros(room, dtype=np.float32)
        values[: len(deltas)] = deltas
        tensors[f"{_PREFIX}{layer.module}.shira_weight"] = values
        tensors[f"{_PREFIX}{layer.module}.shira_indices"] = place
    return Made(rank, tensors, {"peft_type": "SHIRA", "r": rank, "mask_type": "random"})


_KINDS: dict[Kind, Callable[[Sequence[Layer], AdapterConfig], Made]] = {
    "lora": lora,
    "shira": shira,
}


def make(layers: Sequence[Layer], config: AdapterConfig) -> Made:
    """The adapter of the kind that `config` names."""
    return _KINDS[config.kind](layers, config)


def served_rank(rank: int, ranks: Sequence[int]) -> int | None:
    """The smallest of the ranks that a server can be set to, for an adapter of `rank`."""
    return min((known for known in ranks if known >= rank), default=None)
