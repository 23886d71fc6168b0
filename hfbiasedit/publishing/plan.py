"""What a push will do, file by file, before it does anything."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from hfbiasedit.files import canonical_json, sha256_file
from hfbiasedit.hub.hashes import git_id_of
from hfbiasedit.hub.layout import MANIFEST
from hfbiasedit.hub.remote import Remote, RemoteFile

Action = Literal["upload", "copy", "skip", "delete"]
MANIFEST_SCHEMA = "hfbiasedit.push/1"
# The Hub keeps larger files out of git whatever their name, so no git id is needed for them.
_GIT_SIZE = 20 * 1024 * 1024  # bytes


@dataclass(frozen=True)
class LocalFile:
    """A file to publish, with the names the Hub would give its content."""

    path: str
    file: Path
    size: int
    sha256: str
    git_id: str | None

    @classmethod
    def read(cls, path: str, file: Path) -> LocalFile:
        """Hash a file on disk; `path` is its place in the repository."""
        size = file.stat().st_size
        git_id = git_id_of(file) if size <= _GIT_SIZE else None
        return cls(path, file, size, sha256_file(file), git_id)

    def same_as(self, remote: RemoteFile | None) -> bool:
        """Whether the Hub holds the same content."""
        if remote is None:
            return False
        if remote.sha256 is not None:
            return remote.sha256 == self.sha256
        return remote.git_id == self.git_id


@dataclass(frozen=True)
class CopySource:
    """A repository on the same Hub that large files can be copied from, without a transfer."""

    repo_id: str
    commit: str
    files: Mapping[str, RemoteFile]

    def find(self, local: LocalFile) -> str | None:
        """The path of the same content there, if the Hub can copy it."""
        for remote in self.files.values():
            if remote.sha256 == local.sha256 and remote.xet_hash:
                return remote.path
        return None


@dataclass(frozen=True)
class PlannedFile:
    """What happens to one path. `source` is where a copy comes from."""

    path: str
    action: Action
    size: int
    local: LocalFile | None = None
    source: str | None = None


@dataclass(frozen=True)
class Plan:
    """Everything a push will do; `files` in the order of their paths."""

    repo_id: str
    kind: str
    revision: str | None
    remote: Remote
    create_pr: bool
    private: bool
    message: str
    files: tuple[PlannedFile, ...]
    copy_from: CopySource | None = None

    @property
    def changes(self) -> tuple[PlannedFile, ...]:
        """The files that differ from what the Hub has."""
        return tuple(file for file in self.files if file.action != "skip")

    def total(self, action: Action) -> int:
        """Bytes of all files with an action."""
        return sum(file.size for file in self.files if file.action == action)

    def without_copies(self) -> Plan:
        """The same, with every copy on the Hub turned into an upload."""
        files = [
            replace(file, action="upload", source=None) if file.action == "copy" else file
            for file in self.files
        ]
        return replace(self, files=tuple(files), copy_from=None)

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "repository": self.repo_id,
            "type": self.kind,
            "revision": self.revision or "main",
            "creates_repository": self.remote.head is None,
            "creates_branch": not self.remote.has_branch,
            "parent_commit": self.remote.head,
            "pull_request": self.create_pr,
            "message": self.message,
            "files": [
                {"path": f.path, "action": f.action, "size": f.size, "source": f.source}
                for f in self.files
            ],
            "bytes": {name: self.total(name) for name in ("upload", "copy", "skip", "delete")},
        }


def plan_files(
    contents: Sequence[LocalFile],
    remote: Remote,
    *,
    copy_from: CopySource | None = None,
    stale: Sequence[str] = (),
) -> tuple[PlannedFile, ...]:
    """Compare local files with the Hub's: skip what is the same, copy what can be copied.

    Args:
        contents: Files to publish.
        remote: The repository as it is.
        copy_from: Where large files may be copied from.
        stale: Paths an earlier push wrote that are not published any more; deleted.
    """
    planned = []
    for local in contents:
        if local.same_as(remote.files.get(local.path)):
            planned.append(PlannedFile(local.path, "skip", local.size, local))
            continue
        source = copy_from.find(local) if copy_from else None
        action: Action = "copy" if source else "upload"
        planned.append(PlannedFile(local.path, action, local.size, local, source))
    for path in stale:
        if path in remote.files:
            planned.append(PlannedFile(path, "delete", remote.files[path].size))
    return tuple(sorted(planned, key=lambda file: file.path))


def manifest_of(contents: Sequence[LocalFile], what: str) -> bytes:
    """The list of what a push wrote, with hashes: equal contents give equal bytes."""
    files = {file.path: {"sha256": file.sha256, "git": file.git_id} for file in contents}
    document = {"schema": MANIFEST_SCHEMA, "what": what, "files": files}
    return (canonical_json(document) + "\n").encode()


@dataclass(frozen=True)
class Manifest:
    """What an earlier push wrote into a repository."""

    what: str
    files: Mapping[str, Mapping[str, Any]]

    @classmethod
    def parse(cls, text: str) -> Manifest | None:
        """Read a manifest; None for anything that is none (it comes from the network)."""
        try:
            document = json.loads(text)
        except ValueError:
            return None
        if not isinstance(document, dict) or document.get("schema") != MANIFEST_SCHEMA:
            return None
        files = document.get("files")
        if not isinstance(files, dict) or not all(isinstance(v, dict) for v in files.values()):
            return None
        return cls(str(document.get("what")), files)

    def wrote(self, remote: RemoteFile) -> bool:
        """Whether a file on the Hub still is what this program put there."""
        entry = self.files.get(remote.path, {})
        if remote.sha256 is not None:
            return entry.get("sha256") == remote.sha256
        return entry.get("git") == remote.git_id


def foreign_files(remote: Remote, manifest: Manifest | None, paths: Sequence[str]) -> list[str]:
    """Files of the repository that a push must not touch without being asked to.

    Without a manifest these are all its files (someone else's repository); with one, those
    among `paths` that this program did not write, or that were changed since.
    """
    if manifest is None:
        return [path for path in remote.files if path not in (".gitattributes", MANIFEST)]
    return [
        path
        for path in paths
        if path in remote.files and path != MANIFEST and not manifest.wrote(remote.files[path])
    ]
