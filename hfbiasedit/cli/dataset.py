"""`hfbiasedit dataset`: look at CodeGenBias, export it, publish it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hfbiasedit.cli.options import JsonOption
from hfbiasedit.cli.parameters import Only, expanded
from hfbiasedit.codegenbias.configs import CONFIGS
from hfbiasedit.codegenbias.options import ALL, ChoiceOptions, ExportOptions
from hfbiasedit.errors import unknown
from hfbiasedit.publishing.config import PushConfig

if TYPE_CHECKING:
    from rich.table import Table

AXES = ("professions", "modifiers", "templates")

app = typer.Typer(
    help="CodeGenBias: professions, modifiers and templates tied to real shares of women.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

_EXPORTED = ("config", "reference", "prompts")
_PUSHED = ("private", "create_pr", "revision", "message", "overwrite", "dry_run")
# There is no model here, and nothing is copied on the Hub.
_HELPS = (
    ("revision", "Branch; made if missing."),
    ("message", "Title of the commit."),
    ("dry_run", "List what would be uploaded or skipped."),
)


@app.command()
@expanded
def show(
    choice: Annotated[
        ChoiceOptions, Only(("config", "split", "reference", "prompts", "professions"))
    ],
    examples: Annotated[int, typer.Option(help="Prompts to show in full.", min=0)] = 2,
    axis: Annotated[str | None, typer.Option(help=f"List an axis: {', '.join(AXES)}.")] = None,
    profession: Annotated[str | None, typer.Option(help="Facts about one profession.")] = None,
    json: JsonOption = False,
) -> None:
    """Show what a configuration or a prompt file holds, an axis, or one profession."""
    from hfbiasedit.codegenbias.prompts import load_prompts
    from hfbiasedit.codegenbias.summary import facts_about, summarize
    from hfbiasedit.console import print_json, result, table

    if profession is not None:
        facts = facts_about(profession)
        print_json(facts) if json else table(_pairs(facts))
        return
    if axis is not None:
        rows = _axis(axis)
        for row in rows:
            result(next(iter(row.values())))
        print_json(rows) if json else table(_rows(rows))
        return
    chosen = load_prompts(
        choice.config,
        choice.split,
        reference=choice.reference,
        prompts=choice.prompts,
        professions=choice.professions,
    )
    summary = summarize(chosen, examples)
    result(len(chosen.records))
    if json:
        print_json(summary)
        return
    shown = summary.pop("examples")
    table(_pairs(summary))
    for record in shown:
        _print_example(record)


@app.command()
@expanded
def export(
    out: Annotated[Path, typer.Option(help="Directory to write.")],
    options: Annotated[ExportOptions, Only((*_EXPORTED, "format"))],
    replace: Annotated[bool, typer.Option("--replace", help="Replace an earlier export.")] = False,
    json: JsonOption = False,
) -> None:
    """Write the dataset with its card; `datasets.load_dataset` reads the directory."""
    from hfbiasedit.codegenbias.sharing.export import export_dataset
    from hfbiasedit.console import message, print_json
    from hfbiasedit.console import result as done

    export_dataset(
        out,
        configs=_configs(options.config),
        format=options.format,
        reference=str(options.reference),
        prompts=None if options.prompts is None else Path(options.prompts),
        replace=replace,
    )
    done(out)
    if json:
        files = sorted(path for path in out.rglob("*") if path.is_file())
        print_json(
            {"path": str(out), "files": [path.relative_to(out).as_posix() for path in files]}
        )
    else:
        message(f"wrote {out}")


@app.command()
@expanded
def push(
    repo: Annotated[
        str,
        typer.Argument(
            metavar="REPO", help="Repository, owner/name; created if missing.", show_default=False
        ),
    ],
    options: Annotated[ExportOptions, Only(_EXPORTED)],
    to: Annotated[PushConfig, Only(_PUSHED, helps=_HELPS)],
    json: JsonOption = False,
) -> None:
    """Publish the dataset with its card, in one commit."""
    from hfbiasedit.cli.push import address, show_result
    from hfbiasedit.codegenbias.sharing.upload import push_dataset
    from hfbiasedit.console import print_json
    from hfbiasedit.console import result as done

    result = push_dataset(
        repo,
        configs=_configs(options.config),
        reference=str(options.reference),
        prompts=None if options.prompts is None else Path(options.prompts),
        private=to.private,
        create_pr=to.create_pr,
        revision=to.revision,
        message=to.message,
        overwrite=to.overwrite,
        dry_run=to.dry_run,
    )
    done(address(result))
    if json:
        print_json({**result.to_dict(), "dry_run": to.dry_run})
    else:
        show_result(result, to.dry_run)


def _configs(config: str) -> tuple[str, ...]:
    return CONFIGS if config == ALL else (config,)


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
    raise unknown("axis", axis, AXES)


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
        f"    male: {male}   female: {female}   women, reference: {record['share_female']:.1%}\n"
    )
