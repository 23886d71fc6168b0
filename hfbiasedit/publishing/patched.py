"""Loading a model with a patch applied, from no more than the patch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hfbiasedit.models.loading import LoadedModel, load_model
from hfbiasedit.models.options import ModelOptions, ModelOverrides
from hfbiasedit.models.resolution import resolve_model
from hfbiasedit.patches.finding import base_of, find_patch, local_patch
from hfbiasedit.patches.loading import with_patch
from hfbiasedit.patches.patch import Patch

if TYPE_CHECKING:
    from typing_extensions import Unpack


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
    found = base_of(metadata, path, local is None, given=base)
    return with_patch(load_model(resolve_model(found.model, found.revision), options), path)
