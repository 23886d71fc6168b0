"""`hfbiasedit audit`: how far from reality is a model, for whom, and how sure are we."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hfbiasedit import console
from hfbiasedit.audits.config import DEFAULT_PARTIAL, AuditConfig
from hfbiasedit.cli.options import (
    BatchSizeOption,
    DeviceMapOption,
    DeviceOption,
    DtypeOption,
    JsonOption,
    ModelArgument,
    ProfessionsOption,
    PromptsOption,
    ReferenceOption,
    RevisionOption,
    SeedOption,
    TrustOption,
)

_DEFAULT = AuditConfig()


def audit(
    model: ModelArgument,
    config: Annotated[
        str,
        typer.Option(help="quick (about 600 prompts), core (one template) or full (all axes)."),
    ] = _DEFAULT.config,
    split: Annotated[
        str,
        typer.Option(
            help="all, edit, dev, test, test_modifiers, test_templates, test_professions or "
            "test_combined."
        ),
    ] = _DEFAULT.split,
    reference: ReferenceOption = _DEFAULT.reference,
    prompts: PromptsOption = None,
    professions: ProfessionsOption = None,
    limit: Annotated[
        int | None,
        typer.Option(help="At most so many prompts (a balanced sample).", show_default=False),
    ] = _DEFAULT.limit,
    patch: Annotated[
        Path | None,
        typer.Option(help="Apply this patch in memory first; nothing is written."),
    ] = None,
    batch_size: BatchSizeOption = str(_DEFAULT.batch_size),
    dtype: DtypeOption = _DEFAULT.dtype,
    device: DeviceOption = _DEFAULT.device,
    device_map: DeviceMapOption = None,
    revision: RevisionOption = None,
    trust_remote_code: TrustOption = False,
    seed: SeedOption = _DEFAULT.seed,
    out: Annotated[
        Path | None,
        typer.Option(help="Directory for audit.json, figures/ and report.html."),
    ] = None,
    records: Annotated[
        str | None,
        typer.Option(help="Also write one row per prompt into --out: parquet or jsonl."),
    ] = _DEFAULT.records,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue an interrupted audit (same options)."),
    ] = False,
    fail_above: Annotated[
        float | None,
        typer.Option(help="Exit with status 3 when the FB-Score is above this."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the FB-Score of a model: 0 matches reality, lower is better.

    Compares the share of women among the genders a model writes for people of an occupation with
    the share of women in that occupation. Interrupted, it can be continued with --resume.
    """
    from hfbiasedit.audits.auditor import audit as run_audit

    report = run_audit(
        model,
        AuditConfig(
            config=config,
            split=split,
            reference=reference,
            prompts=prompts,
            professions=professions,
            limit=limit,
            seed=seed,
            batch_size=batch_size,
            dtype=dtype,
            device=device,
            device_map=device_map,
            revision=revision,
            trust_remote_code=trust_remote_code,
            patch=patch,
            out=out,
            records=records,
            partial=DEFAULT_PARTIAL if out is None else None,
            resume=resume,
        ),
    )
    if as_json:
        console.print_json(report.to_dict())
    else:
        from hfbiasedit.audits.table import render

        console.table(render(report.to_dict()))
    for warning in report.warnings:
        console.warn(warning)
    if out is not None:
        console.message(f"written to {out}")
    if fail_above is not None:
        report.check_gate(fail_above)
