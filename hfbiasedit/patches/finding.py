"""Where a patch is: a file, a run directory, or a repository of the Hub."""

from __future__ import annotations

import re
from pathlib import Path

from hfbiasedit.documents.runs import PATCH
from hfbiasedit.errors import BiasEditError
from hfbiasedit.hub.layout import PATCH_BESIDE_MODEL

_HUB_ID = re.compile(r"\w[\w.-]*/[\w.-]+")


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
    if Path(text).expanduser().is_dir():
        raise BiasEditError(f"{text} holds no {PATCH}; give a patch file or a run directory")
    if not _HUB_ID.fullmatch(text.partition("@")[0]) or text.endswith(".safetensors"):
        raise BiasEditError(f"no patch at {text}; give a patch file, a run directory or a Hub id")
    from hfbiasedit.hub.pull import pull_patch

    return pull_patch(text, revision)


def local_patch(patch: str | Path) -> Path | None:
    """The file of a patch on this machine; None when there is none of that name."""
    path = Path(patch).expanduser()
    candidates = (path, path / PATCH, path / PATCH_BESIDE_MODEL)
    return next((candidate for candidate in candidates if candidate.is_file()), None)
