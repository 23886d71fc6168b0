"""Where a patch is (a file, a run directory, a repository of the Hub), and its base model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfbiasedit.documents.runs import EDIT, PATCH, Run
from hfbiasedit.errors import BiasEditError
from hfbiasedit.hub.layout import PATCH_BESIDE_MODEL
from hfbiasedit.resources import DEMO

_WITH_BASE = "name it with --base (in Python base=...)"
_HUB_ID = re.compile(r"\w[\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class Base:
    """The base model of a patch: what `resolve_model` takes, and its commit on the Hub."""

    model: str
    revision: str | None = None

    @property
    def public_id(self) -> str | None:
        """Its name for others; None for what only this machine has."""
        return self.model if self.revision is not None else None


def find_patch(patch: str | Path, revision: str | None = None) -> Path:
    """The local file of a patch, fetched from the Hub when it is not here.

    Args:
        patch: a patch file, a directory that holds one (a run, or a model with its patch), or a
            Hub id, `org/name` or `org/name@revision`.
        revision: branch, tag or commit; Hub ids only.

    Raises:
        BiasEditError: there is no patch.
        huggingface_hub.errors.HfHubHTTPError: as for `pull_patch`.
    """
    found = local_patch(patch)
    if found is not None:
        return found
    text = str(patch)
    if not text.strip():
        raise BiasEditError(
            "the name of the patch is empty; give a patch file, a run directory or a Hub id"
        )
    if Path(text).expanduser().is_dir():
        raise BiasEditError(f"{text} holds no {PATCH}; give a patch file or a run directory")
    if not _HUB_ID.fullmatch(text.partition("@")[0]) or text.endswith(".safetensors"):
        raise BiasEditError(f"no patch at {text}; give a patch file, a run directory or a Hub id")
    from hfbiasedit.hub.pull import pull_patch

    return pull_patch(text, revision)


def local_patch(patch: str | Path) -> Path | None:
    """The file of a patch on this machine; None when there is none of that name."""
    if not str(patch).strip():
        return None  # not what lies in the working directory
    path = Path(patch).expanduser()
    candidates = (path, path / PATCH, path / PATCH_BESIDE_MODEL)
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def base_of(
    metadata: Mapping[str, Any], path: Path, from_hub: bool, given: str | Path | None = None
) -> Base:
    """The base model that a patch names, if it can be found from here.

    Args:
        metadata: of the patch. path: its file. from_hub: whether it was fetched.
        given: what the user says instead, `org/name@revision` included; taken as it is.

    Raises:
        BiasEditError: the patch names no model, or a directory that is not here.
    """
    if given is not None:
        return _given(str(given))
    base, commit = metadata.get("base_model"), metadata.get("base_revision")
    if not isinstance(base, str) or not base:
        raise BiasEditError(f"{path} does not say which model it belongs to; {_WITH_BASE}")
    if base == DEMO:
        return Base(DEMO)
    if not from_hub and (named := _named(path)) is not None:
        return named
    # A path in a stranger's patch means nothing on this machine.
    if not from_hub and Path(base).is_dir():
        return Base(base)
    # Only a model of the Hub has a commit; a path that looks like an id may be anybody's there.
    if not isinstance(commit, str) or not _HUB_ID.fullmatch(base):
        raise BiasEditError(
            f"the patch was made for the local directory {base}, which is not here; {_WITH_BASE}"
        )
    return Base(base, commit)


def _given(base: str) -> Base:
    name, _, revision = base.partition("@")
    if base == DEMO or Path(base).expanduser().is_dir() or not _HUB_ID.fullmatch(name):
        return Base(base)
    from hfbiasedit.hub.pull import resolve_commit
    from hfbiasedit.hub.session import hub_api

    return Base(name, resolve_commit(hub_api(), name, revision or None))


def _named(path: Path) -> Base | None:
    """Where the base model of the run that a patch lies in is on the Hub, if that is noted."""
    if not (path.parent / EDIT).is_file():
        return None
    found = Run(path.parent).edit.get("base_model")
    return None if found is None else Base(found["id"], found["revision"])
