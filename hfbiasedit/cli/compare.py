"""`hfbiasedit compare`: audit reports side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hfbiasedit import console
from hfbiasedit.cli.options import JsonOption

if TYPE_CHECKING:
    from rich.table import Table

    from hfbiasedit.documents.comparison import Comparison, Difference
    from hfbiasedit.documents.structures.audit_document import Audit

_MOVED = 5


def compare(
    reports: Annotated[
        list[Path],
        typer.Argument(
            metavar="A B ...",
            help="Report files, directories of `audit --out`, or run directories (before and "
            "after). The first report is what the others are compared with.",
            show_default=False,
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Compare audits of the same prompts: paired differences with 95% intervals.

    Reports of different prompts or references are refused.
    """
    from hfbiasedit.documents.comparison import compare as compare_reports

    comparison = compare_reports(list(reports))
    for change in comparison.differences:
        console.result(change["difference"])
    if as_json:
        console.print_json(comparison.to_dict())
        return
    console.table(_scores(comparison))
    if len(comparison.reports) == 2:
        console.table(_professions(*comparison.reports))
    for warning in comparison.warnings:
        console.warn(warning)


def _scores(comparison: Comparison) -> Table:
    from rich.markup import escape
    from rich.table import Table

    from hfbiasedit.documents import formatting as text

    dataset = comparison.reports[0]["dataset"]
    table = Table(
        title="FB-Score with 95% interval, lower is better "
        f"({text.count(dataset['prompts'])} prompts, "
        f"{text.count(dataset['professions'])} professions, {escape(str(dataset['reference']))})",
        title_justify="left",
    )
    table.add_column("model", overflow="fold")
    for name in ("FB-Score", "difference", "relative", "lean", "amplification", "gender mass"):
        table.add_column(name, justify="right", no_wrap=True)
    changes: list[Difference | None] = [None, *comparison.differences]
    for label, report, change in zip(comparison.labels, comparison.reports, changes, strict=True):
        slope = report["amplification"]
        table.add_row(
            escape(label),
            f"{text.score(report['fb_score'], 2)}\n{text.interval(report['ci95'])}",
            *_change(change),
            text.change(report["lean"]),
            "" if slope is None else text.score(slope, 2),
            text.percent(report["gender_mass"]),
        )
    return table


def _change(change: Difference | None) -> tuple[str, str]:
    from hfbiasedit.documents import formatting as text

    if change is None:
        return "", ""
    relative = change["relative_change"]
    interval = text.change_interval(change["difference_ci95"])
    return (
        f"{text.change(change['difference'], 2)}\n{interval}",
        "" if relative is None else text.relative(relative),
    )


def _professions(before: Audit, after: Audit) -> Table:
    from rich.markup import escape
    from rich.table import Table

    from hfbiasedit.documents import formatting as text
    from hfbiasedit.documents.movements import better, movements, worse

    table = Table(title="Professions that changed most", title_justify="left")
    table.add_column("profession", overflow="fold")
    moves = movements(before, after)
    names = ("reference", "women before", "women after", "FB before", "FB after", "change")
    # What they are sorted by, where it is not the change itself.
    estimated = any(move.change_interval for move in moves)
    for name in (*names, "estimate") if estimated else names:
        table.add_column(name, justify="right")
    for group in (better(moves)[:_MOVED], worse(moves)[:_MOVED]):
        for move in group:
            cells = [
                escape(move.profession),
                text.percent(move.share_female),
                text.percent(move.share_before),
                text.percent(move.share_after),
                text.score(move.fb_before),
                text.score(move.fb_after),
                text.change(move.fb_change),
            ]
            table.add_row(*cells, *([text.change(move.change_estimate)] if estimated else []))
        table.add_section()
    return table
