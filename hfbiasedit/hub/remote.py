"""The state of a repository on the Hub, as far as a push needs to know it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from huggingface_hub import HfApi, constants, errors
from huggingface_hub.hf_api import RepoFile

from hfbiasedit.hub.retries import with_retries


@dataclass(frozen=True)
class RemoteFile:
    """One file: its size and its two names, of which a small file has `git_id` only."""

    path: str
    size: int
    git_id: str
    sha256: str | None = None
    xet_hash: str | None = None


@dataclass(frozen=True)
class Remote:
    """A repository at a revision. `head` is None when the repository does not exist.

    Attributes:
        repo_id: As the Hub spells it (it follows renames).
        has_branch: Whether the revision exists; if not, `head` and `files` are the main branch's.
    """

    repo_id: str
    head: str | None = None
    private: bool = False
    has_branch: bool = True
    files: Mapping[str, RemoteFile] = field(default_factory=dict)


def remote_state(api: HfApi, repo_id: str, kind: str, revision: str | None = None) -> Remote:
    """Look at a repository; see `Remote`."""

    def look() -> Remote:
        has_branch = True
        try:
            info = api.repo_info(repo_id, repo_type=kind, revision=revision)
        except errors.GatedRepoError:
            raise
        except errors.RepositoryNotFoundError:
            return Remote(repo_id)
        except errors.RevisionNotFoundError:
            has_branch = False
            info = api.repo_info(repo_id, repo_type=kind)
        head = info.sha or constants.DEFAULT_REVISION
        files = files_at(api, repo_id, kind, head)
        return Remote(info.id, info.sha, bool(info.private), has_branch, files)

    return with_retries(look, f"looking at {repo_id}")


def files_at(api: HfApi, repo_id: str, kind: str, revision: str) -> dict[str, RemoteFile]:
    """Path to file at a revision."""
    return {
        row.path: RemoteFile(
            row.path, row.size, row.blob_id, row.lfs.sha256 if row.lfs else None, row.xet_hash
        )
        for row in api.list_repo_tree(repo_id, recursive=True, revision=revision, repo_type=kind)
        if isinstance(row, RepoFile)
    }
