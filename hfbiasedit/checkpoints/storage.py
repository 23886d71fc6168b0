"""A checkpoint directory: which files hold weights, and where each tensor lies in them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hfbiasedit.checkpoints.header import TensorInfo, read_header, shown
from hfbiasedit.errors import BiasEditError
from hfbiasedit.files import read_json

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
BIN_INDEX = "pytorch_model.bin.index.json"
BIN_SINGLE = "pytorch_model.bin"
#: Files that hold weights in some form, whether or not this checkpoint is made of them.
WEIGHTS = re.compile(
    r"(\.(safetensors|bin|pt|pth|ckpt|gguf|ggml|h5|msgpack|onnx|npz)(\.index\.json)?|\.onnx_data)$"
)
_NOT_WEIGHTS = {"training_args.bin"}


@dataclass(frozen=True)
class Place:
    """One tensor in a shard."""

    file: str
    info: TensorInfo


@dataclass(frozen=True)
class Checkpoint:
    """A directory of safetensors shards, headers read and checked.

    Names are resolved as `from_pretrained` does: the shards that the index names are read in
    order, all that they hold is taken, and of a tensor that stands in several the last counts.
    The index has no say in that. `copies` are the places that do not count.
    """

    path: Path
    files: tuple[str, ...]
    tensors: Mapping[str, Place]
    config: Mapping[str, Any]
    copies: Mapping[str, tuple[Place, ...]] = field(default_factory=dict)

    @property
    def own(self) -> frozenset[str]:
        """Names of all files that the weights consist of, the index included."""
        return frozenset(self.files) if self.files == (SINGLE,) else frozenset((*self.files, INDEX))

    @property
    def names(self) -> Iterator[str]:
        """Names of all stored tensors."""
        return iter(self.tensors)

    @property
    def numel(self) -> int:
        """Number of stored weights."""
        return sum(math.prod(place.info.shape) for place in self.tensors.values())

    @classmethod
    def open(cls, path: Path) -> Checkpoint:
        """Read the index and the headers of all shards.

        Raises:
            BiasEditError: no safetensors weights, an index that does not fit, quantised weights.
        """
        path = Path(path)
        if not path.is_dir():
            raise BiasEditError(f"{path} is no checkpoint directory")
        config = read_config(path)
        refuse_quantised(path, config)
        if "transformers_weights" in config:
            raise BiasEditError(
                f"{path} names its weight file in config.json, which is not supported; "
                "save it with save_pretrained first"
            )
        weight_map: dict[str, str] | None = None
        if (path / SINGLE).exists():  # the one that transformers loads when both are there
            files: tuple[str, ...] = (SINGLE,)
        elif (path / INDEX).exists():
            weight_map = read_weight_map(path, INDEX, ".safetensors")
            files = tuple(sorted(set(weight_map.values())))
        else:
            raise BiasEditError(_no_weights(path))
        tensors: dict[str, Place] = {}
        copies: dict[str, tuple[Place, ...]] = {}
        for file in files:
            for name, info in read_header(path / file).tensors.items():
                if name in tensors:
                    copies[name] = (*copies.get(name, ()), tensors[name])
                tensors[name] = Place(file, info)
        missing = sorted(set(weight_map or ()) - set(tensors))
        if missing:
            raise BiasEditError(
                f"{path / INDEX} lists {shown(missing[0])}, which no shard holds; "
                "download the checkpoint again"
            )
        return cls(path, files, tensors, config, copies)

    def places(self, name: str) -> tuple[Place, ...]:
        """Every place where a tensor stands, the one that counts last; empty when there is none."""
        place = self.tensors.get(name)
        return () if place is None else (*self.copies.get(name, ()), place)


def weight_files(path: Path) -> list[Path]:
    """The files that transformers loads the weights of a directory from; none without weights.

    Raises:
        BiasEditError: an index names files that are not there.
    """
    kinds = ((SINGLE, INDEX, ".safetensors"), (BIN_SINGLE, BIN_INDEX, ".bin"))
    for single, index, suffix in kinds:
        if (path / single).exists():
            return [path / single]
        if (path / index).exists():
            names = read_weight_map(path, index, suffix).values()
            return [path / name for name in sorted(set(names))]
    return []


def has_only_bin(path: Path) -> bool:
    """Whether a checkpoint holds pickled weights and no safetensors."""
    path = Path(path)
    if (path / INDEX).exists() or (path / SINGLE).exists():
        return False
    return (path / BIN_INDEX).exists() or (path / BIN_SINGLE).exists()


def read_config(path: Path) -> dict[str, Any]:
    """The checkpoint's `config.json`, empty when it has none.

    Raises:
        BiasEditError: it is not a JSON object.
    """
    if not (path / "config.json").exists():
        return {}
    config = read_json(path / "config.json")
    if not isinstance(config, dict):
        raise BiasEditError(f"{path / 'config.json'} is no JSON object")
    return config


def read_weight_map(path: Path, index: str, suffix: str) -> dict[str, str]:
    """Tensor name -> shard of an index file; shards must be plain file names beside it.

    Raises:
        BiasEditError: not an index, or it points outside of the directory.
    """
    content = read_json(path / index)
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise BiasEditError(f"{path / index} has no weight_map; download the checkpoint again")
    for file in set(map(str, weight_map.values())):
        plain = Path(file).name == file and not file.startswith(".") and file.isprintable()
        if not plain or "\\" in file or not file.endswith(suffix):
            raise BiasEditError(f"{path / index} names {shown(file)}, which is no shard beside it")
        if not (path / file).is_file():
            raise BiasEditError(f"{path / file} is missing; download the checkpoint again")
    return weight_map


def refuse_quantised(path: Path, config: Mapping[str, Any]) -> None:
    """Refuse checkpoints whose weights are codes of a quantiser.

    Raises:
        BiasEditError: `config.json` says so.
    """
    quantisation = config.get("quantization_config")
    if quantisation:
        method = quantisation.get("quant_method") if isinstance(quantisation, dict) else None
        raise BiasEditError(
            f"{path} is quantised ({method or 'unknown method'}) and cannot be patched exactly; "
            "edit the 16-bit base and quantise afterwards"
        )


def is_weights(name: str) -> bool:
    """Whether a file of this name holds weights or indexes them."""
    return bool(WEIGHTS.search(name)) and name not in _NOT_WEIGHTS


def _no_weights(path: Path) -> str:
    present = {file.suffix for file in path.iterdir()}
    if has_only_bin(path):
        return f"{path} has only .bin weights; write safetensors first (save_pretrained does)"
    if (path / "adapter_model.safetensors").exists():
        return f"{path} holds an adapter; merge it into its base first (peft: merge_and_unload)"
    if ".gguf" in present:
        return f"{path} holds GGUF weights, which cannot be patched; patch the base, then convert"
    if ".distcp" in present or ".pth" in present:
        return f"{path} holds sharded training states; save it with save_pretrained first"
    return f"{path} holds no model.safetensors and no {INDEX}"
