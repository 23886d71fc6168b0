"""Carrying files into a new directory: shared where nobody can notice, copied where not."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
from pathlib import Path

from hfbiasedit.resources import in_package

_FICLONE = 0x40049409  # ioctl of Linux: the same blocks under a second inode, copied on write
_CANNOT = {errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM, errno.ENOTTY}
_CHUNK = 1 << 27  # bytes per call into the kernel, so that it can be interrupted in between


def copy_private(source: Path, target: Path) -> str:
    """A copy whose bytes can be changed without touching `source`; returns how it was made.

    Raises:
        OSError: reading or writing failed; `target` is removed.
    """
    try:
        with open(source, "rb") as reader, open(target, "xb") as writer:
            if _reflink(reader.fileno(), writer.fileno()):
                return "reflinked"
            if _copy_range(reader.fileno(), writer.fileno()):
                return "copied"
        shutil.copyfile(source, target)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return "copied"


def share(source: Path, target: Path, *, copy: bool) -> str:
    """Put an unchanged file into place: reflink, hard link or copy; returns which.

    Files of a Hub cache or of the package are never hard-linked: a program that later overwrites
    the new directory in place would change the model for everybody.
    """
    real = source.resolve()
    if copy or in_hub_cache(source) or in_package(source):
        return copy_private(real, target)
    if _try_reflink(real, target):
        return "reflinked"
    try:
        os.link(real, target)
        return "linked"
    except OSError as error:
        if error.errno not in _CANNOT | {errno.EMLINK, errno.EACCES}:
            raise
    return copy_private(real, target)


def shares_blocks(file: Path, folder: Path) -> bool:
    """Whether a copy of a file in a folder would take no room: a reflink, found by trying."""
    try:
        with open(file.resolve(), "rb") as reader, tempfile.TemporaryFile(dir=folder) as writer:
            return _reflink(reader.fileno(), writer.fileno())
    except OSError:  # not to be written, or full
        return False


def in_hub_cache(path: Path) -> bool:
    """Whether a file or directory belongs to a Hub cache, where revisions share their files."""
    for candidate in (path.absolute(), path.resolve()):
        for parent in (candidate, *candidate.parents):
            if parent.name in ("snapshots", "blobs") and parent.parent.name.startswith("models--"):
                return True
    return False


def _try_reflink(source: Path, target: Path) -> bool:
    with open(source, "rb") as reader, open(target, "xb") as writer:
        done = _reflink(reader.fileno(), writer.fileno())
    if not done:
        target.unlink()
    return done


def _reflink(source: int, target: int) -> bool:
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
        return False
    return True


def _copy_range(source: int, target: int) -> bool:
    """Copy inside the kernel; False when it cannot and nothing was written."""
    if not hasattr(os, "copy_file_range"):
        return False
    left, done = os.fstat(source).st_size, 0
    while left > done:
        try:
            count = os.copy_file_range(source, target, min(_CHUNK, left - done), done, done)
        except OSError as error:
            if done or error.errno not in _CANNOT:
                raise
            return False
        if not count:
            if done:
                raise OSError(errno.EIO, "the source became shorter while it was copied")
            return False
        done += count
    return True
