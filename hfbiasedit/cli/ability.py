"""`hfbiasedit ability`: what an edit costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hfbiasedit.abilities.config import TASKS, AbilityConfig
from hfbiasedit.cli.options import (
    BatchSizeOption,
    DeviceMapOption,
    DeviceOption,
    DtypeOption,
    JsonOption,
    ReferenceOption,
    RevisionOption,
    SeedOption,
    TrustOption,
)

DEFAULT = AbilityConfig()


def ability(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="Hub id or local checkpoint directory; not needed with --samples.",
            show_default=False,
        ),
    ] = None,
    patch: Annotated[Path | None, typer.Option(help="Measure before and after this patch.")] = None,
    tasks: Annotated[str, typer.Option(help=f"Any of {', '.join(TASKS)}.")] = ",".join(
        DEFAULT.tasks
    ),
    text: Annotated[
        Path | None, typer.Option(help="File or folder of code for perplexity.")
    ] = DEFAULT.text,
    dataset: Annotated[
        str | None, typer.Option(help="Hub dataset for perplexity.")
    ] = DEFAULT.dataset,
    dataset_config: Annotated[str | None, typer.Option(help="Its configuration.")] = None,
    split: Annotated[str, typer.Option(help="Its split.")] = DEFAULT.split,
    field: Annotated[str, typer.Option(help="Its column of code.")] = DEFAULT.field,
    documents: Annotated[int, typer.Option(help="Documents taken from it.")] = DEFAULT.documents,
    anchor: Annotated[
        str | None, typer.Option(help="What the edit was anchored on, if not the default.")
    ] = DEFAULT.anchor,
    window: Annotated[int, typer.Option(help="Tokens of a window.")] = DEFAULT.window,
    stride: Annotated[
        int | None, typer.Option(help="Tokens it moves on by; default: half of it.")
    ] = DEFAULT.stride,
    stubs: Annotated[
        Path | None, typer.Option(help="Function stubs for syntax (JSONL: name, prompt).")
    ] = DEFAULT.stubs,
    allow_code_execution: Annotated[
        bool,
        typer.Option(
            "--allow-code-execution",
            help="Run what the model wrote, in limited child processes (isolation, not a sandbox).",
        ),
    ] = DEFAULT.allow_code_execution,
    problems: Annotated[
        Path | None, typer.Option(help="Problems in the layout of HumanEval (.jsonl[.gz]).")
    ] = DEFAULT.problems,
    samples: Annotated[
        Path | None, typer.Option(help="Judge these completions (.jsonl[.gz]); no MODEL.")
    ] = DEFAULT.samples,
    save_samples: Annotated[
        Path | None, typer.Option(help="Save completions here, and resume from here.")
    ] = DEFAULT.save_samples,
    n: Annotated[int, typer.Option("-n", help="Completions per problem.")] = DEFAULT.n,
    k: Annotated[str, typer.Option("-k", help="Which pass@k.")] = ",".join(map(str, DEFAULT.k)),
    temperature: Annotated[
        float | None, typer.Option(help="0 is greedy; default: 0 for one completion, else 0.8.")
    ] = DEFAULT.temperature,
    top_p: Annotated[float, typer.Option(help="Nucleus of sampling.")] = DEFAULT.top_p,
    max_new_tokens: Annotated[
        int, typer.Option(help="Longest completion.")
    ] = DEFAULT.max_new_tokens,
    strip_prompt: Annotated[
        bool, typer.Option("--strip-prompt", help="No white space at the end of problems' prompts.")
    ] = DEFAULT.strip_prompt,
    timeout: Annotated[
        int, typer.Option(help="Processor seconds for one judged program.")
    ] = DEFAULT.timeout,
    memory_mib: Annotated[
        int, typer.Option(help="Address space of one judged program.")
    ] = DEFAULT.memory_mib,
    workers: Annotated[
        int | None, typer.Option(help="Programs judged at a time; default: one per processor.")
    ] = DEFAULT.workers,
    limit: Annotated[
        int | None, typer.Option(help="Only the first documents, stubs, problems.")
    ] = DEFAULT.limit,
    people: Annotated[int, typer.Option(help="Prompts of the second look.")] = DEFAULT.people,
    looks: Annotated[int, typer.Option(help="Completions of each of them.")] = DEFAULT.looks,
    reference: ReferenceOption = str(DEFAULT.reference),
    batch_size: BatchSizeOption = DEFAULT.batch_size,
    seed: SeedOption = DEFAULT.seed,
    revision: RevisionOption = DEFAULT.revision,
    dtype: DtypeOption = DEFAULT.dtype,
    device: DeviceOption = DEFAULT.device,
    device_map: DeviceMapOption = DEFAULT.device_map,
    trust_remote_code: TrustOption = DEFAULT.trust_remote_code,
    out: Annotated[
        Path | None,
        typer.Option(help="Write the JSON document: a .json file, or a (run) directory for it."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure general coding ability: perplexity, syntax, pass@k; before and after a patch."""
    options = dict(locals())
    for name in ("model", "out", "as_json"):
        del options[name]
    options["tasks"] = tuple(part.strip() for part in tasks.split(",") if part.strip())
    try:
        options["k"] = tuple(int(part) for part in k.split(","))
    except ValueError:
        raise typer.BadParameter(f"-k {k}: give numbers such as 1,10") from None
    if samples is not None and tasks == ",".join(DEFAULT.tasks):
        options["tasks"] = ("humaneval",)
    config = AbilityConfig(**options)

    from hfbiasedit import console
    from hfbiasedit.abilities.measurement import measure_ability
    from hfbiasedit.abilities.summary import tables
    from hfbiasedit.documents import runs
    from hfbiasedit.files import write_json

    document = measure_ability(model, config)
    if out is not None:
        path = out if out.suffix == ".json" else out / runs.ABILITY
        write_json(path, document)
        console.message(f"wrote {path}")
    if as_json:
        console.print_json(document)
        return
    for table in tables(document):
        console.table(table)
