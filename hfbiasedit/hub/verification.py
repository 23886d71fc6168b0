"""Checking that files from the Hub are what the Hub announced, before they are edited.

The client compares sizes only, so a byte that flipped on the way, or in the cache since,
goes unnoticed. The Hub names large files by their SHA-256 and small ones by their git id;
the cache keeps that name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from huggingface_hub.hf_api import RepoFile

from hfbiasedit.console import progress, warn
from hfbiasedit.errors import BiasEditError
from hfbiasedit.files import sha256_file
from hfbiasedit.hub.hashes import git_id_of
from hfbiasedit.hub.retries import with_retries
from hfbiasedit.hub.session import hub_api
from hfbiasedit.hub.source import ModelSource

_HASH = re.compile(r"[0-9a-f]{64}|[0-9a-f]{40}")
_WORKERS = 4  # hashing releases the interpreter lock; more threads only fight for the disk


def verify_source(source: ModelSource, paths: Iterable[str] | None = None) -> int:
    """Compare the files of a pulled model with the hashes the Hub gave for them.

    A local directory has no announced hashes and passes. Takes about a second per gigabyte.

    Args:
        source: The model.
        paths: Files relative to its directory; all of them when None.

    Returns:
        The number of files compared.

    Raises:
        BiasEditError: A file differs; the message names it and how to fetch it again.
    """
    if source.commit is None:
        return 0
    expected = announced_hashes(source, _all_files(source.path) if paths is None else paths)
    if damaged := damaged_files(source, expected):
        blob = (source.path / damaged[0]).resolve()
        raise BiasEditError(
            f"{damaged[0]} of {source.id} is damaged in the cache: its content is not what the Hub "
            f"announced; delete {blob} and run again"
        )
    return len(expected)


def damaged_files(source: ModelSource, expected: Mapping[str, str]) -> list[str]:
    """The paths whose content does not have the announced hash, in order."""
    with progress(f"verifying {source.id}", len(expected)) as bar:

        def check(path: str) -> bool:
            same = _hash_like(expected[path], source.path / path) == expected[path]
            bar.advance()
            return not same

        paths = sorted(expected)
        with ThreadPoolExecutor(_WORKERS) as pool:
            return [path for path, bad in zip(paths, pool.map(check, paths), strict=True) if bad]


def announced_hashes(source: ModelSource, paths: Iterable[str]) -> dict[str, str]:
    """Path to hash (64 hex digits: SHA-256, 40: git id) as the Hub announced it.

    Taken from the cache, which names its blobs so; where it has none (no symbolic links),
    from the Hub. Files without a known hash are left out.
    """
    known: dict[str, str] = {}
    unknown: list[str] = []
    for path in paths:
        file = source.path / path
        name = os.path.basename(os.readlink(file)) if file.is_symlink() else ""
        if _HASH.fullmatch(name):
            known[path] = name
        else:
            unknown.append(path)
    if unknown and source.commit is not None:
        known |= _hashes_from_hub(source, unknown)
    return known


def _hashes_from_hub(source: ModelSource, paths: list[str]) -> dict[str, str]:
    api = hub_api()
    try:
        rows = with_retries(
            lambda: api.get_paths_info(source.id, paths, revision=source.commit),
            f"asking for the hashes of {source.id}",
        )
    except OSError:  # offline, or the Hub is away: what cannot be compared is said
        warn(f"{source.id} is used unverified: the Hub cannot be asked for the hashes of its files")
        return {}
    files = [row for row in rows if isinstance(row, RepoFile)]
    return {row.path: row.lfs.sha256 if row.lfs else row.blob_id for row in files}


def _hash_like(expected: str, path: Path) -> str:
    return sha256_file(path) if len(expected) == 64 else git_id_of(path)


def _all_files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
