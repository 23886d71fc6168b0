"""`hfbiasedit locate`: where the bias sits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hfbiasedit.cli import options
from hfbiasedit.editing.config import SALIENCIES, LocateConfig

DEFAULT = LocateConfig()


def locate(
    model: options.ModelArgument,
    saliency: Annotated[
        str, typer.Option(help=f"How weights are judged: {', '.join(SALIENCIES)}.")
    ] = DEFAULT.saliency,
    blocks: Annotated[
        str, typer.Option(help="Blocks an edit may use: auto, all, or a list such as 0,3-7.")
    ] = DEFAULT.blocks,
    top: Annotated[int, typer.Option(help="Rows to print.", min=1)] = 10,
    anchor: Annotated[
        str | None, typer.Option(help="General code to compare with: file, folder or dataset.")
    ] = DEFAULT.anchor,
    reference: options.ReferenceOption = str(DEFAULT.reference),
    prompts: options.PromptsOption = DEFAULT.prompts,
    professions: options.ProfessionsOption = DEFAULT.professions,
    checkpoint: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Less memory, more time.")
    ] = DEFAULT.checkpoint,
    revision: options.RevisionOption = DEFAULT.revision,
    dtype: options.DtypeOption = DEFAULT.dtype,
    device: options.DeviceOption = DEFAULT.device,
    device_map: options.DeviceMapOption = DEFAULT.device_map,
    trust_remote_code: options.TrustOption = DEFAULT.trust_remote_code,
    seed: options.SeedOption = DEFAULT.seed,
    out: options.OutOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Rank blocks, matrices and rows by how much they carry the bias."""
    config = LocateConfig(
        saliency=saliency,
        blocks=blocks,
        anchor=anchor,
        reference=reference,
        prompts=prompts,
        professions=professions,
        checkpoint=checkpoint,
        revision=revision,
        dtype=dtype,
        device=device,
        device_map=device_map,
        trust_remote_code=trust_remote_code,
        seed=seed,
    )
    from hfbiasedit import console
    from hfbiasedit.editing.judging.overview import location_document, location_tables
    from hfbiasedit.editing.locating import locator
    from hfbiasedit.files import output_directory

    found = locator.locate(model, config)
    document = location_document(found, top)
    if out is not None:
        with output_directory(Path(out)) as folder:
            found.save(folder)
        console.message(f"wrote {out}")
    if as_json:
        console.print_json(document)
        return
    for table in location_tables(document):
        console.table(table)
