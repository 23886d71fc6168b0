"""`hfbiasedit leaderboard`: many audits as one page and one Parquet file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hfbiasedit import console
from hfbiasedit.cli.options import JsonOption

if TYPE_CHECKING:
    from rich.table import Table

    from hfbiasedit.documents.structures.leaderboard_document import Leaderboard

DEFAULT_OUT = Path("hfbiasedit-leaderboard")


def leaderboard(
    audits: Annotated[
        list[str],
        typer.Argument(
            metavar="AUDIT...|DATASET",
            help="Report files, outputs of `audit --out`, run directories, folders of such, or a "
            "dataset of audits on the Hub (owner/name).",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(help="Directory to write.")] = DEFAULT_OUT,
    title: Annotated[str | None, typer.Option(help="Title of the page.")] = None,
    push: Annotated[
        str | None,
        typer.Option(metavar="SPACE", help="Publish it as this static Space; created if missing."),
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new Space private.")] = False,
    create_pr: Annotated[
        bool, typer.Option("--create-pr", help="With --push: open a pull request.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Also replace files that hfbiasedit did not write.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --push: list what would be published.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Rank audits of the same prompts on one page, with one Parquet file; publish it as a Space.

    Audits of other prompts or another reference are listed apart, with the reason.
    """
    from hfbiasedit.errors import UsageError
    from hfbiasedit.leaderboards.writing import PAGE, TITLE, push_leaderboard
    from hfbiasedit.leaderboards.writing import leaderboard as make

    if push is None and (private or create_pr or overwrite or dry_run):
        raise UsageError("--private, --create-pr, --overwrite and --dry-run belong to --push SPACE")
    board = make(list(audits), out=out, title=title or TITLE)
    if as_json:
        console.print_json(board)
    else:
        console.table(_table(board))
    for warning in board["warnings"]:
        console.warn(warning)
    console.message(f"written to {out}; open {out / PAGE} in a browser")
    if push is not None:
        from hfbiasedit.cli.push import show_result

        result = push_leaderboard(
            board,
            push,
            private=private,
            create_pr=create_pr,
            overwrite=overwrite,
            dry_run=dry_run,
        )
        if as_json:
            console.message(f"published: {(result.outcome and result.outcome.url) or result.url}")
        else:
            show_result(result, dry_run)


def _table(board: Leaderboard) -> Table:
    from rich.markup import escape
    from rich.table import Table

    from hfbiasedit.documents import formatting as text
    from hfbiasedit.leaderboards.naming import shown_name

    dataset = board["dataset"]
    table = Table(
        title=f"FB-Score on {escape(dataset['config'])}/{escape(dataset['split'])}, "
        f"{escape(dataset['reference'])}; lower is better, a coin scores "
        f"{text.score(board['baselines']['even'])}",
        title_justify="left",
    )
    table.add_column("rank", justify="right")
    table.add_column("model", overflow="fold")
    for name in ("FB-Score", "95% interval", "ahead of the next", "lean", "amplification"):
        table.add_column(name, justify="right")
    for row in board["rows"]:
        name = shown_name(row)
        if row["reason"] is not None:
            table.add_row("", escape(f"{name}: {row['reason']}"), text.score(row["fb_score"], 2))
            continue
        ahead, slope = row["ahead"], row["amplification"]
        clear = "" if ahead is None or ahead["clear"] else " (not clear)"
        table.add_row(
            str(row["rank"]),
            escape(name),
            text.score(row["fb_score"], 2),
            text.interval(row["ci95"]),
            "" if ahead is None else text.change(ahead["difference"]) + clear,
            text.change(row["lean"]),
            "" if slope is None else text.score(slope, 2),
        )
    return table
