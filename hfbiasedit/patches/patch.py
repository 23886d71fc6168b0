"""`Patch`: an edit of a model as a value, made, saved, loaded, compared and combined."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from hfbiasedit.errors import BiasEditError
from hfbiasedit.files import canonical_json
from hfbiasedit.patches.container import FORMAT, VERSION, LazyTensors, read_patch, write_patch
from hfbiasedit.patches.edits import TensorEdit

if TYPE_CHECKING:
    from hfbiasedit.patches.building import Change


class Patch:
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
        """Take edits as they are; `Patch.load`, `from_changes` and the like check them."""
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
    def load(cls, path: str | Path) -> Patch:
        """Open a patch file; values are read and checked tensor by tensor as they are needed.

        Raises:
            BiasEditError: missing, damaged, not a patch, or of an unknown version.
        """
        tensors, metadata, warnings = read_patch(Path(path))
        return cls(tensors, metadata, tuple(warnings))

    @classmethod
    def from_changes(
        cls,
        model: Any,
        changes: Mapping[str, Change],
        *,
        checkpoint: str | Path | None = None,
        **metadata: Any,
    ) -> Patch:
        """A patch from changes to runtime parameters of a model that still has its old values.

        Args:
            model: a transformers model or a `LoadedModel`.
            changes: runtime parameter name -> `Change`, in the runtime layout.
            checkpoint: directory whose tensor names count; a `LoadedModel` brings its own.
            metadata: entries of the file's metadata; None values are left out.

        Raises:
            BiasEditError: a name, shape, dtype or index does not fit, or no bit changes.
        """
        from hfbiasedit.patches.building import edits_from_changes

        return cls(edits_from_changes(model, changes, checkpoint), _given(metadata))

    @classmethod
    def from_models(cls, base: Any, edited: Any, **metadata: Any) -> Patch:
        """The difference between two models of the same architecture and dtype.

        Raises:
            BiasEditError: parameters or dtypes differ in kind, or no bit changes.
        """
        from hfbiasedit.patches.building import edits_from_models

        return cls(edits_from_models(base, edited), _given(metadata))

    @classmethod
    def from_checkpoints(cls, base: str | Path, edited: str | Path, **metadata: Any) -> Patch:
        """The difference between two checkpoint directories, read tensor by tensor.

        Raises:
            BiasEditError: tensors, shapes or dtypes differ, or no bit changes.
        """
        from hfbiasedit.patches.difference import edits_from_checkpoints

        return cls(edits_from_checkpoints(Path(base), Path(edited)), _given(metadata))

    def save(self, path: str | Path) -> None:
        """Write the patch file; the same patch with the same metadata gives the same bytes."""
        write_patch(Path(path), self.tensors, self._metadata)

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
        return isinstance(other, Patch) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Patch({len(self.tensors)} tensors, {self.weights} weights)"

    @property
    def weights(self) -> int:
        """Weights the patch holds values for (of edited rows all, changed or not)."""
        if isinstance(self._tensors, LazyTensors):
            return sum(self._tensors.describe(name)["weights"] for name in self._tensors)
        return sum(edit.weights for edit in self._tensors.values())

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

    def summary(self, parameters: int | None = None) -> dict[str, Any]:
        """Counts for people and JSON; `parameters` of the model give the share of it.

        See `summarise` for the keys.
        """
        from hfbiasedit.patches.overview import summarise

        return summarise(self, parameters)

    def scale(self, factor: float) -> Patch:
        """The patch with new values old + factor * (new - old), rounded to the dtype.

        Raises:
            BiasEditError: the factor is not finite, or nothing changes, or a value overflows.
        """
        from hfbiasedit.patches.combination import scaled

        return scaled(self, factor)

    def reverse(self) -> Patch:
        """The patch that takes this one back: old and new exchanged."""
        from hfbiasedit.patches.combination import reversed_patch

        return reversed_patch(self)

    def combine(self, *others: Patch) -> Patch:
        """One patch that does what all do, when they agree wherever they meet.

        Raises:
            BiasEditError: they want different values for a weight; the tensors are named.
        """
        from hfbiasedit.patches.combination import combined

        return combined([self, *others])

    def apply_(self, model: Any) -> None:
        """Write the new values into a loaded model, in place, after checking all old ones.

        Raises:
            BiasEditError: the model is not the base of this patch; nothing was changed.
        """
        from hfbiasedit.patches.memory import write_values

        write_values(model, self)

    def revert_(self, model: Any) -> None:
        """Write the old values back into a patched model, after checking all new ones.

        Raises:
            BiasEditError: the patch is not applied to this model; nothing was changed.
        """
        from hfbiasedit.patches.memory import write_values

        write_values(model, self, reverse=True)

    @contextlib.contextmanager
    def applied(self, model: Any) -> Iterator[Any]:
        """`with patch.applied(model):` has the patch applied inside and taken back after."""
        self.apply_(model)
        try:
            yield model
        finally:
            self.revert_(model)


def _given(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metadata.items() if value is not None}
