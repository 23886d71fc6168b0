"""What becomes of the files of a checkpoint when a patch is applied: patched, shared, left out."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from hfbiasedit.checkpoints import marks
from hfbiasedit.checkpoints.storage import INDEX, Checkpoint, is_weights
from hfbiasedit.checkpoints.transfer import copy_private, share
from hfbiasedit.console import progress
from hfbiasedit.errors import BiasEditError
from hfbiasedit.hub.layout import ADAPTER

_SKIPPED = {".git", ".cache", marks.NAME, marks.LOCK}


@dataclass(frozen=True)
class Carried:
    """What became of the files of a checkpoint, by name, and what a reader must know of them."""

    files: Mapping[str, str]
    warnings: tuple[str, ...] = ()

    def __or__(self, other: Carried) -> Carried:
        return Carried({**self.files, **other.files}, (*self.warnings, *other.warnings))


def carry(
    source: Path,
    target: Path,
    checkpoint: Checkpoint,
    touched: set[str],
    copy: bool,
) -> Carried:
    """Fill the new directory: shards copied or shared, everything else copied verbatim."""

    def one(file: str) -> str:
        if file not in touched:
            return share(source / file, target / file, copy=copy)
        how = copy_private((source / file).resolve(), target / file)
        _make_writable(target / file)
        return f"{how}, patched"

    # Copying is the kernel's work; two or more files at a time keep the disk and memory busy.
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        with progress("copying shards", len(checkpoint.files)) as bar:
            files = {}
            for file, how in zip(checkpoint.files, pool.map(one, checkpoint.files), strict=True):
                files[file] = how
                bar.advance()
    if INDEX in checkpoint.own:
        files[INDEX] = copy_private((source / INDEX).resolve(), target / INDEX)
    return Carried(files) | carry_rest(source, target, checkpoint.own)


def carry_rest(source: Path, target: Path, done: Collection[str], prefix: str = "") -> Carried:
    """Copy tokenizer, configuration and other files; leave out weights in other formats."""
    carried = Carried({})
    for entry in sorted(source.iterdir()):
        name = f"{prefix}{entry.name}"
        if name in done or entry.name in _SKIPPED or marks.is_stray(entry.name):
            continue
        if entry.is_symlink() and entry.is_dir():
            carried |= Carried({}, (f"{name} is a link to a directory and was left out",))
        elif entry.is_dir():
            (target / entry.name).mkdir()
            carried |= carry_rest(entry, target / entry.name, (), f"{name}/")
        elif not entry.is_file():
            carried |= Carried({}, (f"{name} is no file and was left out",))
        elif is_weights(entry.name):
            said = f"{name} was left out: it may hold the unedited weights"
            carried |= Carried({name: "left out"}, (said,))
        elif name == ADAPTER:
            said = f"{name} was left out: an adapter would be loaded onto the weights"
            carried |= Carried({name: "left out"}, (said,))
        else:
            carried |= Carried({name: copy_private(entry.resolve(), target / entry.name)})
    return carried


def carried_names(source: Path, prefix: str = "") -> set[str]:
    """Names of the files besides weights that `carry_rest` takes along, with their folders."""
    names = set()
    for entry in source.iterdir():
        if entry.name in _SKIPPED or marks.is_stray(entry.name) or is_weights(entry.name):
            continue
        if entry.is_file():
            names.add(f"{prefix}{entry.name}")
        elif entry.is_dir() and not entry.is_symlink():
            names |= carried_names(entry, f"{prefix}{entry.name}/")
    return names


def left_out(path: Path, checkpoint: Checkpoint) -> list[str]:
    """Files that may hold weights in another form, which a change in place cannot follow."""
    names = (file.name for file in path.iterdir() if is_weights(file.name))
    return sorted(name for name in names if name not in checkpoint.own)


def _make_writable(file: Path) -> None:
    mode = file.stat().st_mode
    file.chmod(mode | 0o200)


def make_private(file: Path) -> None:
    """Give a shard that shares its inode with another directory an inode of its own."""
    if file.is_symlink():
        raise BiasEditError(f"{file} is a link to another file; give an output directory")
    if file.stat().st_nlink < 2:
        return
    own = file.with_name(f".{file.name}{marks.STRAY}")
    copy_private(file, own)
    own.chmod(file.stat().st_mode & 0o7777)
    handle = os.open(own, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(own, file)
