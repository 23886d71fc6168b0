"""Patch files: reading untrusted ones, writing them byte for byte the same every time."""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hfbiasedit.checkpoints.dtypes import FLOATS, ITEM_SIZES
from hfbiasedit.checkpoints.header import (
    Header,
    TensorInfo,
    is_shape,
    parse_json,
    read_header,
    shown,
)
from hfbiasedit.errors import BiasEditError
from hfbiasedit.files import canonical_json, replaced
from hfbiasedit.patches.edits import KINDS, TensorEdit, payload_shape, slice_length

FORMAT = "hfbiasedit.patch"
VERSION = 1
KEY = "hfbiasedit"  # the only metadata key: with two, safetensors orders them at random
KNOWN = ("base_model", "base_revision", "granularity", "created_by", "edit")
_ENTRY_KEYS = {"kind", "axis", "shape", "dtype", "sha256", "tied"}
_INDEX = {"rows": ("rows",), "entries": ("entries",), "whole": ()}
_LONGEST_NAME = 1024  # characters; several times the longest name of a weight


class LazyTensors(Mapping[str, TensorEdit]):
    """The edits of a patch file; each is read and checked when it is asked for.

    The file is mapped, not loaded, and pages are given back by `release`.
    """

    def __init__(self, path: Path, header: Header, entries: dict[str, dict[str, Any]]) -> None:
        self._header, self._entries = header, entries
        self._checked: set[str] = set()
        try:
            with open(path, "rb") as file:
                # A private copy-on-write map: torch wants writable memory, the file stays.
                self._map = mmap.mmap(file.fileno(), header.size, access=mmap.ACCESS_COPY)
        except (OSError, ValueError) as error:
            raise BiasEditError(f"cannot read {path}: {error}") from error

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __getitem__(self, name: str) -> TensorEdit:
        entry = self._entries[name]
        kind = entry["kind"]
        arrays = [self._array(f"{name}.{part}") for part in (*_INDEX[kind], "old", "new")]
        positions = arrays[0] if kind != "whole" else None
        edit = TensorEdit(
            name,
            kind,
            entry["axis"],
            tuple(entry["shape"]),
            entry["dtype"],
            positions,
            arrays[-2],
            arrays[-1],
            entry.get("sha256"),
            tuple(entry.get("tied", ())),
            {key: value for key, value in entry.items() if key not in _ENTRY_KEYS},
            self.release,
        )
        if name not in self._checked:
            edit.check()
            self._checked.add(name)
        return edit

    def describe(self, name: str) -> dict[str, Any]:
        """What the header says about a tensor, with `count` slices or entries; reads no values."""
        entry = self._entries[name]
        info = self._header.tensors[f"{name}.old"]
        return entry | {"count": info.shape[0], "weights": math.prod(info.shape)}

    def release(self) -> None:
        """Let the system take back the pages read so far."""
        if hasattr(self._map, "madvise"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def _array(self, key: str) -> np.ndarray:
        info = self._header.tensors[key]
        kind = "<i8" if info.dtype == "I64" else FLOATS[info.dtype].bits
        array = np.frombuffer(self._map, kind, count=math.prod(info.shape), offset=info.begin)
        return array.reshape(info.shape)


def read_patch(path: Path) -> tuple[LazyTensors, dict[str, Any], list[str]]:
    """Read a patch file: (edits, metadata, warnings). Structure is checked now, values on access.

    Raises:
        BiasEditError: not a patch file, damaged, or of a version that is not understood.
    """
    path = Path(path)
    header = read_header(path)
    if set(header.metadata) != {KEY}:
        raise BiasEditError(f"{path} is not a patch: its metadata has no single key '{KEY}'")
    description = parse_json(header.metadata[KEY], path)
    if description.get("format") != FORMAT:
        raise BiasEditError(f"{path} is not a patch: its format is not '{FORMAT}'")
    version = description.get("version")
    if type(version) is not int or version != VERSION:
        raise BiasEditError(
            f"{path} is a patch of version {shown(str(version))}, this program reads {VERSION}; "
            "update hfbiasedit"
        )
    entries = description.get("tensors")
    if not isinstance(entries, dict) or not entries:
        raise BiasEditError(f"{path} is damaged: it lists no tensors")
    warnings: list[str] = []
    expected = 0
    for name, entry in entries.items():
        unknown = _check_entry(path, name, entry, header.tensors)
        expected += 2 + (entry["kind"] != "whole")
        if unknown:
            warnings.append(f"{path}: unknown keys of {name} kept: {', '.join(unknown)}")
    if expected != len(header.tensors):
        raise BiasEditError(f"{path} is damaged: it holds tensors that its metadata does not list")
    reserved = {"format", "version", "tensors"}
    metadata = {key: value for key, value in description.items() if key not in reserved}
    strange = sorted(shown(key) for key in metadata if key not in KNOWN)
    if strange:
        warnings.append(f"{path}: unknown metadata kept: {', '.join(strange)}")
    return LazyTensors(path, header, entries), metadata, warnings


def _check_entry(path: Path, name: str, entry: Any, tensors: Mapping[str, TensorInfo]) -> list[str]:
    """Check one tensor's description against the file; return the keys that are not known."""

    def refuse(reason: str) -> BiasEditError:
        return BiasEditError(f"{path} is damaged: tensor {shown(name)} {reason}")

    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise refuse("has a name that no checkpoint has")
    if not isinstance(entry, dict) or not _ENTRY_KEYS - {"sha256", "tied"} <= set(entry):
        raise refuse("is not described")
    kind, axis, shape, dtype = (entry[key] for key in ("kind", "axis", "shape", "dtype"))
    if kind not in KINDS:
        raise refuse("has an unknown kind")
    if not isinstance(dtype, str) or dtype not in FLOATS:
        raise refuse(f"has a dtype that cannot be patched ({', '.join(FLOATS)} can)")
    if not is_shape(shape) or 0 in shape or math.prod(shape) * 8 >= 1 << 62:
        raise refuse("has no valid shape")
    if kind != "rows":
        if axis is not None:
            raise refuse("has an axis but no rows")
    elif type(axis) is not int or len(shape) < 2 or not len(shape) - 2 <= axis < len(shape):
        raise refuse("has an axis that is not one of its last two dimensions")
    if not all(f"{name}.{part}" in tensors for part in (*_INDEX[kind], "old", "new")):
        raise refuse("lacks its values")
    count = 0
    if kind != "whole":
        index = tensors[f"{name}.{kind}"]
        limit = math.prod(shape) // (slice_length(tuple(shape), axis) if kind == "rows" else 1)
        if index.dtype != "I64" or len(index.shape) != 1 or not 1 <= index.shape[0] <= limit:
            raise refuse("has no valid list of positions")
        count = index.shape[0]
    for part in (*_INDEX[kind], "old", "new"):
        info = tensors[f"{name}.{part}"]
        if info.begin % ITEM_SIZES[info.dtype]:
            raise refuse("is not aligned to its dtype")
    wanted = payload_shape(kind, axis, tuple(shape), count)
    for side in ("old", "new"):
        info = tensors[f"{name}.{side}"]
        if info.dtype != dtype or info.shape != wanted:
            raise refuse(f"has {side} values of the wrong shape or dtype")
    _check_optional(entry, refuse)
    return sorted(shown(key) for key in set(entry) - _ENTRY_KEYS)


def _check_optional(entry: dict[str, Any], refuse: Any) -> None:
    digest, tied = entry.get("sha256"), entry.get("tied", [])
    if digest is not None and not (
        isinstance(digest, str) and len(digest) == 64 and set(digest) <= set("0123456789abcdef")
    ):
        raise refuse("has a base hash that is no SHA-256")
    if not isinstance(tied, list) or len(tied) > 8:
        raise refuse("has no valid list of tied names")
    for alias in tied:
        if not isinstance(alias, str) or not 0 < len(alias) <= _LONGEST_NAME:
            raise refuse("has a tied name that no checkpoint has")
        if not alias.isprintable():
            raise refuse("has a tied name that no checkpoint has")


def write_patch(path: Path, tensors: Mapping[str, TensorEdit], metadata: dict[str, Any]) -> None:
    """Write a patch file atomically; equal content gives equal bytes.

    The layout is the one safetensors itself writes (larger elements first, then dtype, then
    name), streamed so that a patch of any size needs no second copy in memory.

    Raises:
        BiasEditError: the metadata is not plain JSON.
    """
    path = Path(path)
    described, parts = {}, []
    for name in sorted(tensors):
        edit = tensors[name]
        described[name] = edit.describe()
        if edit.positions is not None:
            parts.append((f"{name}.{edit.kind}", "I64", edit.positions.shape, name))
        parts += [
            (f"{name}.{side}", edit.dtype, edit.old_bits.shape, name) for side in ("old", "new")
        ]
    content = {**metadata, "format": FORMAT, "version": VERSION, "tensors": described}
    try:
        header: dict[str, Any] = {"__metadata__": {KEY: canonical_json(content)}}
        canonical_json(content).encode()
    except (TypeError, ValueError) as error:
        raise BiasEditError(f"the patch's metadata is not plain JSON: {error}") from error
    parts.sort(key=lambda part: (-_ORDER[part[1]], part[0]))
    offset = 0
    for key, dtype, shape, _ in parts:
        end = offset + math.prod(shape) * ITEM_SIZES[dtype]
        header[key] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    raw = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    raw += b" " * (-len(raw) % 8)
    chunks = (piece for key, _, _, name in parts for piece in _payload(tensors[name], key))
    with replaced(path) as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        for chunk in chunks:
            file.write(np.ascontiguousarray(chunk).view(np.uint8).data)


# safetensors' order of dtypes, the largest first.
_ORDER = {name: rank for rank, name in enumerate(("F16", "BF16", "F32", "F64", "I64"))}


def _payload(edit: TensorEdit, key: str) -> Iterator[np.ndarray]:
    part = key[len(edit.name) + 1 :]
    array = {"old": edit.old_bits, "new": edit.new_bits}.get(part, edit.positions)
    assert array is not None
    return edit.pieces(array)
