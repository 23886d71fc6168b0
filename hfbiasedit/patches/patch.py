"""`Patch`: an edit of a model as a value, made, saved, loaded, compared and combined."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfbiasedit.patches.value import PatchValue

if TYPE_CHECKING:
    from hfbiasedit.patches.building import Change


class Patch(PatchValue):
    """A patch with everything that can be done with it; see `PatchValue` for what it holds."""

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
            BiasEditError: parameters or dtypes differ in kind, or a buffer that is saved or a
                parameter of one byte (quantised) in value, or no bit changes.
        """
        from hfbiasedit.patches.pairs import edits_from_models

        return cls(edits_from_models(base, edited), _given(metadata))

    @classmethod
    def from_checkpoints(cls, base: str | Path, edited: str | Path, **metadata: Any) -> Patch:
        """The difference between two checkpoint directories, read tensor by tensor.

        Raises:
            BiasEditError: tensors, shapes or dtypes differ, or no bit changes.
        """
        from hfbiasedit.patches.difference import edits_from_checkpoints

        return cls(edits_from_checkpoints(Path(base), Path(edited)), _given(metadata))

    def summary(self, parameters: int | None = None) -> dict[str, Any]:
        """Counts for people and JSON; `parameters` of the model give the share of it.

        See `summarise` for the keys.
        """
        from hfbiasedit.patches.contents import summarise

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
