"""`hfbiasedit sweep`: what each granularity buys."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from hfbiasedit.cli.options import JsonOption, ModelArgument, ResumeOption
from hfbiasedit.cli.parameters import Only, expanded
from hfbiasedit.editing.config import EditConfig, SweepConfig
from hfbiasedit.fields import options_of
from hfbiasedit.models.options import ModelOptions

COMMON = ("max_kl", "steps", "anchor", "audit", "reference", "prompts", "professions", "seed")
_MAX_KL = "Largest divergence on general code, the same for all; default: row's."


@expanded
def sweep(
    model: ModelArgument,
    config: SweepConfig,
    common: Annotated[
        EditConfig, Only((*COMMON, *options_of(ModelOptions)), helps=(("max_kl", _MAX_KL),))
    ],
    out: Annotated[
        Path | None, typer.Option(help="Directory for sweep.json, the figure and the patches.")
    ] = None,
    resume: ResumeOption = False,
    as_json: JsonOption = False,
) -> None:
    """Edit at every granularity under one protocol and compare."""
    from hfbiasedit import console
    from hfbiasedit.editing.judging.overview import sweep_table
    from hfbiasedit.editing.sweep import sweep as run_sweep

    document = run_sweep(model, replace(config, edit=common), out=out, resume=resume)
    for row in document["attempts"]:
        console.result(row["name"])
    if as_json:
        console.print_json(document)
        return
    console.table(sweep_table(document))
    if out is not None:
        console.message(f"wrote {out}")
