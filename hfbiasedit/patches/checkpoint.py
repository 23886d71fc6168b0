"""Patches on checkpoint directories: apply and take back without loading the model."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfbiasedit.checkpoints import marks
from hfbiasedit.checkpoints.storage import Checkpoint, has_only_bin
from hfbiasedit.checkpoints.transfer import in_hub_cache
from hfbiasedit.console import progress
from hfbiasedit.errors import BiasEditError, UsageError, listed
from hfbiasedit.outputs import output_directory
from hfbiasedit.patches import journal
from hfbiasedit.patches.carrying import Carried, carry, carry_rest, left_out, make_private
from hfbiasedit.patches.patch import Patch
from hfbiasedit.patches.placing import check_apart, check_place, check_replaced
from hfbiasedit.patches.rewriting import Written
from hfbiasedit.patches.targets import Shards, Target, require, targets
from hfbiasedit.resources import in_package


@dataclass(frozen=True)
class ApplyReport:
    """What applying a patch to a checkpoint did.

    `changed` are the weights whose stored bits it changed, `weights` those that it wrote.
    """

    path: Path
    reverse: bool
    in_place: bool
    patch_digest: str
    tensors: int
    weights: int
    changed: int
    bytes_written: int
    files: Mapping[str, str]
    warnings: tuple[str, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `files` maps a file name to what became of it."""
        return {
            "path": str(self.path),
            "direction": "revert" if self.reverse else "apply",
            "in_place": self.in_place,
            "patch_digest": self.patch_digest,
            "tensors": self.tensors,
            "weights": self.weights,
            "changed": self.changed,
            "bytes_written": self.bytes_written,
            "files": dict(self.files),
            "warnings": list(self.warnings),
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class _Done:
    """What was written, the number of tensors, and what became of the files."""

    written: Written
    tensors: int
    carried: Carried


def apply_patch(
    model_dir: str | Path,
    patch: Patch | str | Path,
    out: str | Path | None = None,
    *,
    in_place: bool = False,
    scale: float = 1.0,
    reverse: bool = False,
    copy: bool = False,
    replace: bool = False,
) -> ApplyReport:
    """Apply a patch to a checkpoint directory, or take it back (`reverse`).

    Either `out` names a new directory, which appears when it is complete, or `in_place` changes
    the shards themselves under a journal. Every edited weight is compared with the patch before
    anything is written and read back afterwards, under the name and in the shard that a loader
    takes; all other bytes stay as they are.

    Args:
        scale: write old + scale * (new - old), rounded; taking it back needs the same scale.
        copy: copy unchanged shards instead of sharing their blocks or hard-linking them.
        replace: let `out` replace an earlier checkpoint, once it is complete.

    Raises:
        UsageError: neither or both of `out` and `in_place`, or base or patch lie where `out` is.
        BiasEditError: the patch does not fit or is damaged, the checkpoint is quantised or
            unreadable, or the disk is full. Nothing was changed then.
    """
    started = time.perf_counter()
    source = Path(model_dir)
    if (out is None) != in_place:
        raise UsageError("say where the result goes: either an output directory or in place")
    marks.refuse_pending(source)
    if out is not None:
        check_apart(Path(out), source, None if isinstance(patch, Patch) else Path(patch))
        check_place(Path(out), replace=replace)
    if not isinstance(patch, Patch):
        patch = Patch.load(patch)
    digest = patch.digest
    effective = patch.scale(scale)
    try:
        if out is None:
            done = _in_place(source, effective, reverse)
        else:
            done = _to_directory(source, Path(out), effective, reverse, copy, replace)
    except OSError as error:
        raise _explained(error, source, out) from error
    return ApplyReport(
        path=Path(out) if out is not None else source,
        reverse=reverse,
        in_place=in_place,
        patch_digest=digest,
        tensors=done.tensors,
        weights=effective.weights,
        changed=done.written.weights,
        bytes_written=done.written.bytes,
        files=done.carried.files,
        warnings=(*patch.warnings, *done.carried.warnings),
        seconds=time.perf_counter() - started,
    )


def _explained(error: OSError, source: Path, out: str | Path | None) -> BiasEditError:
    where = error.filename or (source if out is None else out)
    reason = f"{error.strerror or error} ({where})"
    if out is None and marks.pending(source):
        return BiasEditError(f"{reason}; the change is unfinished, {marks.ADVICE} {source}")
    return BiasEditError(f"{reason}; nothing was changed")


def _in_place(path: Path, patch: Patch, reverse: bool) -> _Done:
    if in_hub_cache(path):
        raise BiasEditError(
            f"{path} is in the Hub cache, whose revisions share files; give an output directory"
        )
    if in_package(path) and not reverse:  # taking back mends what an earlier version let happen
        raise BiasEditError(
            f"{path} came with the package and stays as it is; give an output directory"
        )
    if has_only_bin(path):
        raise BiasEditError(f"{path} has only .bin weights; give an output directory to convert to")
    with journal.locked(path):
        marks.refuse_pending(path)  # another process may have been killed meanwhile
        checkpoint = Checkpoint.open(path)
        where = targets(checkpoint, patch)
        require(checkpoint, patch, where, new=reverse)
        touched = sorted({target.file for target in where})
        for file in touched:
            make_private(path / file)
        written = journal.change(path, patch, where, reverse=reverse)
    stale = left_out(path, checkpoint)
    warnings = (f"{file} may still hold the unedited weights; remove it" for file in stale)
    return _Done(written, len(where), Carried(dict.fromkeys(touched, "patched"), tuple(warnings)))


def _to_directory(
    source: Path,
    out: Path,
    patch: Patch,
    reverse: bool,
    copy: bool,
    replace: bool,
) -> _Done:
    if has_only_bin(source):
        return _converted(source, out, patch, reverse, replace)
    checkpoint = Checkpoint.open(source)
    check_replaced(out, source, checkpoint.own)
    where = targets(checkpoint, patch)
    with progress("comparing the weights with the patch", None):
        require(checkpoint, patch, where, new=reverse)
    touched = {target.file for target in where}
    with output_directory(out, replace=replace) as temporary:
        carried = carry(source, temporary, checkpoint, touched, copy)
        written = _write(temporary, patch, where, new=not reverse)
    return _Done(written, len(where), carried)


def _converted(source: Path, out: Path, patch: Patch, reverse: bool, replace: bool) -> _Done:
    """The same for a checkpoint of pickled weights: converted first, then changed."""
    from hfbiasedit.checkpoints.conversion import convert_bin

    check_replaced(out, source)
    with output_directory(out, replace=replace) as temporary:
        done = convert_bin(source, temporary)
        carried = Carried(dict.fromkeys(done.written, "converted"))
        carried |= carry_rest(source, temporary, done.read)
        checkpoint = Checkpoint.open(temporary)
        where = targets(checkpoint, patch)
        require(checkpoint, patch, where, new=reverse)
        written = _write(temporary, patch, where, new=not reverse)
    said = ["the .bin weights were converted to safetensors"]
    if done.left_out:
        said.append(f"{listed(done.left_out, 3)} of the .bin weights is no tensor and was left out")
    return _Done(written, len(where), carried | Carried({}, tuple(said)))


def _write(path: Path, patch: Patch, where: list[Target], *, new: bool) -> Written:
    with Shards(path, write=True) as shards:
        written = journal.write_side(shards, patch, where, new=new)
    with progress("reading back what was written", None):
        journal.verify_written(path, patch, new=new)
    return written
