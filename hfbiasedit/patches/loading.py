"""Models in memory with a patch file applied to them."""

from __future__ import annotations

from pathlib import Path

from hfbiasedit.models.loading import LoadedModel
from hfbiasedit.patches.finding import find_patch
from hfbiasedit.patches.patch import Patch


def with_patch(loaded: LoadedModel, patch: str | Path | None) -> LoadedModel:
    """The same model, with a patch applied in memory and its digest noted; None: as it is.

    The patch is a file, a run directory or a Hub id (`find_patch`). Nothing is written to disk.

    Raises:
        BiasEditError: the patch cannot be read, or does not fit the model, which is unchanged then.
    """
    if patch is not None:
        Patch.load(find_patch(patch)).apply_(loaded)
    return loaded
