"""Locks between processes of this program."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from hfbiasedit.errors import BiasEditError


@contextlib.contextmanager
def held(file: Path, busy: str) -> Iterator[None]:
    """Hold a lock file, which is gone afterwards; where there are no locks the block runs without.

    Raises:
        BiasEditError: another process holds it; the message is `busy`.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(file)
    made = [folder for folder in file.parents if not folder.exists()]  # the lock makes them
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise BiasEditError(busy) from error
    except (OSError, NotImplementedError):
        pass  # a file system without locks; where nothing can be written, the work will say so
    try:
        yield
    finally:
        if lock.is_locked:
            with contextlib.suppress(OSError):  # who waits for a removed file starts over
                os.unlink(file)
            lock.release()
        for folder in made:
            with contextlib.suppress(OSError):  # something is in it by now
                folder.rmdir()
