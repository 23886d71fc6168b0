"""Loading a model with a patch applied, from no more than the patch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfbiasedit.errors import BiasEditError
from hfbiasedit.hub.source import ModelSource
from hfbiasedit.models.loading import LoadedModel, load_model
from hfbiasedit.models.options import ModelOptions, ModelOverrides
from hfbiasedit.models.resolution import resolve_model
from hfbiasedit.patches.finding import find_patch, local_patch
from hfbiasedit.patches.loading import with_patch
from hfbiasedit.patches.patch import Patch
from hfbiasedit.resources import DEMO

if TYPE_CHECKING:
    from typing_extensions import Unpack

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def load_patched(
    patch: str | Path,
    *,
    base: str | Path | None = None,
    **overrides: Unpack[ModelOverrides],
) -> LoadedModel:
    """Load the base model of a patch, at the commit the patch was made for, and apply it.

    The old value of every edited weight is compared bit for bit before anything is written.

        loaded = load_patched("me/patch-repo")
        loaded.model.generate(**loaded.tokenizer("def f(", return_tensors="pt"))

    Args:
        patch: Hub id of a repository with a patch, a run directory, or a patch file.
        base: The base model, where the patch does not name it or it has moved.
        overrides: As for `load_model`, but that `revision` is the branch, tag or commit of the
            patch's repository; a patch fits the dtype that its base is stored in.

    Raises:
        BiasEditError: There is no patch, it names no base model, or it does not fit.
    """
    options = ModelOptions(**overrides)
    local = local_patch(patch)
    path = local or find_patch(patch, options.revision)
    metadata = Patch.load(path).metadata
    # What the user names is taken as it is; what a patch names is pinned to its commit.
    source = resolve_model(base) if base is not None else _base_of(metadata, path, local is None)
    return with_patch(load_model(source, options), path)


def _base_of(metadata: dict[str, Any], path: Path, from_hub: bool) -> ModelSource:
    """The base model that a patch names, if it can be found from here."""
    base, commit = metadata.get("base_model"), metadata.get("base_revision")
    if not isinstance(base, str) or not base:
        raise BiasEditError(f"{path} does not say which model it belongs to; give base=...")
    if base == DEMO:
        return resolve_model(DEMO)
    # A path in a stranger's patch means nothing on this machine.
    if not from_hub and Path(base).is_dir():
        return resolve_model(base)
    # Only a model of the Hub has a commit; a path that looks like an id may be anybody's there.
    if not isinstance(commit, str) or not _HUB_ID.fullmatch(base) or base.startswith("."):
        raise BiasEditError(
            f"the patch was made for the local directory {base}, which is not here; give base=..."
        )
    from hfbiasedit.hub.pull import pull_model

    return pull_model(base, commit)
