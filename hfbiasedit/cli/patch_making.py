"""Commands of `hfbiasedit patch` that make something new: a patch of others, an adapter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hfbiasedit.cli.options import JsonOption
from hfbiasedit.cli.parameters import expanded
from hfbiasedit.cli.patch_options import (
    OverwriteFileOption,
    OverwriteOption,
    PatchArgument,
    PatchOutOption,
    PatchRevisionOption,
    patch_file,
)
from hfbiasedit.patches.export.config import AdapterConfig

if TYPE_CHECKING:
    from hfbiasedit.patches.patch import Patch


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
    first, *others = (Patch.load(patch_file(patch, None)) for patch in patches)
    combined = first.combine(*others)
    combined.save(out)
    _written(out, combined, json)


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
    from hfbiasedit.patches.export.exporter import export_adapter

    document = export_adapter(patch, out, config, revision=patch_revision, replace_out=overwrite)
    result(out)
    if json:
        print_json(document)
    else:
        print_adapter(document)
        message(f"wrote {out}")


def _written(out: Path, patch: Patch, json: bool) -> None:
    """Say what a patch file that was written holds."""
    from hfbiasedit.console import message, print_json, result

    result(out)
    facts = {"tensors": len(patch.tensors), "weights": patch.weights, "changed": patch.changed}
    if json:
        print_json({"path": str(out), "digest": patch.digest, **facts})
    else:
        message(f"{out}: {facts['tensors']} tensors, {facts['changed']:,} edited weights")
