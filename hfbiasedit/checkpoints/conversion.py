"""Pickled `.bin` checkpoints as safetensors, shard by shard, without running pickled code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfbiasedit.checkpoints.storage import (
    BIN_INDEX,
    BIN_SINGLE,
    INDEX,
    SINGLE,
    read_config,
    read_weight_map,
    refuse_quantised,
)
from hfbiasedit.errors import BiasEditError
from hfbiasedit.files import write_json

if TYPE_CHECKING:
    import torch


def convert_bin(source: Path, target: Path) -> tuple[list[str], set[str]]:
    """Write the `.bin` weights of `source` as safetensors into `target`.

    Returns the files written and the files of `source` that they stand for.

    One shard is in memory at a time. Tensors that were stored twice, tied or not, stay so, in the
    order in which a loader meets them.

    Raises:
        BiasEditError: a shard needs pickled code, is damaged, or the checkpoint is quantised.
    """
    from safetensors.torch import save_file

    refuse_quantised(source, read_config(source))
    shards, indexed = _shards(source)
    written: dict[str, str] = {}
    total = 0
    for file, name in shards.items():
        tensors = _load(source / file)
        storages: set[int] = set()
        for key, value in tensors.items():
            tensors[key] = value = value.contiguous()
            pointer = value.untyped_storage().data_ptr()
            if pointer in storages:  # tied or a view: safetensors wants each on its own
                tensors[key] = value = value.clone()
            storages.add(pointer)
            written[key] = name
            total += value.numel() * value.element_size()
        save_file(tensors, target / name, metadata={"format": "pt"})
    if indexed:
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(written.items()))}
        write_json(target / INDEX, index)
        return [*shards.values(), INDEX], {*shards, BIN_INDEX}
    return list(shards.values()), set(shards)


def _shards(source: Path) -> tuple[dict[str, str], bool]:
    """`.bin` file -> safetensors file, in the order of loading, and whether an index lists them."""
    if (source / BIN_SINGLE).exists():
        return {BIN_SINGLE: SINGLE}, False
    files = sorted(set(read_weight_map(source, BIN_INDEX, ".bin").values()))
    names = [f"model-{n:05}-of-{len(files):05}.safetensors" for n in range(1, len(files) + 1)]
    return dict(zip(files, names, strict=True)), True


def _load(file: Path) -> dict[str, torch.Tensor]:
    import torch

    try:
        content: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and torch raise many kinds for damaged files
        raise BiasEditError(
            f"cannot read {file} without running code from it: {str(error).splitlines()[0]}"
        ) from error
    if not isinstance(content, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in content.items()
    ):
        raise BiasEditError(f"{file} holds something other than named tensors; use another export")
    return dict(content)
