"""Temporary directories and files beside a target, and those that a killed run left there.

Whoever makes one holds a lock on it for as long as it lives; the system lets go of the lock when
the process dies, however it dies. What nobody holds is what a killed run left.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

NEW, OLD = ".tmp", ".old"
_YOUNG = 2.0  # seconds; a temporary one may not be locked yet


def prefix_of(path: Path) -> str:
    """How the names of a target's temporary directories and files begin."""
    return f".{path.absolute().name}."


def is_temporary(name: str, path: Path) -> bool:
    """Whether a name beside or inside a target is one of its temporary ones (of `tempfile`)."""
    drawn = name.removeprefix(prefix_of(path))
    return drawn != name and re.fullmatch(r"[a-z0-9_]{8}\.(tmp|old)", drawn) is not None


@contextlib.contextmanager
def held(place: Path) -> Iterator[None]:
    """Hold the lock of a temporary directory or file, where the file system has locks."""
    handle = _locked(place)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def left_behind(path: Path) -> list[Path]:
    """Temporary directories and files of a target that no living process holds, in order."""
    path = path.absolute()
    found = []
    for folder in (path.parent, path):
        with contextlib.suppress(OSError):
            found += [e for e in sorted(folder.iterdir()) if is_temporary(e.name, path)]
    return [place for place in found if _is_dead(place)]


def clear(path: Path) -> list[str]:
    """Finish or remove what killed runs left of a target; returns a sentence for each.

    A run that was killed between taking the old result away and putting the new one in place is
    finished. Where a target was being filled from within, both results are there in part, and
    everything stays.
    """
    path = path.absolute()
    found = left_behind(path)
    if any(place.parent == path and place.name.endswith(OLD) for place in found):
        return [f"{path} holds a part of two results: a run was killed; see {found[-1].name} in it"]
    said = [f"{place}, which a killed run left, is removed" for place in found]
    new = [place for place in found if place.name.endswith(NEW) and place.is_dir()]
    old = [place for place in found if (place / "old").is_dir()]
    if old and not path.exists():
        # The new one was complete when the old one was moved away; it alone is beside.
        os.rename(new[0] if len(new) == 1 else old[-1] / "old", path)
        said = [f"{path} is in place: a run was killed when it was about to put it there"]
    for place in found:
        if place.is_dir():
            shutil.rmtree(place, ignore_errors=True)
        else:
            place.unlink(missing_ok=True)
    return said


def _is_dead(place: Path) -> bool:
    try:
        if time.time() - place.stat().st_mtime < _YOUNG:
            return False
    except OSError:  # just gone
        return False
    handle = _locked(place)
    if handle is None:
        return False
    os.close(handle)
    return True


def _locked(place: Path) -> int | None:
    """A descriptor that holds the lock; None where it is held, or there are no locks."""
    try:
        import fcntl
    except ImportError:  # Windows: nothing is known of other processes, nothing is removed
        return None
    try:
        handle = os.open(place, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle
