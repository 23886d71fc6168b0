"""Small checkpoints without any model: directories of safetensors files and patches for them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from hfbiasedit.patches.container import write_patch
from hfbiasedit.patches.edits import TensorEdit

# Two shards; BF16 next to F32 next to F16; a vector, matrices, a stack; integers that stay.
SHARDS = {
    "model-00001-of-00002.safetensors": {
        "model.embed.weight": ("BF16", (12, 6)),
        "model.layers.0.mlp.up.weight": ("F32", (8, 5)),
        "model.layers.0.mlp.up.bias": ("F32", (8,)),
        "model.steps": ("I64", (3,)),
    },
    "model-00002-of-00002.safetensors": {
        "model.layers.1.mlp.experts": ("F16", (3, 4, 5)),
        "model.layers.1.mlp.down.weight": ("BF16", (6, 9)),
    },
}
ITEM = {"BF16": 2, "F16": 2, "F32": 4, "I64": 8}


def values(dtype: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Bit patterns of small random numbers."""
    numbers = np.random.default_rng(seed).normal(size=shape)
    if dtype == "BF16":
        return (numbers.astype("<f4").view("<u4") >> 16).astype("<u2")
    if dtype == "I64":
        return np.arange(numbers.size, dtype="<i8").reshape(shape)
    return numbers.astype(f"<f{ITEM[dtype]}").view(f"<u{ITEM[dtype]}")


def file_bytes(tensors: dict[str, tuple[str, np.ndarray]], metadata=None) -> bytes:
    """A safetensors file, laid out by hand (largest elements first, then by name)."""
    header, parts, offset = {}, [], 0
    if metadata is not None:
        header["__metadata__"] = metadata
    for name, (dtype, array) in sorted(tensors.items(), key=lambda t: (-t[1][1].itemsize, t[0])):
        data = np.ascontiguousarray(array).tobytes()
        header[name] = {
            "dtype": dtype,
            "shape": list(array.shape),
            "data_offsets": [offset, offset + len(data)],
        }
        parts.append(data)
        offset += len(data)
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    return len(raw).to_bytes(8, "little") + raw + b"".join(parts)


def make_checkpoint(path: Path, shards=SHARDS, config=None) -> dict[str, np.ndarray]:
    """Write a sharded checkpoint with a tokenizer and a configuration; returns its bits."""
    path.mkdir(parents=True)
    everything, weight_map = {}, {}
    for file, tensors in shards.items():
        content = {}
        for name, (dtype, shape) in tensors.items():
            everything[name] = values(dtype, shape, len(everything))
            content[name] = (dtype, everything[name])
            weight_map[name] = file
        (path / file).write_bytes(file_bytes(content, {"format": "pt"}))
    if list(shards) != ["model.safetensors"]:
        index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
        (path / "model.safetensors.index.json").write_text(json.dumps(index))
    (path / "config.json").write_text(json.dumps({"model_type": "llama"} | (config or {})))
    (path / "tokenizer.json").write_text('{"version": "1.0"}')
    return everything


def edit_of(name: str, dtype: str, old: np.ndarray, kind: str, positions=None, axis=None):
    """An edit that flips the lowest bit of the weights it names."""
    if kind == "whole":
        before = old
    elif kind == "entries":
        before = old.reshape(-1)[positions]
    else:
        stack = old.reshape(-1, *old.shape[-2:])
        matrices, numbers = np.divmod(np.asarray(positions), old.shape[axis])
        rows = [
            stack[m, n] if axis == old.ndim - 2 else stack[m, :, n]
            for m, n in zip(matrices, numbers, strict=True)
        ]
        before = np.stack(rows)
    index = None if positions is None else np.asarray(positions, dtype=np.int64)
    return TensorEdit(name, kind, axis, old.shape, dtype, index, before, before ^ 1)


def sample_edits(bits: dict[str, np.ndarray]) -> dict[str, TensorEdit]:
    """Every kind of edit once, both axes, in both shards."""
    edits = [
        edit_of("model.embed.weight", "BF16", bits["model.embed.weight"], "rows", [1, 2, 9], 0),
        edit_of(
            "model.layers.0.mlp.up.weight", "F32", bits["model.layers.0.mlp.up.weight"],
            "entries", [0, 7, 39],
        ),
        edit_of("model.layers.0.mlp.up.bias", "F32", bits["model.layers.0.mlp.up.bias"], "whole"),
        edit_of(
            "model.layers.1.mlp.experts", "F16", bits["model.layers.1.mlp.experts"],
            "rows", [0, 5, 11], 1,
        ),
        edit_of(
            "model.layers.1.mlp.down.weight", "BF16", bits["model.layers.1.mlp.down.weight"],
            "rows", [0, 8], 1,
        ),
    ]  # fmt: skip
    return {edit.name: edit for edit in edits}


def expected_bits(bits, edits, *, new: bool = True) -> dict[str, np.ndarray]:
    """What the tensors hold with the edits in, computed weight by weight."""
    result = {name: array.copy() for name, array in bits.items()}
    for name, edit in edits.items():
        side = edit.new_bits if new else edit.old_bits
        target = result[name]
        if edit.kind == "whole":
            target[...] = side
            continue
        for place, value in zip(edit.positions, side, strict=True):
            if edit.kind == "entries":
                target.reshape(-1)[place] = value
                continue
            matrix, number = divmod(int(place), target.shape[edit.axis])
            stack = target.reshape(-1, *target.shape[-2:])
            if edit.axis == target.ndim - 2:
                stack[matrix, number] = value
            else:
                stack[matrix, :, number] = value
    return result


def read_bits(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a checkpoint, read without the code under test."""
    found = {}
    for file in sorted(path.glob("*.safetensors")):
        raw = file.read_bytes()
        length = int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8 : 8 + length])
        for name, info in header.items():
            if name == "__metadata__":
                continue
            begin, end = (8 + length + offset for offset in info["data_offsets"])
            kind = "<i8" if info["dtype"] == "I64" else f"<u{ITEM[info['dtype']]}"
            found[name] = np.frombuffer(raw[begin:end], kind).reshape(info["shape"])
    return found


def assert_bits(path: Path, expected: dict[str, np.ndarray]) -> None:
    """A checkpoint holds exactly these tensors."""
    found = read_bits(path)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert np.array_equal(found[name], array), name


def save_patch(path: Path, edits, **metadata) -> Path:
    """Write a patch file."""
    write_patch(path, edits, metadata)
    return path


def fingerprint(path: Path) -> dict[str, str]:
    """Hash of every file below a directory, by relative name."""
    return {
        str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }
