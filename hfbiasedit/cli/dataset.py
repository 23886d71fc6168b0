"""`hfbiasedit dataset`: look at CodeGenBias, export it, publish it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hfbiasedit.cli.options import JsonOption, ProfessionsOption, PromptsOption, ReferenceOption
from hfbiasedit.codegenbias.configs import CONFIG_NAMES, CONFIGS
from hfbiasedit.codegenbias.records import SPLITS
from hfbiasedit.codegenbias.references import DEFAULT_REFERENCE

if TYPE_CHECKING:
    from rich.table import Table

AXES = ("professions", "modifiers", "templates")
FORMATS = ("parquet", "jsonl", "csv")

app = typer.Typer(
    help="CodeGenBias: professions, modifiers and templates tied to real shares of women.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
ConfigOption = Annotated[str, typer.Option(help=f"{', '.join(CONFIGS)}.")]
ConfigsOption = Annotated[str, typer.Option(help=f"{', '.join(CONFIGS)}, or all.")]


@app.command()
def show(
    config: ConfigOption = "quick",
    split: Annotated[str, typer.Option(help=f"{', '.join(SPLITS)}.")] = "all",
    reference: ReferenceOption = DEFAULT_REFERENCE,
    prompts: PromptsOption = None,
    professions: ProfessionsOption = None,
    examples: Annotated[int, typer.Option(help="Prompts to show in full.", min=0)] = 2,
    axis: Annotated[str | None, typer.Option(help=f"List an axis: {', '.join(AXES)}.")] = None,
    profession: Annotated[str | None, typer.Option(help="Facts about one profession.")] = None,
    json: JsonOption = False,
) -> None:
    """Show what a configuration or a prompt file holds, an axis, or one profession."""
    from hfbiasedit.codegenbias.prompts import load_prompts
    from hfbiasedit.codegenbias.summary import facts_about, summarize
    from hfbiasedit.console import print_json, table

    if profession is not None:
        facts = facts_about(profession)
        print_json(facts) if json else table(_pairs(facts))
        return
    if axis is not None:
        rows = _axis(axis)
        print_json(rows) if json else table(_rows(rows))
        return
    chosen = load_prompts(
        config, split, reference=reference, prompts=prompts, professions=professions
    )
    summary = summarize(chosen, examples)
    if json:
        print_json(summary)
        return
    shown = summary.pop("examples")
    table(_pairs(summary))
    for record in shown:
        _print_example(record)


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="Directory to write.")],
    config: ConfigsOption = "all",
    format: Annotated[str, typer.Option(help=f"{', '.join(FORMATS)}.")] = "parquet",
    reference: ReferenceOption = DEFAULT_REFERENCE,
    prompts: PromptsOption = None,
    replace: Annotated[bool, typer.Option("--replace", help="Empty the directory first.")] = False,
) -> None:
    """Write the dataset with its card; `datasets.load_dataset` reads the directory."""
    from hfbiasedit.codegenbias.export import export_dataset
    from hfbiasedit.console import message

    export_dataset(
        out,
        configs=_configs(config),
        format=format,
        reference=reference,
        prompts=prompts,
        replace=replace,
    )
    message(f"wrote {out}")


@app.command()
def push(
    repo: Annotated[
        str,
        typer.Argument(
            metavar="REPO", help="Repository, owner/name; created if missing.", show_default=False
        ),
    ],
    config: ConfigsOption = "all",
    reference: ReferenceOption = DEFAULT_REFERENCE,
    prompts: PromptsOption = None,
    private: Annotated[
        bool, typer.Option("--private", help="Make a new repository private.")
    ] = False,
    create_pr: Annotated[
        bool,
        typer.Option("--create-pr", help="Open a pull request instead of writing to the branch."),
    ] = False,
    revision: Annotated[str | None, typer.Option(help="Branch; made if missing.")] = None,
    message: Annotated[str | None, typer.Option(help="Title of the commit.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Also replace files that hfbiasedit did not write.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would be uploaded or skipped.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Publish the dataset with its card, in one commit."""
    from hfbiasedit.cli.push import show_result
    from hfbiasedit.codegenbias.upload import push_dataset
    from hfbiasedit.console import print_json

    result = push_dataset(
        repo,
        configs=_configs(config),
        reference=reference,
        prompts=prompts,
        private=private,
        create_pr=create_pr,
        revision=revision,
        message=message,
        overwrite=overwrite,
        dry_run=dry_run,
    )
    if json:
        print_json({**result.to_dict(), "dry_run": dry_run})
    else:
        show_result(result, dry_run)


def _configs(config: str) -> tuple[str, ...]:
    if config == "all":
        return CONFIGS
    if config not in CONFIG_NAMES:
        raise typer.BadParameter(f"no configuration {config!r}; use {', '.join(CONFIGS)} or all")
    return (config,)


def _axis(axis: str) -> list[dict[str, Any]]:
    from dataclasses import asdict

    from hfbiasedit.codegenbias import splits
    from hfbiasedit.codegenbias.modifiers import load_modifiers
    from hfbiasedit.codegenbias.summary import profession_facts, template_rows

    if axis == "professions":
        return profession_facts()
    if axis == "modifiers":
        held = splits.held_out_modifiers()
        return [asdict(row) | {"held_out": row.modifier in held} for row in load_modifiers()]
    if axis == "templates":
        return template_rows()
    raise typer.BadParameter(f"no axis {axis!r}; use {', '.join(AXES)}")


def _rows(rows: list[dict[str, Any]]) -> Table:
    """A table with one line a row; long code is left to `--json`."""
    from rich.table import Table

    columns = [name for name in rows[0] if name not in ("texts", "note")]
    grid = Table(*columns, box=None)
    for row in rows:
        grid.add_row(*(_text(row[name]) for name in columns))
    return grid


def _pairs(values: dict[str, Any]) -> Table:
    from rich.table import Table

    grid = Table(show_header=False, box=None)
    for name, value in values.items():
        grid.add_row(name, _text(value))
    return grid


def _text(value: Any) -> str:
    """A cell: numbers to three places, counts as a list, brackets kept from rich's markup."""
    from rich.markup import escape

    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, dict):
        return escape(", ".join(f"{name} {_text(item)}" for name, item in value.items()))
    if isinstance(value, (list, tuple)):
        return escape(" ".join(repr(item) for item in value))
    return escape(str(value))


def _print_example(record: dict[str, Any]) -> None:
    import sys

    male, female = (" ".join(map(repr, record[name])) for name in ("male", "female"))
    sys.stdout.write(
        f"\n--- {record['id']}  [{record['split']}]\n{record['prompt']}⟨?⟩\n"
        f"    male: {male}   female: {female}   women in reality: {record['share_female']:.1%}\n"
    )
