"""The journal of a change in place: a kill at any moment can be finished or undone.

Before the first byte of a checkpoint changes, the whole patch (both sides of every weight) is
written beside the shards and flushed. While that file exists the change is unfinished; every
edited byte is then old or new, so writing either side over all of them ends in a known state.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hfbiasedit.checkpoints.marks import LOCK, NAME, is_stray, pending
from hfbiasedit.checkpoints.storage import Checkpoint
from hfbiasedit.console import tracked
from hfbiasedit.errors import BiasEditError
from hfbiasedit.files import sync_directory
from hfbiasedit.locking import held
from hfbiasedit.patches.rewriting import Written, is_between, write
from hfbiasedit.patches.targets import Shards, Target, states, targets
from hfbiasedit.patches.value import PatchValue

_KEY = "journal"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes of this program from changing the directory at the same time.

    Raises:
        BiasEditError: another one is at it.
    """
    with held(path / LOCK, f"another process is changing {path}; wait for it"):
        remove_strays(path)
        yield


def remove_strays(path: Path) -> None:
    """Remove what killed changes left; only while the directory is locked."""
    for file in path.iterdir():
        if is_stray(file.name):
            file.unlink()


def change(path: Path, patch: PatchValue, where: list[Target], *, reverse: bool) -> Written:
    """Write one side of a patch into the shards of `path` under a journal.

    The caller has checked that the other side is there.

    Raises:
        BiasEditError: a weight does not read back as written; the journal stays.
    """
    record: dict[str, Any] = {_KEY: {"reverse": reverse}}
    type(patch)(patch.tensors, record).save(path / NAME)
    return _finish(path, patch, where, new=not reverse)


def recover(path: Path, *, undo: bool = False) -> str:
    """Finish an interrupted change in place, or undo it; returns `finished` or `undone`.

    Raises:
        BiasEditError: there is nothing to recover, or the weights are neither old nor new.
    """
    path = Path(path)
    if not path.is_dir():
        raise BiasEditError(f"{path} is not a directory; give the checkpoint to recover")
    if not pending(path):
        raise BiasEditError(f"{path} has no interrupted change; nothing to recover")
    with locked(path):
        patch = PatchValue.load(path / NAME)
        record = patch.metadata.get(_KEY)
        if not isinstance(record, dict) or not isinstance(record.get("reverse"), bool):
            raise BiasEditError(f"{path / NAME} is no journal of this program")
        where = targets(Checkpoint.open(path), patch)
        with Shards(path) as shards:
            for target in where:
                edit = patch.tensors[target.edit]
                if not is_between(shards[target.file], target.info, edit):
                    raise BiasEditError(
                        f"{target.name} was changed by something else since; "
                        "restore the checkpoint from its source"
                    )
        _finish(path, patch, where, new=record["reverse"] is undo)
    return "undone" if undo else "finished"


def write_side(shards: Shards, patch: PatchValue, where: list[Target], *, new: bool) -> Written:
    """Write one side of a patch into open shards; a weight that is stored twice counts once."""
    written, weights = 0, {}
    for target in tracked(where, "writing tensors"):
        done = write(shards[target.file], target.info, patch.tensors[target.edit], new=new)
        written += done.bytes
        weights[target.edit] = done.weights
        patch.release()
    return Written(written, sum(weights.values()))


def _finish(path: Path, patch: PatchValue, where: list[Target], *, new: bool) -> Written:
    with Shards(path, write=True) as shards:
        written = write_side(shards, patch, where, new=new)
        shards.sync()
    verify_written(path, patch, new=new)
    os.unlink(path / NAME)
    sync_directory(path)
    return written


def verify_written(path: Path, patch: PatchValue, *, new: bool) -> None:
    """Read every edited weight back: names are looked up anew, as a loader will.

    Raises:
        BiasEditError: one is not what was written (a failing disk).
    """
    for target, state in states(path, patch, targets(Checkpoint.open(path), patch)):
        if not (state.new if new else state.old):
            raise BiasEditError(f"{target.label} does not read back as written; check the disk")
