"""An ability document for the terminal: its tables, and what an edit did in a sentence or two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hfbiasedit.abilities.ability_task import TAKEN, task_of
from hfbiasedit.abilities.extensions import TASKS
from hfbiasedit.documents.formatting import NOTHING, is_point
from hfbiasedit.documents.setups import setup_label

if TYPE_CHECKING:
    from rich.table import Table


def tables(document: Mapping[str, Any]) -> Iterator[Table]:
    """One table per measured task, with a column for before and, with a patch, after."""
    for name in TASKS.names():
        if name in document and name not in TAKEN:
            table = task_of(name).table(document[name])
            ready_made = document["model"] is None
            about = ", ready-made samples" if ready_made else _setup(name, document)
            table.title = f"{table.title}{about}"
            table.min_width = len(table.title)  # a title is no wider than its table
            yield table


def sentences(document: Mapping[str, Any] | None) -> list[str]:
    """What the edit did to coding ability, a sentence per task."""
    lines = []
    if document and "perplexity" in document:
        found = document["perplexity"]
        low, high = (100 * value for value in found["relative_change_ci95"])
        lines.append(
            f"Perplexity of real code: {100 * found['relative_change']:+.2f} % "
            f"({low:+.2f} to {high:+.2f}); the likeliest token changes at "
            f"{100 * found['top1_changed']:.1f} % of places."
        )
    if document and "syntax" in document:
        before, after = (document["syntax"][side]["greedy"]["rate"] for side in ("before", "after"))
        lines.append(
            f"Completions that parse: {100 * before:.0f} % before, {100 * after:.0f} % after."
        )
    return lines


def _setup(name: str, document: Mapping[str, Any]) -> str:
    """How a task's model was asked; a text is not asked about."""
    asked = document if name != "perplexity" else {**document, "chat": False}
    return setup_label(asked)


def _table(title: str, part: Mapping[str, Any], change: str | None = "change") -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left", min_width=len(title))
    table.add_column("")
    if "after" not in part:
        table.add_column("value", justify="right")
        return table
    for column in ("before", "after", change):
        if column is not None:
            table.add_column(column, justify="right")
    return table


def _row(table: Table, part: Mapping[str, Any], name: str, value: Any, change: str = "") -> None:
    """Add a row; `value` formats one side."""
    if "after" in part:
        table.add_row(name, value(part["before"]), value(part["after"]), change)
    else:
        table.add_row(name, value(part["before"]))


def perplexity(part: Mapping[str, Any]) -> Table:
    """Perplexity of a text, and how far the edited model is from the original."""
    text = part["text"]
    title = f"Perplexity of {text['name']} ({part['before']['tokens']:,} tokens)"
    table = _table(title, part)
    change = ""
    if "after" in part:
        change = f"{part['relative_change']:+.2%} {_range(part['relative_change_ci95'], '+.2%')}"
    _row(table, part, "per token", lambda s: f"{s['token_perplexity']:.3f}", change)
    _row(table, part, "  95 % interval", lambda s: _range(s["ci95"], ".3f"))
    _row(table, part, "per byte", lambda s: f"{s['byte_perplexity']:.4f}")
    if "after" in part:
        table.add_row("KL, mean", "", f"{part['kl_mean']:.2g}", "nats per token")
        table.add_row("KL, 99th percentile", "", f"{part['kl_p99']:.2g}", "")
        table.add_row("top token changed", "", f"{part['top1_changed']:.2%}", "of positions")
    return table


def syntax(part: Mapping[str, Any]) -> Table:
    """How often completions parse."""
    table = _table(f"Completions that parse ({part['stubs']} function stubs)", part)
    for name in ("greedy", "sampled"):
        _row(table, part, name, lambda s, n=name: f"{s[n]['rate']:.1%}", _difference(part, name))
        _row(table, part, "  95 % interval", lambda s, n=name: _range(s[n]["ci95"], ".1%"))
    return table


def _difference(part: Mapping[str, Any], name: str) -> str:
    if "difference" not in part:
        return ""
    found = part["difference"][name]
    return f"{found['rate']:+.1%} {_range(found['ci95'], '+.1%')}"


def humaneval(part: Mapping[str, Any]) -> Table:
    """How many problems are solved, and the verdicts."""
    problems = part["problems"]
    judged, count = part["before"]["n"], problems["count"]
    of = f"{count} problems" if judged == count else f"{judged} of {count} problems"
    table = _table(f"pass@k of {problems['name']} ({of})", part)
    for key in part["before"]:
        if key.startswith("pass@"):
            change = ""
            if key == "pass@1" and "difference" in part:
                found = part["difference"]
                change = f"{found['pass@1']:+.1%} {_range(found['ci95'], '+.1%')}"
            _row(table, part, key, lambda s, name=key: f"{s[name]:.1%}", change)
            _row(
                table,
                part,
                "  95 % interval",
                lambda s, name=key: _range(s["intervals"][name], ".1%"),
            )
    for verdict in part["before"]["verdicts"]:
        _row(table, part, verdict, lambda s, name=verdict: f"{s['verdicts'][name]}")
    return table


def generation(part: Mapping[str, Any]) -> Table:
    """Genders that were written, beside scores and the reference."""
    title = f"What the model wrote ({part['prompts']} prompts, {part['looks']} completions each)"
    table = _table(title, part)
    rows = (
        ("women among the genders written", "share_female", ".1%"),
        ("  the model's scores say", "share_scored", ".1%"),
        ("  the reference", "share_reference", ".1%"),
        ("completions with a gender", "coverage", ".1%"),
        ("FB-Score from what was written", "fb_written", ".2f"),
        ("  from scores", "fb_scored", ".2f"),
        ("correlation over professions", "correlation", ".3f"),
    )
    for title, key, form in rows:
        _row(table, part, title, lambda s, k=key, f=form: "–" if s[k] is None else format(s[k], f))
    return table


def _range(interval: list[float], form: str) -> str:
    return NOTHING if is_point(interval) else f"[{interval[0]:{form}}, {interval[1]:{form}}]"
