"""Where a patched checkpoint may go: to a new directory, or over an earlier checkpoint.

What is replaced is gone. So only a directory that the new one takes the place of file by file is
replaced, and never one that others share or that the patch itself lies in.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from hfbiasedit.checkpoints import marks
from hfbiasedit.checkpoints.storage import INDEX, SINGLE
from hfbiasedit.checkpoints.transfer import in_hub_cache
from hfbiasedit.errors import BiasEditError, UsageError
from hfbiasedit.outputs import probe_directory, probe_new_directory
from hfbiasedit.patches.carrying import carried_names
from hfbiasedit.replacing import Kind, files_of, holds_something, refuse_more, refuse_other
from hfbiasedit.resources import in_package

_SHARD = re.compile(r"model(-\d+-of-\d+)?\.safetensors")
# Which files it may have depends on the base that the new one is made from: `check_replaced`.
_CHECKPOINT = Kind(
    "a checkpoint",
    lambda _: True,
    lambda names: "config.json" in names and not names.isdisjoint((SINGLE, INDEX)),
)


def check_place(out: Path, *, replace: bool) -> None:
    """Refuse a directory that no checkpoint may be written to, before anything is fetched or read.

    Raises:
        BiasEditError: it holds something and may not be replaced, or something else than a
            checkpoint, or nothing can be written there.
    """
    if replace:
        probe_directory(out)
    else:
        probe_new_directory(out, "--overwrite")
    if holds_something(out) and (in_package(out) or in_hub_cache(out)):
        raise BiasEditError(
            f"{out} came with the package or is in the Hub cache; choose another directory"
        )
    refuse_other(out, _CHECKPOINT)


def check_apart(out: Path, source: Path, patch: Path | None) -> None:
    """Refuse a directory that the base lies in, or that lies in it, or that the patch lies in.

    Raises:
        UsageError: it is one.
    """
    inside, outside = source.resolve(), out.resolve()
    if inside == outside or inside in outside.parents or outside in inside.parents:
        raise UsageError(f"{out} must lie outside of {source}; or change it in place")
    if patch is not None:
        homes = (patch.absolute().parent.resolve(), patch.resolve().parent)  # of a link, both
        if any(outside in (home, *home.parents) for home in homes):
            raise UsageError(f"the patch lies in {out}; choose another directory")


def check_replaced(out: Path, source: Path, shards: Collection[str] = ()) -> None:
    """Refuse to replace a directory with files that the new one will not have.

    `shards` are the files of the weights of `source`.

    Raises:
        BiasEditError: it has some.
    """
    if not holds_something(out):
        return
    names = files_of(out)
    known = {*carried_names(source), *shards, INDEX, marks.LOCK}
    strange = (name for name in names - known if not _SHARD.fullmatch(name))
    refuse_more(out, "the new checkpoint will", strange)
