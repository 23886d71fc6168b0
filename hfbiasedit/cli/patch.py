"""`hfbiasedit patch`: look at patch files, apply them, take them back, export them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hfbiasedit.cli.options import JsonOption, ModelArgument, RevisionOption
from hfbiasedit.cli.parameters import expanded
from hfbiasedit.patches.export.config import AdapterConfig

if TYPE_CHECKING:
    from hfbiasedit.patches.patch import Patch

app = typer.Typer(
    help="Show, verify, apply, revert, combine, make and export patches.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

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
    bool, typer.Option("--overwrite", help="Replace the output directory once it is complete.")
]
OverwriteFileOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace a file that is there already.")
]
PatchOutOption = Annotated[Path, typer.Option("--out", help="Patch file to write.")]


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

    file = _patch_file(patch, patch_revision)
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
        _directory(model, revision), _patch_file(patch, patch_revision), scale=scale
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


@app.command()
def combine(
    patches: Annotated[list[str], typer.Argument(metavar="PATCH...", help="Two or more patches.")],
    out: PatchOutOption,
    overwrite: OverwriteFileOption = False,
    json: JsonOption = False,
) -> None:
    """Write one patch that does what several do.

    They must agree wherever they meet.
    """
    from hfbiasedit.outputs import probe_file
    from hfbiasedit.patches.patch import Patch

    if len(patches) < 2:
        raise typer.BadParameter("give at least two patches")
    probe_file(out, replace=overwrite)
    first, *others = (Patch.load(_patch_file(patch, None)) for patch in patches)
    combined = first.combine(*others)
    combined.save(out)
    _written(out, combined, json)


@app.command()
def diff(
    base: Annotated[str, typer.Argument(metavar="BASE", help="Hub id or checkpoint directory.")],
    edited: Annotated[
        str, typer.Argument(metavar="EDITED", help="Hub id or checkpoint directory.")
    ],
    out: PatchOutOption,
    revision: Annotated[str | None, typer.Option(help="Revision of BASE on the Hub.")] = None,
    edited_revision: Annotated[
        str | None, typer.Option(help="Revision of EDITED on the Hub.")
    ] = None,
    overwrite: OverwriteFileOption = False,
    json: JsonOption = False,
) -> None:
    """Write the patch between two checkpoints.

    They must hold the same tensors in the same shapes and dtypes.
    """
    from hfbiasedit.models.resolution import resolve_model
    from hfbiasedit.outputs import probe_file
    from hfbiasedit.patches.patch import Patch

    probe_file(out, replace=overwrite)
    source = resolve_model(base, revision)
    patch = Patch.from_checkpoints(
        source.path,
        resolve_model(edited, edited_revision).path,
        base_model=source.id if source.commit else None,
        base_revision=source.commit,
    )
    patch.save(out)
    _written(out, patch, json)


@app.command()
@expanded
def export(
    patch: PatchArgument,
    config: AdapterConfig,
    out: Annotated[Path, typer.Option(help="Directory to write.")],
    overwrite: OverwriteOption = False,
    patch_revision: PatchRevisionOption = None,
    json: JsonOption = False,
) -> None:
    """Write a patch as a peft adapter.

    vLLM, SGLang, TGI and peft switch it on and off beside the untouched base model.
    """
    from hfbiasedit.cli.patch_report import print_adapter
    from hfbiasedit.console import message, print_json, result
    from hfbiasedit.outputs import probe_directory, probe_new_directory
    from hfbiasedit.patches.export.exporter import export_adapter

    (probe_directory if overwrite else probe_new_directory)(out)
    document = export_adapter(patch, out, config, revision=patch_revision, replace_out=overwrite)
    result(out)
    if json:
        print_json(document)
    else:
        print_adapter(document)
        message(f"wrote {out}")


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
    from hfbiasedit.outputs import probe_directory, probe_new_directory
    from hfbiasedit.patches.checkpoint import apply_patch

    if (options["out"] is None) != options["in_place"]:
        raise typer.BadParameter("give either --out DIR or --in-place")
    if options["out"] is not None:
        (probe_directory if options["replace"] else probe_new_directory)(options["out"])
    file = _patch_file(patch, patch_revision)
    report = apply_patch(_directory(model, revision), file, **options)
    _warn(report.warnings)
    result(report.path)
    if json:
        print_json(report.to_dict())
    else:
        print_report(report)


def _written(out: Path, patch: Patch, json: bool) -> None:
    """Say what a patch file that was written holds."""
    from hfbiasedit.console import message, print_json, result

    result(out)
    facts = {"tensors": len(patch.tensors), "weights": patch.weights, "changed": patch.changed}
    if json:
        print_json({"path": str(out), "digest": patch.digest, **facts})
    else:
        message(f"{out}: {facts['tensors']} tensors, {facts['changed']:,} edited weights")


def _directory(model: str, revision: str | None) -> Path:
    """The local files of MODEL. A directory needs no more checks here: applying reads it all."""
    if revision is None and Path(model).is_dir():
        return Path(model)
    from hfbiasedit.models.resolution import resolve_model

    return resolve_model(model, revision).path


def _patch_file(patch: str, revision: str | None) -> Path:
    """The local file of PATCH."""
    from hfbiasedit.patches.finding import find_patch

    return find_patch(patch, revision)


def _parameters(model: str | None) -> int | None:
    if model is None:
        return None
    from hfbiasedit.checkpoints.storage import Checkpoint

    return Checkpoint.open(_directory(model, None)).numel


def _warn(warnings: Any) -> None:
    from hfbiasedit.console import warn

    for warning in warnings:
        warn(warning)
