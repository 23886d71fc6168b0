"""Git's id of a file, by which the Hub names small ones (large ones by their SHA-256)."""

from __future__ import annotations

import hashlib
from pathlib import Path


def git_id_of(path: Path) -> str:
    """The id git gives a file: SHA-1 over its size and content."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
