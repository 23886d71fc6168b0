"""Where each edit of a patch goes in a checkpoint, and whether it fits there."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hfbiasedit.checkpoints.header import TensorInfo, shown
from hfbiasedit.checkpoints.storage import Checkpoint
from hfbiasedit.errors import BiasEditError, listed
from hfbiasedit.patches.edits import TensorEdit
from hfbiasedit.patches.rewriting import State, state
from hfbiasedit.patches.twins import refuse_untying
from hfbiasedit.patches.value import PatchValue


@dataclass(frozen=True)
class Target:
    """One place that an edit of the patch goes to: a stored tensor, or a copy of it.

    `alone` is false where the tensor stands in several shards.
    """

    edit: str
    name: str
    file: str
    info: TensorInfo
    alone: bool = True

    @property
    def label(self) -> str:
        """The tensor for messages, with its shard where it stands in several."""
        return self.name if self.alone else f"{self.name} in {self.file}"


def targets(checkpoint: Checkpoint, patch: PatchValue) -> list[Target]:
    """Find every edited tensor, tied copies and those in other shards included, in file order.

    Raises:
        BiasEditError: tensors are missing, or of another shape or dtype.
    """
    found: list[Target] = []
    missing = []
    rename = _prefix_change(checkpoint, patch)
    for name in patch.tensors:
        edit = patch.tensors[name]
        places = [
            Target(name, stored, place.file, place.info, stored not in checkpoint.copies)
            for stored in dict.fromkeys(map(rename, (name, *edit.tied)))
            for place in checkpoint.places(stored)
        ]
        # A twin that the patch edits by its own name is not patched twice.
        places = [t for t in places if t.name == rename(name) or t.name not in patch.tensors]
        if not places:
            missing.append(name)
        for target in places:
            _check_fit(target, edit)
        found += places
    if missing:
        where = listed([shown(name) for name in missing], 5)
        raise BiasEditError(f"the checkpoint has no tensor {where}; the patch is for another model")
    return sorted(found, key=lambda target: (target.file, target.info.begin))


def _prefix_change(checkpoint: Checkpoint, patch: PatchValue) -> Callable[[str], str]:
    """How the patch's names read in this checkpoint.

    The same weights are stored as `transformer.h.0...` or `h.0...`, depending on the class that
    saved them. The first component is dropped or added when no name fits without and all do with.
    """
    names = list(patch.tensors)
    if any(name in checkpoint.tensors for name in names):
        return lambda name: name
    firsts = {name.partition(".")[0] for name in names}
    if len(firsts) == 1 and all(name.partition(".")[2] in checkpoint.tensors for name in names):
        return lambda name: name.removeprefix(next(iter(firsts)) + ".")
    for first in dict.fromkeys(name.partition(".")[0] for name in checkpoint.tensors):
        if all(f"{first}.{name}" in checkpoint.tensors for name in names):
            return functools.partial("{}.{}".format, first)
    return lambda name: name


def _check_fit(target: Target, edit: TensorEdit) -> None:
    if target.info.shape != edit.shape:
        raise BiasEditError(
            f"{target.label} has shape {list(target.info.shape)} here and {list(edit.shape)} "
            "in the patch; the patch is for another model"
        )
    if target.info.dtype != edit.dtype:
        raise BiasEditError(
            f"{target.label} is {target.info.dtype} here and {edit.dtype} in the patch; "
            "use the checkpoint in the dtype that the patch was made from"
        )


def require(checkpoint: Checkpoint, patch: PatchValue, where: list[Target], *, new: bool) -> None:
    """Check that all edited weights hold the new (or the old) values, and that none is left tied.

    Raises:
        BiasEditError: some do not, and are named; or old values would be changed in one of two
            copies that are tied.
    """
    wrong, right = [], set()
    for target, found in states(checkpoint.path, patch, where):
        if found.new if new else found.old:
            right.add(target.name)
        else:
            wrong.append(target)
    torn = [target.label for target in wrong if target.name in right]
    if torn:
        raise BiasEditError(
            f"{listed(torn, 3)} differs from the same tensor in another shard, nothing was "
            "changed; save the checkpoint anew with save_pretrained"
        )
    if wrong:
        raise mismatch([target.label for target in wrong], new)
    if not new:
        refuse_untying(checkpoint, {target.name for target in where})


def mismatch(names: list[str], reverse: bool) -> BiasEditError:
    """The refusal when values are not those the patch expects; names the tensors."""
    where = listed(names, 5)
    if reverse:
        return BiasEditError(f"the patch is not applied here, nothing was changed: {where} differ")
    return BiasEditError(
        f"the patch does not fit (another base, or applied already), nothing was changed: "
        f"{where} differ"
    )


class Shards:
    """Open files of a directory by shard name; close with the `with` block."""

    def __init__(self, path: Path, *, write: bool = False) -> None:
        self._path, self._flags = path, os.O_RDWR if write else os.O_RDONLY
        self._handles: dict[str, int] = {}

    def __enter__(self) -> Shards:
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles.values():
            with contextlib.suppress(OSError):
                os.close(handle)
        self._handles.clear()

    def __getitem__(self, file: str) -> int:
        if file not in self._handles:
            flags = self._flags | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
            self._handles[file] = os.open(self._path / file, flags)
        return self._handles[file]

    def sync(self) -> None:
        """Flush everything written to disk."""
        for handle in self._handles.values():
            os.fsync(handle)


def states(path: Path, patch: PatchValue, where: list[Target]) -> Iterator[tuple[Target, State]]:
    """Compare each target's bytes with both sides of its edit."""
    with Shards(path) as shards:
        for target in where:
            edit = patch.tensors[target.edit]
            yield target, state(shards[target.file], target.info, edit)
            patch.release()
