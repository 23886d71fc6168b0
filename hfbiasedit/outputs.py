"""Where results go: asked before the work, filled under another name, kept whatever happens.

A directory is filled beside its destination and renamed. One that must stay where it is (a mount
point, one that a shell is in, one in a folder that cannot be written to) is filled from within.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from hfbiasedit import strays
from hfbiasedit.console import message
from hfbiasedit.errors import BiasEditError
from hfbiasedit.files import sync_directory, umask


def contents_of(path: Path) -> set[str]:
    """Names in a directory, but for what a file system puts there and what a killed run left."""
    names = {entry.name for entry in path.iterdir()} - {"lost+found"}
    return {name for name in names if not strays.is_temporary(name, path)}


def probe_directory(path: str | Path) -> None:
    """Refuse, before any work is done, a directory that could not be written in the end.

    Nothing is left behind, nor what a killed run has left there. What the directory holds is for
    the caller to judge.

    Raises:
        BiasEditError: `path` is a file, or nothing can be written there.
    """
    path = _resolved(path)
    clear_strays(path)
    try:
        for folder in _stages(path):
            if _writable(existing(folder)) is None:
                return
        folder = existing(_stages(path)[0])
        raise BiasEditError(f"cannot write to {folder}: {_writable(folder)}")
    except OSError as error:
        raise BiasEditError(f"cannot write {path}: {error.strerror or error}") from error


def probe_new_directory(path: str | Path, option: str | None = None) -> None:
    """`probe_directory` for a command that replaces nothing: what is there must be empty.

    `option` is the one with which the command would replace it.
    """
    probe_directory(path)
    if Path(path).is_dir() and contents_of(Path(path)):
        raise BiasEditError(_in_the_way(path, option))


def _in_the_way(path: str | Path, option: str | None) -> str:
    instead = f", or replace what it holds with {option}" if option else ""
    return f"{path} exists and is not empty; choose another directory{instead}"


def probe_file(path: str | Path, *, replace: bool = True) -> None:
    """Refuse a file that could not be written in the end.

    Raises:
        BiasEditError: `path` is a directory, is there and may not be replaced, or nothing can be
            written there.
    """
    path = Path(path)
    if path.is_dir():
        raise BiasEditError(f"{path} is a directory; name a file")
    if path.exists() and not replace:
        raise BiasEditError(f"{path} exists; replace it with --overwrite or name another file")
    folder = existing(path.absolute().parent)
    if reason := _writable(folder):
        raise BiasEditError(f"cannot write to {folder}: {reason}")


def probe_room(folder: Path, files: Sequence[Path], what: str) -> None:
    """Refuse a folder without room for copies of files, before the work that ends with them.

    Raises:
        BiasEditError: there is less room than they need.
    """
    place = existing(folder.absolute())
    needed = sum(file.stat().st_size for file in files)
    free = shutil.disk_usage(place).free
    if free < needed:
        raise BiasEditError(
            f"{place} has room for {free / 1e9:.1f} GB, and {what} needs {needed / 1e9:.1f} GB; "
            "free some space or choose another directory"
        )


@contextlib.contextmanager
def output_directory(path: Path, *, replace: bool = False, keep: bool = False) -> Iterator[Path]:
    """Yield a temporary directory that becomes `path` when the block ends without an error.

    An existing empty directory is always replaced; one with content only when `replace`
    is true, and then it stays in place until the new one is complete. A link is written where it
    points. When the complete result cannot be put there it stays where the message says.

    Args:
        path: the directory.
        replace: whether what it holds may go.
        keep: what is put in took long to make: where nothing can be written any more, it goes to
            the system's directory for temporary files instead of being refused.

    Raises:
        BiasEditError: `path` exists and may not be replaced, its parent cannot be written to, or
            the result is somewhere else.
    """
    path = _resolved(path)
    clear_strays(path)
    if path.is_dir() and contents_of(path) and not replace:
        raise BiasEditError(_in_the_way(path, None))
    temporary, reason = _staged(path, keep)
    with strays.held(temporary):
        yield from _filled(temporary, path, reason)
    sync_directory(path.parent)


def clear_strays(path: Path) -> None:
    """Finish or remove what killed runs left of a target, and say so."""
    for sentence in strays.clear(path):
        message(sentence)


def _filled(temporary: Path, path: Path, reason: str | None) -> Iterator[Path]:
    """Give out the temporary directory and put it in place, or where the message says."""
    try:
        yield temporary
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk is this one
        raise
    if reason is None:
        try:
            _finish(temporary, path)
        except OSError as error:
            reason = error.strerror or str(error)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    if reason is not None:
        kept = _kept(temporary, path)
        raise BiasEditError(f"cannot write {path}: {reason}; the complete result is in {kept}")


def _resolved(path: str | Path) -> Path:
    """The directory that a path or a link means; raises BiasEditError for a file."""
    found = Path(os.path.realpath(path))
    if found.exists() and not found.is_dir():
        raise BiasEditError(f"{path} is a file; give a directory that does not exist yet")
    return found


def _stages(path: Path) -> list[Path]:
    """Folders in which the new directory may be filled, best first."""
    if not path.is_dir():
        return [path.parent]
    return [path] if _stands(path) else [path.parent, path]


def _stands(path: Path) -> bool:
    """Whether a directory cannot or must not be renamed: a mount point, or a shell is in it."""
    try:
        here = Path.cwd()
    except FileNotFoundError:  # a directory that was deleted
        return os.path.ismount(path)
    return os.path.ismount(path) or path == here or path in here.parents


def existing(folder: Path) -> Path:
    """The nearest folder that is there already."""
    return next(place for place in (folder, *folder.parents) if place.exists())


def _writable(folder: Path) -> str | None:
    """Why nothing can be made in a folder, found by trying; None when it can."""
    try:
        os.rmdir(tempfile.mkdtemp(dir=folder, prefix=".hfbiasedit.", suffix=strays.NEW))
    except OSError as error:
        return error.strerror or str(error)
    return None


def _staged(path: Path, keep: bool) -> tuple[Path, str | None]:
    """A temporary directory for `path`, and why it is not at hand for it where it is not."""
    mode = stat.S_IMODE(path.stat().st_mode) if path.is_dir() else 0o777 & ~umask()
    failure: OSError | None = None
    for folder in _stages(path):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            made = tempfile.mkdtemp(dir=folder, prefix=strays.prefix_of(path), suffix=strays.NEW)
            os.chmod(made, mode)
            return Path(made), None
        except OSError as error:
            failure = failure or error
    assert failure is not None
    reason = failure.strerror or str(failure)
    if not keep:
        raise BiasEditError(f"cannot write to {path.parent}: {reason}") from failure
    return Path(tempfile.mkdtemp(prefix=f"{path.name}.")), reason


def _aside(folder: Path, path: Path) -> Path:
    """A directory for what is in the way of a result until that is in its place."""
    return Path(tempfile.mkdtemp(dir=folder, prefix=strays.prefix_of(path), suffix=strays.OLD))


def _finish(temporary: Path, path: Path) -> None:
    if temporary.parent == path:
        _fill(temporary, path)
        return
    try:
        _swap(temporary, path)
    except OSError:
        if not path.is_dir():
            raise
        _fill(temporary, path)  # busy: mounted in a way that only renaming tells


def _swap(temporary: Path, path: Path) -> None:
    """Rename `temporary` to `path`; what was there is put back when that fails."""
    if not path.exists():
        os.rename(temporary, path)
        return
    if not path.is_dir():  # it came while the new one was filled
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    aside = _aside(path.parent, path)
    try:
        os.rename(path, aside / "old")
        try:
            os.rename(temporary, path)
        except BaseException:
            os.rename(aside / "old", path)
            raise
    except BaseException:
        with contextlib.suppress(OSError):  # not empty where the old one could not be put back
            aside.rmdir()
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _fill(temporary: Path, path: Path) -> None:
    """Move what is in `temporary` into `path`, and what was there away; all of it or nothing."""
    aside = _aside(path, path)
    moves = [(path / name, aside / name) for name in sorted(contents_of(path))]
    moves += [(entry, path / entry.name) for entry in sorted(temporary.iterdir())]
    done: list[tuple[Path, Path]] = []
    try:
        for source, target in moves:
            shutil.move(source, target)
            done.append((source, target))
    except BaseException:
        for source, target in reversed(done):
            shutil.move(target, source)
        with contextlib.suppress(OSError):
            aside.rmdir()
        raise
    for gone in (aside, temporary):
        shutil.rmtree(gone, ignore_errors=True)


def _kept(temporary: Path, path: Path) -> Path:
    """Give a result that could not be put in place a name that can be seen, if possible."""
    if not temporary.name.startswith("."):
        return temporary
    name, number = f"{path.name}.kept", 2
    while temporary.with_name(name).exists():
        name, number = f"{path.name}.kept-{number}", number + 1
    try:
        os.rename(temporary, temporary.with_name(name))
    except OSError:
        return temporary
    return temporary.with_name(name)
