"""`hfbiasedit sweep`: what each granularity buys."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from hfbiasedit.cli import options
from hfbiasedit.editing.config import EditConfig, SweepConfig
from hfbiasedit.levels import GRANULARITIES

DEFAULT = EditConfig()


def sweep(
    model: options.ModelArgument,
    granularities: Annotated[
        str, typer.Option(help="Levels to edit at, separated by commas.")
    ] = ",".join(GRANULARITIES),
    saliencies: Annotated[
        str | None, typer.Option(help="Saliencies to compare, separated by commas.")
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="Compare with random selections, full fine-tuning, lora (commas)."),
    ] = None,
    max_kl: Annotated[
        float | None,
        typer.Option(help="Largest divergence on general code, the same for all; default: row's."),
    ] = DEFAULT.max_kl,
    steps: Annotated[int, typer.Option(help="Steps of the optimiser.")] = DEFAULT.steps,
    anchor: Annotated[
        str | None, typer.Option(help="General code to leave alone: file, folder or dataset.")
    ] = DEFAULT.anchor,
    audit: Annotated[
        str, typer.Option(help="Prompts that outcomes are measured on: quick, core or full.")
    ] = DEFAULT.audit,
    reference: options.ReferenceOption = str(DEFAULT.reference),
    prompts: options.PromptsOption = DEFAULT.prompts,
    professions: options.ProfessionsOption = DEFAULT.professions,
    revision: options.RevisionOption = DEFAULT.revision,
    dtype: options.DtypeOption = DEFAULT.dtype,
    device: options.DeviceOption = DEFAULT.device,
    device_map: options.DeviceMapOption = DEFAULT.device_map,
    trust_remote_code: options.TrustOption = DEFAULT.trust_remote_code,
    seed: options.SeedOption = DEFAULT.seed,
    out: Annotated[
        Path | None, typer.Option(help="Directory for sweep.json, the figure and the patches.")
    ] = None,
    as_json: options.JsonOption = False,
) -> None:
    """Edit at every granularity under one protocol and compare."""
    common = replace(
        DEFAULT,
        max_kl=max_kl,
        steps=steps,
        anchor=anchor,
        audit=audit,
        reference=reference,
        prompts=prompts,
        professions=professions,
        revision=revision,
        dtype=dtype,
        device=device,
        device_map=device_map,
        trust_remote_code=trust_remote_code,
        seed=seed,
    )
    config = SweepConfig(_names(granularities), _names(saliencies), _names(baseline), common)
    from hfbiasedit import console
    from hfbiasedit.editing.judging.overview import sweep_table
    from hfbiasedit.editing.sweep import sweep as run_sweep

    document = run_sweep(model, config, out=out)
    if as_json:
        console.print_json(document)
        return
    console.table(sweep_table(document))
    if out is not None:
        console.message(f"wrote {out}")


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())
