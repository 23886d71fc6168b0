"""A patch as a plain value: edits by stored name, metadata, one file, one digest.

Everything that works on patches takes this; `Patch` is the same value with all of that as methods.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from hfbiasedit.errors import BiasEditError
from hfbiasedit.files import canonical_json
from hfbiasedit.patches.container import FORMAT, VERSION, LazyTensors, read_patch, write_patch
from hfbiasedit.patches.edits import TensorEdit

_SHOWN = ("base_model", "base_revision", "granularity", "created_by")

Value = TypeVar("Value", bound="PatchValue")


class PatchValue:
    """Old and new values of every edited weight, by the names tensors have on disk.

    Two patches are equal when they do the same: same tensors, positions, old and new bits.
    Metadata (who made it, scores) does not count. Patches are immutable.
    """

    def __init__(
        self,
        tensors: Mapping[str, TensorEdit],
        metadata: Mapping[str, Any] | None = None,
        warnings: tuple[str, ...] = (),
    ) -> None:
        """Take edits as they are; `load` and the functions that make patches check them."""
        if not tensors:
            raise BiasEditError("a patch must change at least one weight")
        lazy = isinstance(tensors, LazyTensors)
        self._tensors = tensors if lazy else MappingProxyType(dict(tensors))
        self._metadata = dict(metadata or {})
        self.warnings = warnings

    @property
    def tensors(self) -> Mapping[str, TensorEdit]:
        """Edits by stored tensor name; those of a loaded patch are read on access."""
        return self._tensors

    @property
    def metadata(self) -> dict[str, Any]:
        """`base_model`, `base_revision`, `granularity`, `created_by`, `edit`, and unknown keys."""
        return dict(self._metadata)

    @classmethod
    def load(cls: type[Value], path: str | Path) -> Value:
        """Open a patch file; values are read and checked tensor by tensor as they are needed.

        Raises:
            BiasEditError: missing, damaged, not a patch, or of an unknown version.
        """
        tensors, metadata, warnings = read_patch(Path(path))
        return cls(tensors, metadata, tuple(warnings))

    def save(self, path: str | Path) -> None:
        """Write the patch file; the same patch with the same metadata gives the same bytes."""
        write_patch(Path(path), self.tensors, self._metadata)

    def described(self: Value, **metadata: Any) -> Value:
        """The same patch with some metadata replaced; its digest, which is the same, is kept."""
        other = type(self)(self.tensors, self._metadata | metadata, self.warnings)
        if "digest" in vars(self):
            vars(other)["digest"] = self.digest
        return other

    @cached_property
    def digest(self) -> str:
        """SHA-256 over what the patch does: every tensor's description, positions and values.

        Metadata and base hashes do not enter, nor does the layout of the file.
        """
        digest = hashlib.sha256(f"{FORMAT}/{VERSION}\n".encode())
        for name in sorted(self.tensors):
            edit = self.tensors[name]
            described = edit.describe() | {"name": name}
            for key in ("sha256", *edit.extra):
                described.pop(key, None)
            digest.update(canonical_json(described).encode() + b"\n")
            for array in (edit.positions, edit.old_bits, edit.new_bits):
                if array is not None:
                    for piece in edit.pieces(array):
                        digest.update(np.ascontiguousarray(piece).view(np.uint8).data)
        return digest.hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PatchValue) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Patch({len(self.tensors)} tensors, {self.weights} values)"

    def _repr_html_(self) -> str:
        from hfbiasedit.documents.notebooks import html_table

        known = {key: self._metadata.get(key) for key in _SHOWN}
        rows = [(key.replace("_", " "), str(value)) for key, value in known.items() if value]
        title = f"Patch: {self.changed:,} edited weights in {len(self.tensors)} tensors"
        return html_table(title, ("", ""), [*rows, ("digest", self.digest)])

    @property
    def weights(self) -> int:
        """Weights the patch holds values for (of edited rows all, changed or not)."""
        if isinstance(self._tensors, LazyTensors):
            return sum(self._tensors.describe(name)["weights"] for name in self._tensors)
        return sum(edit.weights for edit in self._tensors.values())

    @cached_property
    def changed(self) -> int:
        """Weights whose stored bits differ between both sides: what is called edited everywhere.

        Reads all values.
        """
        changed = 0
        for name in self.tensors:
            changed += self.tensors[name].changed
            self.release()
        return changed

    def check(self) -> None:
        """Read every tensor and check positions and values.

        Raises:
            BiasEditError: a position or value is not acceptable.
        """
        for name in self.tensors:
            self.tensors[name].check()
            self.release()

    def release(self) -> None:
        """Give back memory that reading a loaded patch took."""
        if isinstance(self._tensors, LazyTensors):
            self._tensors.release()
