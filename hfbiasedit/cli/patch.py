"""`hfbiasedit patch`: look at patch files, apply them, take them back, make new ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hfbiasedit.cli.options import JsonOption, ModelArgument, RevisionOption
from hfbiasedit.cli.patch_making import combine, diff, export
from hfbiasedit.cli.patch_options import (
    CopyOption,
    InPlaceOption,
    OutDirectoryOption,
    OverwriteOption,
    PatchArgument,
    PatchRevisionOption,
    ScaleOption,
    directory_of,
    patch_file,
)

app = typer.Typer(
    help="Show, verify, apply, revert, combine, make and export patches.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.command()
def show(
    patch: PatchArgument,
    model: Annotated[
        str | None, typer.Option(help="Checkpoint to state the edited share of.")
    ] = None,
    patch_revision: PatchRevisionOption = None,
    json: JsonOption = False,
) -> None:
    """Say what a patch contains.

    Tensors, rows, weights, layers, size, base model and how it was made.
    """
    from hfbiasedit.cli.patch_report import print_summary
    from hfbiasedit.console import print_json, result
    from hfbiasedit.patches.patch import Patch

    file = patch_file(patch, patch_revision)
    loaded = Patch.load(file)
    _warn(loaded.warnings)
    summary = {"file": str(file), "file_bytes": file.stat().st_size}
    summary |= loaded.summary(_parameters(model))
    result(summary["digest"])
    if json:
        print_json(summary)
    else:
        print_summary(summary)


@app.command()
def verify(
    model: ModelArgument,
    patch: PatchArgument,
    revision: RevisionOption = None,
    patch_revision: PatchRevisionOption = None,
    scale: ScaleOption = 1.0,
    json: JsonOption = False,
) -> None:
    """Say whether a patch fits or is applied.

    Prints applied, not applied, mixed or neither; the last two end with status 1.
    """
    from hfbiasedit.console import line, print_json, result
    from hfbiasedit.patches.verification import verify_patch

    report = verify_patch(
        directory_of(model, revision), patch_file(patch, patch_revision), scale=scale
    )
    result(report.state)
    if json:
        print_json(report.to_dict())
    else:
        line(report.state)
        for name, state in report.tensors.items():
            if state != report.state:
                line(f"  {name}: {state}")
        if report.base == "differs":
            names = ", ".join(report.differing[:5])
            _warn([f"weights beside the edited ones are not those of the base: {names}"])
    if not report.fits:
        raise typer.Exit(1)


@app.command()
def apply(
    model: ModelArgument,
    patch: PatchArgument,
    out: OutDirectoryOption = None,
    in_place: InPlaceOption = False,
    scale: ScaleOption = 1.0,
    copy: CopyOption = False,
    overwrite: OverwriteOption = False,
    revision: RevisionOption = None,
    patch_revision: PatchRevisionOption = None,
    json: JsonOption = False,
) -> None:
    """Write a checkpoint with the patch applied.

    The base stays as it is unless --in-place says otherwise.
    """
    _apply(
        model, revision, patch, patch_revision, json,
        out=out, in_place=in_place, scale=scale, copy=copy, replace=overwrite, reverse=False,
    )  # fmt: skip


@app.command()
def revert(
    model: ModelArgument,
    patch: PatchArgument,
    out: OutDirectoryOption = None,
    in_place: InPlaceOption = False,
    scale: ScaleOption = 1.0,
    copy: CopyOption = False,
    overwrite: OverwriteOption = False,
    revision: RevisionOption = None,
    patch_revision: PatchRevisionOption = None,
    json: JsonOption = False,
) -> None:
    """Take an applied patch back, bit for bit."""
    _apply(
        model, revision, patch, patch_revision, json,
        out=out, in_place=in_place, scale=scale, copy=copy, replace=overwrite, reverse=True,
    )  # fmt: skip


for _command in (combine, diff, export):
    app.command()(_command)


@app.command()
def recover(
    directory: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="Checkpoint or output whose change was killed."),
    ],
    undo: Annotated[
        bool, typer.Option("--undo", help="Go back to the weights as they were before.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Finish or undo a killed change in place, and clear what killed runs left of DIR."""
    from hfbiasedit.checkpoints.marks import pending
    from hfbiasedit.console import message, print_json, result
    from hfbiasedit.outputs import clear_strays
    from hfbiasedit.patches.journal import recover as recover_directory
    from hfbiasedit.strays import left_behind

    found = left_behind(directory)
    clear_strays(directory)
    state = None
    if pending(directory) or not found:
        state = recover_directory(directory, undo=undo)
        message(f"{directory}: the change is {state}")
    result(state or "cleared")
    if json:
        print_json({"directory": str(directory), "state": state, "cleared": len(found)})


def _apply(
    model: str,
    revision: str | None,
    patch: str,
    patch_revision: str | None,
    json: bool,
    **options: Any,
) -> None:
    from hfbiasedit.cli.patch_report import print_report
    from hfbiasedit.console import print_json, result
    from hfbiasedit.patches.checkpoint import apply_patch
    from hfbiasedit.patches.placing import check_place

    if (options["out"] is None) != options["in_place"]:
        raise typer.BadParameter("give either --out DIR or --in-place")
    if options["out"] is not None:
        check_place(options["out"], replace=options["replace"])
    file = patch_file(patch, patch_revision)
    report = apply_patch(directory_of(model, revision), file, **options)
    _warn(report.warnings)
    result(report.path)
    if json:
        print_json(report.to_dict())
    else:
        print_report(report)


def _parameters(model: str | None) -> int | None:
    if model is None:
        return None
    from hfbiasedit.checkpoints.storage import Checkpoint

    return Checkpoint.open(directory_of(model, None)).numel


def _warn(warnings: Any) -> None:
    from hfbiasedit.console import warn

    for warning in warnings:
        warn(warning)
