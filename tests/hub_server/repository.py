"""A repository of the local Hub: commits, branches, pull requests and large files, in memory."""

from __future__ import annotations

import fnmatch
import hashlib
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

GIT_ATTRIBUTES = b"".join(
    f"{pattern} filter=lfs diff=lfs merge=lfs -text\n".encode()
    for pattern in ("*.safetensors", "*.bin", "*.pt", "*.parquet", "*.gguf", "*.h5", "*.onnx")
)
LFS_SIZE = 10 * 1024 * 1024  # a file of this size is a large file whatever its name

_clock = itertools.count()
_START = datetime(2026, 1, 1, tzinfo=timezone.utc)


def _now() -> str:
    """A new moment for every call, so that commits have an order and ids are unique."""
    moment = _START + timedelta(seconds=next(_clock))
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")


class HubError(Exception):
    """An answer other than 200, with the headers by which the client tells errors apart."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


@dataclass(frozen=True)
class Blob:
    """The content of one file; `lfs` says whether git holds it or a pointer to it."""

    data: bytes
    lfs: bool = False

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def pointer(self) -> bytes:
        """What git stores for a large file."""
        return (
            "version https://git-lfs.github.com/spec/v1\n"
            f"oid sha256:{self.sha256}\nsize {len(self.data)}\n"
        ).encode()

    @property
    def oid(self) -> str:
        """The git blob id (of the pointer, for a large file)."""
        stored = self.pointer if self.lfs else self.data
        return hashlib.sha1(b"blob %d\0" % len(stored) + stored).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.oid

    @property
    def xet_hash(self) -> str:
        """Some 64 hex digits; the real one is a Merkle hash over chunks."""
        return hashlib.sha256(b"xet" + self.data).hexdigest()


@dataclass(frozen=True)
class Commit:
    """One state of the files."""

    oid: str
    parent: str | None
    title: str
    message: str
    author: str
    date: str
    tree: Mapping[str, Blob]


@dataclass
class PullRequest:
    """A discussion with a branch `refs/pr/<num>`; the branch comes with its first commit."""

    num: int
    title: str
    author: str
    date: str
    base: str
    description: str = ""
    is_pull_request: bool = True
    status: str = "open"
    merge_commit: str | None = None

    @property
    def ref(self) -> str:
        return f"refs/pr/{self.num}"


@dataclass
class Repository:
    """Files under version control, their access rules and their discussions."""

    repo_id: str
    kind: str = "model"
    private: bool = False
    gated: bool = False
    xet: bool = True  # whether rows of the file list carry a xet hash
    ignored: set[str] = field(default_factory=set)  # paths that .gitignore hides
    granted: set[str] = field(default_factory=set)  # users let through the gate
    refs: dict[str, str] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)
    discussions: list[PullRequest] = field(default_factory=list)
    objects: dict[str, bytes] = field(default_factory=dict)  # uploaded large files by sha256

    def __post_init__(self) -> None:
        if not self.refs:
            self.add_commit(
                "refs/heads/main", {".gitattributes": Blob(GIT_ATTRIBUTES)}, "initial commit"
            )

    def begin(self, files: Mapping[str, bytes]) -> None:
        """Put files into the first commit, as the Hub does with a static Space."""
        self.refs, self.commits = {}, {}
        first = {".gitattributes": GIT_ATTRIBUTES, **files}
        changes = {path: Blob(data) for path, data in first.items()}
        self.add_commit("refs/heads/main", changes, "initial commit")

    @property
    def owner(self) -> str:
        return self.repo_id.split("/")[0]

    @property
    def head(self) -> str:
        """Commit id of the main branch."""
        return self.refs["refs/heads/main"]

    def add_commit(
        self,
        ref: str,
        changes: Mapping[str, Blob | None],
        title: str,
        *,
        message: str = "",
        author: str = "nobody",
        parent: str | None = None,
    ) -> Commit:
        """Put a commit on a ref (starting it at `parent` when new); None as content deletes."""
        parent = parent or self.refs.get(ref)
        tree = dict(self.commits[parent].tree) if parent else {}
        for path, blob in changes.items():
            if blob is None:
                tree.pop(path, None)
            else:
                tree[path] = blob
                if blob.lfs:
                    self.objects[blob.sha256] = blob.data
        date = _now()
        seed = f"{self.repo_id} {parent} {title} {date}".encode()
        commit = Commit(hashlib.sha1(seed).hexdigest(), parent, title, message, author, date, tree)
        self.commits[commit.oid] = commit
        self.refs[ref] = commit.oid
        return commit

    def write(
        self, files: Mapping[str, bytes | None], title: str = "change", branch: str = "main"
    ) -> str:
        """Commit files from a test; large ones are told apart as the Hub does. Returns the id."""
        blobs = {
            path: None if data is None else Blob(data, self.is_large(path, len(data)))
            for path, data in files.items()
        }
        ref = branch if branch.startswith("refs/") else f"refs/heads/{branch}"
        parent = None if ref in self.refs else self.head
        return self.add_commit(ref, blobs, title, author=self.owner, parent=parent).oid

    def ref_of(self, revision: str) -> str | None:
        """The full name of a branch, tag or pull request."""
        for name in (revision, f"refs/heads/{revision}", f"refs/tags/{revision}"):
            if name in self.refs:
                return name
        return None

    def commit_at(self, revision: str) -> Commit:
        """The commit of a branch, tag, pull request or (abbreviated) id; HubError 404 if none."""
        if ref := self.ref_of(revision):
            return self.commits[self.refs[ref]]
        if re.fullmatch(r"[0-9a-f]{7,40}", revision):
            for oid, commit in self.commits.items():
                if oid.startswith(revision):
                    return commit
        raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def history(self, revision: str) -> list[Commit]:
        """Newest first."""
        found, commit = [], self.commit_at(revision)
        while True:
            found.append(commit)
            if commit.parent is None:
                return found
            commit = self.commits[commit.parent]

    def files(self, revision: str = "main") -> dict[str, bytes]:
        """Path to content at a revision."""
        return {path: blob.data for path, blob in self.commit_at(revision).tree.items()}

    def is_large(self, path: str, size: int) -> bool:
        """Whether .gitattributes or the size make a file a large one."""
        rules = GIT_ATTRIBUTES
        if self.refs:
            attributes = self.commits[self.head].tree.get(".gitattributes")
            rules = attributes.data if attributes else rules
        patterns = [
            line.split()[0].decode() for line in rules.splitlines() if b"filter=lfs" in line
        ]
        name = path.rsplit("/", 1)[-1]
        return size >= LFS_SIZE or any(
            fnmatch.fnmatch(name, pattern) or fnmatch.fnmatch(path, pattern) for pattern in patterns
        )

    def open_discussion(
        self, title: str, author: str, base: str = "main", description: str = "", pull: bool = True
    ) -> PullRequest:
        """Start a discussion; a pull request gets its branch where the base branch stands."""
        request = PullRequest(
            len(self.discussions) + 1, title, author, _now(), f"refs/heads/{base}"
        )
        request.description, request.is_pull_request = description, pull
        self.discussions.append(request)
        if pull:
            self.refs[request.ref] = self.commit_at(base).oid
        return request

    def merge(self, num: int, author: str = "nobody") -> str:
        """Merge a pull request into its base branch; returns the commit id."""
        request = self.discussions[num - 1]
        changes = self._difference(request)
        commit = self.add_commit(request.base, changes, f"{request.title} (#{num})", author=author)
        request.status, request.merge_commit = "merged", commit.oid
        return commit.oid

    def _difference(self, request: PullRequest) -> dict[str, Blob | None]:
        history = self.history(request.ref)
        base = {commit.oid for commit in self.history(request.base)}
        start = next(commit for commit in history if commit.oid in base)
        tree = history[0].tree
        changes: dict[str, Blob | None] = {
            path: blob for path, blob in tree.items() if start.tree.get(path) != blob
        }
        changes |= {path: None for path in start.tree if path not in tree}
        return changes
