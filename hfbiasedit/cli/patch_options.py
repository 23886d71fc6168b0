"""Arguments and options that commands on patches share, and the files they stand for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

PatchArgument = Annotated[
    str,
    typer.Argument(
        metavar="PATCH", help="Patch file, run directory, or Hub id of a repository with a patch."
    ),
]
PatchRevisionOption = Annotated[
    str | None, typer.Option(help="Branch, tag or commit of PATCH on the Hub.")
]
ScaleOption = Annotated[
    float, typer.Option(help="Write old + SCALE * (new - old); reverting needs the same number.")
]
OutDirectoryOption = Annotated[
    Path | None, typer.Option("--out", help="New checkpoint directory to write.")
]
InPlaceOption = Annotated[
    bool, typer.Option("--in-place", help="Change MODEL itself, under a journal.")
]
CopyOption = Annotated[
    bool, typer.Option("--copy", help="Copy unchanged shards instead of linking them.")
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace an earlier output once the new is complete.")
]
OverwriteFileOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace a file that is there already.")
]
PatchOutOption = Annotated[Path, typer.Option("--out", help="Patch file to write.")]


def directory_of(model: str, revision: str | None) -> Path:
    """The local files of MODEL. A directory needs no more checks here: applying reads it all."""
    if revision is None and Path(model).is_dir():
        return Path(model)
    from hfbiasedit.models.resolution import resolve_model

    return resolve_model(model, revision).path


def patch_file(patch: str, revision: str | None) -> Path:
    """The local file of PATCH."""
    from hfbiasedit.patches.finding import find_patch

    return find_patch(patch, revision)
