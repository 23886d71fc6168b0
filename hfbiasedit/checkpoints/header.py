"""The header of a safetensors file, read strictly: such files come from strangers.

Sizes are checked against the file before anything is allocated, and the rules of the format
(no holes, no overlap, nothing behind the last tensor) before any offset is used.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard

from hfbiasedit.checkpoints.dtypes import ITEM_SIZES
from hfbiasedit.errors import BiasEditError

HEADER_LIMIT = 100_000_000  # bytes; the format's own limit
_DIMENSIONS = 16  # more than any weight has; keeps products of sizes small


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of a safetensors file; `begin` and `end` are absolute byte offsets."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Header:
    """A checked header: tensors by name, metadata strings, the file's size in bytes."""

    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str] = field(default_factory=dict)
    size: int = 0


def read_header(path: Path) -> Header:
    """Read and check the header of the safetensors file `path`.

    Raises:
        BiasEditError: unreadable, truncated or not a well-formed safetensors file.
    """
    try:
        with open(path, "rb") as file:
            return parse_header(file, os.fstat(file.fileno()).st_size, path)
    except OSError as error:
        raise BiasEditError(f"cannot read {path}: {error.strerror or error}") from error


def parse_header(file: BinaryIO, size: int, path: Path) -> Header:
    """Read and check the header of an open safetensors file of `size` bytes.

    Raises:
        BiasEditError: not a well-formed safetensors file; the message names `path`.
    """
    prefix = file.read(8)
    length = int.from_bytes(prefix, "little")
    if len(prefix) < 8 or length < 2 or length > min(size - 8, HEADER_LIMIT):
        raise _malformed(path, "its header length does not fit the file")
    raw = file.read(length)
    if len(raw) != length or not raw.startswith(b"{"):
        raise _malformed(path, "its header is no JSON object")
    entries = parse_json(raw, path)
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise _malformed(path, "its metadata is not a map of strings")
    start = 8 + length
    tensors = {name: _tensor(path, name, entry, start) for name, entry in entries.items()}
    end = start
    for name, info in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if info.begin != end:
            raise _malformed(path, f"tensor {shown(name)} overlaps another or leaves a hole")
        end = info.end
    if end != size:
        raise _malformed(path, f"its tensors end at byte {end}, the file at byte {size}")
    return Header(tensors, metadata, size)


def parse_json(raw: bytes | str, path: Path) -> dict[str, Any]:
    """A JSON object from an untrusted file: no repeated keys, no NaN, no bomb of empty brackets.

    Raises:
        BiasEditError: not such an object; the message names `path`.
    """
    try:
        text = raw.decode() if isinstance(raw, bytes) else raw
    except UnicodeDecodeError as error:
        raise _malformed(path, "its header is not UTF-8") from error
    # Each tensor entry takes three brackets and at least 50 bytes; far more of them only
    # serves to make the parser allocate much more memory than the file has bytes.
    if text.count("{") + text.count("[") > len(text) // 12 + 16:
        raise _malformed(path, "its header is not that of a list of tensors")
    try:
        value = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_int=_integer
        )
        if "\\u" in text:  # may be half a character, which is no text
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else ascii(str(error))
        raise _malformed(path, f"its header is not valid JSON ({reason})") from error
    if not isinstance(value, dict):
        raise _malformed(path, "its header is no JSON object")
    return value


def shown(name: str) -> str:
    """A name from a file, safe to print: control characters escaped, overlong ones cut."""
    text = name if len(name) <= 200 else name[:200] + "..."
    return text if text.isprintable() else ascii(text)


def _tensor(path: Path, name: str, entry: Any, start: int) -> TensorInfo:
    if not isinstance(entry, dict):
        raise _malformed(path, f"tensor {shown(name)} has no description")
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in ITEM_SIZES:
        raise _malformed(path, f"tensor {shown(name)} has an unknown dtype")
    if not is_shape(shape) or not is_shape(offsets) or len(offsets) != 2:
        raise _malformed(path, f"tensor {shown(name)} has no valid shape or offsets")
    if offsets[1] - offsets[0] != math.prod(shape) * ITEM_SIZES[dtype]:
        raise _malformed(path, f"the size of tensor {shown(name)} does not fit its shape")
    return TensorInfo(dtype, tuple(shape), start + offsets[0], start + offsets[1])


def is_shape(value: Any) -> TypeGuard[list[int]]:
    """Whether a JSON value is a list of a few non-negative integers below 2**53."""
    return (
        isinstance(value, list)
        and len(value) <= _DIMENSIONS
        and all(type(item) is int and 0 <= item < 1 << 53 for item in value)
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is repeated")
    return found


def _integer(text: str) -> int:
    if len(text) > 20:  # no size or seed is that large, and long ones take long to read
        raise ValueError("a number is too long")
    return int(text)


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not allowed")


def _malformed(path: Path, reason: str) -> BiasEditError:
    return BiasEditError(f"{path} is not a valid safetensors file: {reason}")
