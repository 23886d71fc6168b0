"""Pickled `.bin` checkpoints as safetensors, shard by shard, without running pickled code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfbiasedit.checkpoints.dtypes import name_of
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


@dataclass(frozen=True)
class Converted:
    """What a conversion did.

    Attributes:
        written: the files in the new directory.
        read: the files of the old one that they stand for.
        left_out: entries of those that are no tensors, which no loader takes.
    """

    written: list[str]
    read: set[str]
    left_out: list[str]


def convert_bin(source: Path, target: Path) -> Converted:
    """Write the `.bin` weights of `source` as safetensors into `target`.

    One shard is in memory at a time. Tensors that were stored twice, tied or not, stay so, in the
    order in which a loader meets them.

    Raises:
        BiasEditError: a shard needs pickled code, is damaged, or the checkpoint is quantised.
    """
    from safetensors.torch import save_file

    refuse_quantised(source, read_config(source))
    shards, indexed = _shards(source)
    written: dict[str, str] = {}
    left_out: list[str] = []
    total = 0
    for file, name in shards.items():
        tensors, odd = _load(source / file)
        left_out += odd
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
        return Converted([*shards.values(), INDEX], {*shards, BIN_INDEX}, left_out)
    return Converted(list(shards.values()), set(shards), left_out)


def _shards(source: Path) -> tuple[dict[str, str], bool]:
    """`.bin` file -> safetensors file, in the order of loading, and whether an index lists them."""
    if (source / BIN_SINGLE).exists():
        return {BIN_SINGLE: SINGLE}, False
    files = sorted(set(read_weight_map(source, BIN_INDEX, ".bin").values()))
    names = [f"model-{n:05}-of-{len(files):05}.safetensors" for n in range(1, len(files) + 1)]
    return dict(zip(files, names, strict=True)), True


def bin_dtypes(source: Path) -> dict[str, str]:
    """The dtype of every tensor of a pickled checkpoint by its name; no values are read.

    Names are those of safetensors, and those of torch where it has none.

    Raises:
        BiasEditError: as `convert_bin`.
    """
    found = {}
    for file in _shards(source)[0]:
        for name, tensor in _load(source / file, "meta")[0].items():
            found[name] = name_of(tensor.dtype) or str(tensor.dtype)
    return found


def _load(file: Path, device: str = "cpu") -> tuple[dict[str, torch.Tensor], list[str]]:
    """The named tensors of a file, and the names of what else is in it, which no loader takes."""
    import torch

    try:
        content: Any = torch.load(file, map_location=device, weights_only=True)
    except Exception as error:  # pickle, zip and torch raise many kinds for damaged files
        raise BiasEditError(
            f"cannot read {file} without running code from it: {str(error).splitlines()[0]}"
        ) from error
    tensors = {
        name: value
        for name, value in (content.items() if isinstance(content, dict) else ())
        if isinstance(name, str) and _is_dense(value)
    }
    if not tensors:
        raise BiasEditError(f"{file} holds something other than named tensors; use another export")
    return tensors, [str(name) for name in content if name not in tensors]


def _is_dense(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor) and value.layout == torch.strided
