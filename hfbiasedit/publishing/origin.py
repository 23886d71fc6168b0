"""Where the base model of a run from a local directory is on the Hub: named by the user, compared.

Nothing is published under a name that was not checked: every edited tensor, as it was before the
edit, must have the same SHA-256 there. Only headers and the edited tensors are fetched, and of
files that lie unchanged in the local directory not even those.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO, cast

from huggingface_hub import HfApi, HfFileSystem, constants
from huggingface_hub.utils import validate_repo_id

from hfbiasedit.checkpoints.header import parse_header
from hfbiasedit.checkpoints.storage import INDEX, SINGLE, Checkpoint, Place
from hfbiasedit.documents.runs import EDIT, Run
from hfbiasedit.documents.structures.shared import BaseModel
from hfbiasedit.errors import BiasEditError, UsageError, listed
from hfbiasedit.files import read_json, write_json
from hfbiasedit.hub.pull import resolve_commit
from hfbiasedit.hub.remote import RemoteFile, files_at
from hfbiasedit.hub.retries import with_retries
from hfbiasedit.hub.session import hub_api
from hfbiasedit.patches.patch import Patch
from hfbiasedit.patches.targets import Target, targets
from hfbiasedit.publishing.plan import LocalFile

_PIECE = 1 << 24  # bytes asked for at a time


def name_base(run: Run, name: str) -> BaseModel:
    """Find the base model of a run on the Hub and note it in the run's `edit.json`.

    Cards and what is published from the run then speak of that model.

    Args:
        run: a run that was made from a local directory.
        name: `org/name` or `org/name@revision`.

    Raises:
        UsageError: the run was made from a model of the Hub.
        BiasEditError: the edited tensors are other ones there; nothing is written.
    """
    edit = run.edit
    model = edit["model"]
    if model["revision"] is not None:
        raise UsageError(f"the run was made from {model['id']} on the Hub; leave --base-model out")
    directory = Path(model["id"])
    found = find_base(name, Patch.load(run.patch_path), directory if directory.is_dir() else None)
    edit["base_model"] = found
    write_json(run.path / EDIT, edit)
    return found


def base_commit(name: str) -> tuple[str, str]:
    """(repository, commit) of `org/name` or `org/name@revision`.

    Raises:
        huggingface_hub.errors.HfHubHTTPError: it is not on the Hub, or may not be seen.
    """
    repo_id, _, revision = name.partition("@")
    validate_repo_id(repo_id)
    return repo_id, resolve_commit(hub_api(), repo_id, revision or None)


def find_base(name: str, patch: Patch, directory: Path | None = None) -> BaseModel:
    """Compare the edited tensors, as they were, with those of a model of the Hub.

    Args:
        name: `org/name` or `org/name@revision`.
        patch: the edit; it holds the SHA-256 of every edited tensor before the edit.
        directory: the local checkpoint, whose files are read instead where they are the same.

    Raises:
        BiasEditError: tensors are missing there, or have other values.
    """
    repo_id, commit = base_commit(name)
    files = _Files(hub_api(), repo_id, commit, directory)
    where = targets(files.checkpoint(), patch)
    unknown = [t.name for t in where if patch.tensors[t.edit].sha256 is None]
    if unknown:
        raise BiasEditError(f"the patch has no hash of {unknown[0]}; make it again to compare")
    other = [t.name for t in where if files.sha256(t) != patch.tensors[t.edit].sha256]
    if other:
        raise BiasEditError(
            f"{repo_id} at commit {commit[:7]} is not the base model of this run: of "
            f"{len(where)} edited tensors {len(other)} have other values there ({listed(other, 2)})"
        )
    return {"id": repo_id, "revision": commit, "tensors": len(where)}


class _Files:
    """The weight files of a repository at a commit, read in parts."""

    def __init__(self, api: HfApi, repo_id: str, commit: str, directory: Path | None) -> None:
        self._api, self._repo_id, self._commit = api, repo_id, commit
        self._system = HfFileSystem(skip_instance_cache=True)
        kind = constants.REPO_TYPE_MODEL
        self._remote = with_retries(
            lambda: files_at(api, repo_id, kind, commit), f"listing {repo_id}"
        )
        self._local = _same_files(directory, self._remote)

    def checkpoint(self) -> Checkpoint:
        """Which tensor lies where; only headers are read."""
        weight_map = self._weight_map()
        names = (SINGLE,) if weight_map is None else tuple(sorted(set(weight_map.values())))
        tensors = {}
        for file in names:
            for tensor, info in self._header(file).items():
                if weight_map is None or weight_map.get(tensor) == file:
                    tensors[tensor] = info
        # Whether a head is tied to its embedding is asked of what an edit is applied to, not here.
        return Checkpoint(Path(self._repo_id), names, tensors, {"tie_word_embeddings": False})

    def sha256(self, target: Target) -> str:
        """The SHA-256 of a tensor's bytes."""

        def read() -> str:
            digest, left = hashlib.sha256(), target.info.end - target.info.begin
            with self._open(target.file) as file:
                file.seek(target.info.begin)
                while left and (piece := file.read(min(left, _PIECE))):
                    digest.update(piece)
                    left -= len(piece)
            return digest.hexdigest()

        return with_retries(read, f"comparing {target.name} of {self._repo_id}")

    def _weight_map(self) -> Mapping[str, str] | None:
        """Tensor to file; None when all are in one."""
        if SINGLE in self._remote:
            return None
        if INDEX not in self._remote:
            raise BiasEditError(
                f"{self._repo_id} holds no safetensors weights to compare with; a revision on its "
                "refs/pr that has them can be named: --base-model org/name@revision"
            )
        path = with_retries(
            lambda: self._api.hf_hub_download(self._repo_id, INDEX, revision=self._commit),
            f"reading {INDEX} of {self._repo_id}",
        )
        index = read_json(Path(path))
        weight_map = index.get("weight_map") if isinstance(index, dict) else None
        if not isinstance(weight_map, dict) or not set(weight_map.values()) <= set(self._remote):
            raise BiasEditError(f"{INDEX} of {self._repo_id} is no index of its weights")
        return cast("Mapping[str, str]", weight_map)

    def _header(self, file: str) -> dict[str, Place]:
        shown = Path(self._repo_id, file)
        size = self._remote[file].size

        def read() -> dict[str, Place]:
            with self._open(file) as stream:
                found = parse_header(stream, size, shown)
            return {name: Place(file, info) for name, info in found.tensors.items()}

        return with_retries(read, f"reading the header of {file} of {self._repo_id}")

    def _open(self, file: str) -> BinaryIO:
        if file in self._local:
            return open(self._local[file], "rb")
        path = f"{self._repo_id}/{file}"
        opened = self._system.open(path, "rb", revision=self._commit, cache_type="none")
        return cast(BinaryIO, opened)


def _same_files(directory: Path | None, remote: Mapping[str, RemoteFile]) -> dict[str, Path]:
    """Weight files of a local directory that are, byte for byte, those of the repository."""
    if directory is None:
        return {}
    found: Iterable[Path] = sorted(directory.glob("*.safetensors"))
    return {
        path.name: path
        for path in found
        if path.name in remote
        and path.stat().st_size == remote[path.name].size
        and LocalFile.read(path.name, path).same_as(remote[path.name])
    }
