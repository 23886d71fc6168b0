"""Files that appear complete or not at all, and the JSON everybody writes.

A file is written beside its destination, flushed to disk and renamed over it; directories are
in `outputs`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from hfbiasedit import strays
from hfbiasedit.errors import BiasEditError


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text. NaN raises ValueError."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that becomes `path` when the block ends without an error (fsync, rename).

    Raises:
        OSError: the folder cannot be written to or the disk is full; `path` is as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    strays.clear(path)
    handle, name = tempfile.mkstemp(
        dir=path.parent, prefix=strays.prefix_of(path), suffix=strays.NEW
    )
    try:
        with os.fdopen(handle, "wb") as file, strays.held(Path(name)):
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~umask())
        os.replace(name, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(name)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk is this one
        raise
    sync_directory(path.parent)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically; raises OSError as `replaced` does."""
    with replaced(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically; see `write_bytes`."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write indented ASCII JSON (keys in the order given) atomically. NaN raises ValueError."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        BiasEditError: the file is missing, unreadable or not JSON; the message names it.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise BiasEditError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise BiasEditError(f"{path} is not valid JSON: {error}") from error


def sync_directory(path: Path) -> None:
    """Flush a directory entry to disk where the platform allows it (not on Windows)."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file, read in pieces of 1 MiB."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def umask() -> int:
    """The process's file mode mask; the only portable way to read it sets it for a moment."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
