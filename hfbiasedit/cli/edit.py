"""`hfbiasedit edit`: locate, edit, and write a run directory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from hfbiasedit.cli import options
from hfbiasedit.editing.config import INCLUDES, SALIENCIES, EditConfig
from hfbiasedit.levels import GRANULARITIES, LEVELS

DEFAULT = EditConfig()
_BUDGETS = ", ".join(f"{name} {level.budget}" for name, level in LEVELS.items())


def edit(
    model: options.ModelArgument,
    granularity: Annotated[
        str, typer.Option(help=f"What is edited: {', '.join(GRANULARITIES)}.")
    ] = DEFAULT.granularity,
    budget: Annotated[
        str | None,
        typer.Option(
            help="A count, a share of the level's items (1%) or of the model's weights "
            f"({_BUDGETS})."
        ),
    ] = DEFAULT.budget,
    saliency: Annotated[
        str, typer.Option(help=f"How weights are judged: {', '.join(SALIENCIES)}.")
    ] = DEFAULT.saliency,
    blocks: Annotated[
        str, typer.Option(help="Blocks that may be edited: auto, all, or a list such as 0,3-7.")
    ] = DEFAULT.blocks,
    include: Annotated[
        list[str] | None,
        typer.Option(help=f"Let full and layer edit these too: {', '.join(INCLUDES)}."),
    ] = None,
    selection: Annotated[
        Path | None, typer.Option(help="Edit the weights of a saved selection.json.")
    ] = DEFAULT.selection,
    keep: Annotated[
        float, typer.Option(help="Weight of leaving general code alone, at the start.")
    ] = DEFAULT.keep,
    max_kl: Annotated[
        float | None,
        typer.Option(help="Largest divergence on general code; default: the level's."),
    ] = DEFAULT.max_kl,
    mass: Annotated[
        float, typer.Option(help="Weight of keeping the probability of gender words.")
    ] = DEFAULT.mass,
    steps: Annotated[int, typer.Option(help="Steps of the optimiser.")] = DEFAULT.steps,
    batch_size: Annotated[int, typer.Option(help="Prompts per step.")] = DEFAULT.batch_size,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Step size relative to the weights' (by default the level's)."),
    ] = DEFAULT.learning_rate,
    patience: Annotated[
        int, typer.Option(help="Evaluations without gain before stopping.")
    ] = DEFAULT.patience,
    solver: Annotated[str, typer.Option(help="auto, newton or adam.")] = DEFAULT.solver,
    anchor: Annotated[
        str | None, typer.Option(help="General code to leave alone: file, folder or dataset.")
    ] = DEFAULT.anchor,
    audit: Annotated[
        str, typer.Option(help="Prompts that the outcome is measured on: quick, core or full.")
    ] = DEFAULT.audit,
    ability: Annotated[
        bool, typer.Option("--ability", help="Measure coding ability before and after.")
    ] = DEFAULT.ability,
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
    out: Annotated[Path, typer.Option(help="Run directory to write.")] = Path("hfbiasedit-run"),
    as_json: options.JsonOption = False,
) -> None:
    """Bring a model closer to reality by editing few weights; writes a run directory."""
    config = EditConfig(
        granularity=granularity,
        budget=budget,
        saliency=saliency,
        blocks=blocks,
        include=tuple(include or ()),
        selection=selection,
        keep=keep,
        max_kl=max_kl,
        mass=mass,
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        patience=patience,
        solver=solver,
        anchor=anchor,
        audit=audit,
        ability=ability,
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
    from hfbiasedit.editing import editor, processes
    from hfbiasedit.editing.judging import outcome

    run = editor.edit(
        model, config, out=out, command=" ".join(["hfbiasedit", "edit", *sys.argv[2:]])
    )
    if processes.rank() != 0:
        return  # one of several processes; the first one writes and speaks
    document = run.edit
    if as_json:
        console.print_json(document)
        return
    console.table(outcome.table(document))
    for line in outcome.sentences(document):
        console.message(line)
    console.message(f"wrote {run.path}")
