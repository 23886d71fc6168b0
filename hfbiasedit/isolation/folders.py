"""Temporary folders that do not stay: a judge that was killed leaves them to the next one."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_PREFIX = "hfbiasedit-judged-"
_YOUNG = 60.0  # seconds in which a folder may exist without its lock


@contextlib.contextmanager
def working_folder() -> Iterator[Path]:
    """A new folder, locked for as long as this process lives, and removed at the end."""
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as folder:
        lock = _lock(folder)
        try:
            yield Path(folder).resolve()
        finally:
            if lock is not None:
                os.close(lock)


def remove_left(young: float = _YOUNG) -> None:
    """Remove this user's folders that no living process has locked.

    Args:
        young: seconds; younger folders stay, their lock may be about to be taken.
    """
    if fcntl is None:
        return
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            state = folder.lstat()
            if state.st_uid != os.getuid() or time.time() - state.st_mtime < young:
                continue
            lock = _lock(str(folder))
            if lock is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)


def _lock(folder: str) -> int | None:
    """A descriptor that holds the folder's lock, or None where another process has it."""
    if fcntl is None:
        return None
    descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
