"""The two hashes by which the Hub names files: SHA-256 of large ones, git's id of the others."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from hfbiasedit.files import sha256_file


def sha256_of(path: Path) -> str:
    """SHA-256 of a file; asked again about the same, unchanged file it is not read again."""
    real = path.resolve()
    state = real.stat()
    return _sha256(real, state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=4096)
def _sha256(path: Path, *_state: int) -> str:
    return sha256_file(path)


def git_id_of(path: Path) -> str:
    """The id git gives a file: SHA-1 over its size and content."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
