"""Fetching models and patches from the Hub, pinned to one commit.

Only the files that a causal language model is loaded from are fetched, and of several
formats of the same weights only one: safetensors where there are any.
"""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Callable, Collection
from pathlib import Path

from huggingface_hub import HfApi, constants, errors, get_cached_repo_tree
from huggingface_hub.utils import validate_repo_id

from hfbiasedit.console import message, transfer, warn
from hfbiasedit.documents.runs import PATCH
from hfbiasedit.errors import BiasEditError, listed
from hfbiasedit.hub.layout import ADAPTER, PATCH_BESIDE_MODEL
from hfbiasedit.hub.retries import with_retries
from hfbiasedit.hub.session import hub_api
from hfbiasedit.hub.source import ModelSource
from hfbiasedit.hub.verification import announced_hashes, damaged_files, verify_source

# Everything beside the weights that loading, licensing and describing a model needs. Not what makes
# transformers load an adapter: where there is a model, the model is what is meant.
_COMPANIONS = re.compile(
    r"(?i)(?!adapter_)[^/]*config\.json|tokenizer[^/]*|[^/]*tokenizer\.(model|json)|vocab[^/]*|merges\.txt"
    r"|tekken\.json|special_tokens_map\.json|added_tokens\.json|[^/]*\.(tiktoken|spm|jinja|py)"
    r"|chat_templates?/[^/]*\.jinja|(licen[cs]e|notice|use_policy)[^/]*|readme\.md"
)
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # each also as shards with an index


def pull_model(
    repo_id: str, revision: str | None = None, *, weights: bool = True, gguf: str | None = None
) -> ModelSource:
    """Fetch a model into the Hub's cache, or find it there.

    A revision that is in the cache completely is used without the network when it is a
    commit id, when offline mode is on, or when the Hub cannot be reached.

    Args:
        repo_id: `org/name`, or `org/name@revision`.
        revision: Branch, tag, commit or `refs/pr/N`; the default branch when None.
        weights: whether to fetch them too; without, only what describes the model.
        gguf: a file that is fetched instead of the weights.

    Raises:
        BiasEditError: The repository holds no causal language model.
        huggingface_hub.errors.HfHubHTTPError: Missing, private, gated, ...; see `failures.explain`.
    """
    name, _, pinned = repo_id.partition("@")
    revision = revision or pinned or None
    validate_repo_id(name)
    api = hub_api()
    commit = resolve_commit(api, name, revision)
    files = list_files(api, name, commit)

    def read(path: str) -> str:
        return Path(_snapshot(api, name, commit, [path]), path).read_text(encoding="utf-8")

    wanted = model_files(name, files, read) if gguf is None else _with_gguf(name, files, gguf)
    if ADAPTER in files:
        message(f"{name} also holds an adapter; its full weights are used, without the adapter")
    if not weights:
        wanted = [path for path in wanted if _COMPANIONS.fullmatch(path)]
    folder = _verified(api, name, commit, wanted)
    return ModelSource(id=name, path=folder, requested_revision=revision, commit=commit)


def pull_patch(repo_id: str, revision: str | None = None) -> Path:
    """Fetch the patch of a repository and return its path in the Hub's cache.

    The patch is `patch.safetensors` (beside a model: `patch/patch.safetensors`), or the only
    safetensors file of a repository without a model.

    Raises:
        BiasEditError: There is no patch in the repository.
        huggingface_hub.errors.HfHubHTTPError: Missing, private, gated, ...; see `failures.explain`.
    """
    name, _, pinned = repo_id.partition("@")
    validate_repo_id(name)
    api = hub_api()
    commit = resolve_commit(api, name, revision or pinned or None)
    files = list_files(api, name, commit)
    found = [path for path in (PATCH, PATCH_BESIDE_MODEL) if path in files]
    if not found and "config.json" not in files:
        found = [path for path in files if path.endswith(".safetensors")]
    if not found or (len(found) > 1 and PATCH not in found):
        raise BiasEditError(f"{name} holds no patch: no {PATCH} at commit {commit[:7]}")
    return _verified(api, name, commit, found[:1]) / found[0]


def resolve_commit(api: HfApi, repo_id: str, revision: str | None) -> str:
    """The 40-hex commit that a revision stands for; the cache answers when the Hub cannot."""
    return with_retries(
        lambda: api.resolve_revision(repo_id, revision=revision).resolved, f"asking for {repo_id}"
    )


def list_files(api: HfApi, repo_id: str, commit: str) -> list[str]:
    """Paths of all files at a commit; a commit never changes, so the cache is as good."""
    try:
        return [file.path for file in get_cached_repo_tree(repo_id, revision=commit)]
    except errors.CachedRepoTreeNotFoundError:
        pass
    try:
        return with_retries(
            lambda: api.list_repo_files(repo_id, revision=commit), f"listing {repo_id}"
        )
    except Exception:
        # A cache filled by an older client has no list, but maybe the files.
        folder = _cached_snapshot(repo_id, commit)
        if folder is None:
            raise
        return [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]


def model_files(repo_id: str, files: Collection[str], read: Callable[[str], str]) -> list[str]:
    """The files that a model is loaded from.

    Args:
        repo_id: For the messages.
        files: Paths of all files of the repository.
        read: Gives the text of one file; asked for the index of sharded weights only.

    Raises:
        BiasEditError: There is no model among them.
    """
    companions = [path for path in files if _COMPANIONS.fullmatch(path)]
    if "config.json" not in files:
        raise BiasEditError(f"{repo_id} {_what_it_is(files)}")
    for weights in _WEIGHTS:
        if weights in files:
            return [*companions, weights]
        index = f"{weights}.index.json"
        if index in files:
            return [*companions, index, *_shards(repo_id, index, read(index), files)]
    raise BiasEditError(
        f"{repo_id} holds no weights that transformers loads (model.safetensors or "
        "pytorch_model.bin, or shards of them); use the repository of the original model"
    )


def _with_gguf(repo_id: str, files: Collection[str], gguf: str) -> list[str]:
    if gguf not in files:
        present = sorted(path for path in files if path.endswith(".gguf"))
        there = f"it has {listed(present, 8)}" if present else "it has none"
        raise BiasEditError(f"{repo_id} has no GGUF file {gguf}; {there}")
    return [*(path for path in files if _COMPANIONS.fullmatch(path)), gguf]


def _shards(repo_id: str, index: str, text: str, files: Collection[str]) -> list[str]:
    try:
        shards = sorted(set(json.loads(text)["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BiasEditError(
            f"{index} of {repo_id} is no index of weights; report it there"
        ) from error
    missing = [shard for shard in shards if shard not in files]
    if missing:
        raise BiasEditError(f"{repo_id} is incomplete: {', '.join(missing[:3])} missing")
    return shards


def _what_it_is(files: Collection[str]) -> str:
    if PATCH in files:
        return "holds a patch, not a model: give its base model and use the patch with --patch"
    if ADAPTER in files:
        return "holds an adapter, not a model; merge it into its base model first"
    if "model_index.json" in files:
        return "holds a diffusion pipeline, not a language model"
    if any(path.endswith(".gguf") for path in files):
        return (
            "holds GGUF files only; audit one of them with --gguf FILE, or use the repository of "
            "the original model"
        )
    return "holds no model: it has no config.json"


def _verified(api: HfApi, repo_id: str, commit: str, paths: Collection[str]) -> Path:
    """Fetch files and compare new ones with their hashes; a damaged one is fetched again."""
    before = _cached_snapshot(repo_id, commit)
    new = [path for path in paths if before is None or not (before / path).is_file()]
    folder = _snapshot(api, repo_id, commit, paths)
    source = ModelSource(repo_id, folder, None, commit)
    expected = announced_hashes(source, new)
    damaged = damaged_files(source, expected)
    if damaged:
        warn(f"{', '.join(damaged)} arrived damaged and is fetched again")
        for path in damaged:
            (folder / path).resolve().unlink(missing_ok=True)
            (folder / path).unlink(missing_ok=True)
        _snapshot(api, repo_id, commit, paths)
        verify_source(source, damaged)
    return folder


def _snapshot(api: HfApi, repo_id: str, commit: str, paths: Collection[str]) -> Path:
    """Fetch files of a commit; what is in the cache already is not asked for again."""
    folder = _cached_snapshot(repo_id, commit)
    if folder is not None and all((folder / path).is_file() for path in paths):
        return folder
    patterns = [glob.escape(path) for path in paths]
    with transfer(f"fetching {repo_id}"):
        folder = Path(
            with_retries(
                lambda: api.snapshot_download(repo_id, revision=commit, allow_patterns=patterns),
                f"fetching {repo_id}",
            )
        )
    # When the Hub fails at the wrong moment, the client hands out a folder that has gaps.
    missing = [path for path in paths if not (folder / path).is_file()]
    if missing:
        raise BiasEditError(
            f"{repo_id} is in the cache only in part ({missing[0]} missing) and the Hub cannot "
            "be reached; run again"
        )
    return folder


def _cached_snapshot(repo_id: str, commit: str) -> Path | None:
    name = f"models--{repo_id.replace('/', '--')}"
    folder = Path(constants.HF_HUB_CACHE, name, "snapshots", commit)
    return folder if folder.is_dir() else None
