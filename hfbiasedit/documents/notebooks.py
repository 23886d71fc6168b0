"""Small HTML tables for notebooks (`_repr_html_`): reports, comparisons, runs, patches.

Everything shown is escaped: ids and labels come from files of others.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from hfbiasedit.documents import formatting as text
from hfbiasedit.documents.counts import edited_weights
from hfbiasedit.documents.names import model_name, reference_name, split_name
from hfbiasedit.documents.structures.audit_document import Audit
from hfbiasedit.documents.structures.edit_document import Edit, Split


def html_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A caption, a line of headings and rows of text; the first column names the row."""
    heads = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in rows
    )
    return (
        f"<table><caption>{escape(title)}</caption>"
        f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
    )


def audit_html(audit: Audit) -> str:
    """The headline of an audit, beside what a coin would score."""
    dataset, slope = audit["dataset"], audit["amplification"]
    rows = [
        ("FB-Score", text.score(audit["fb_score"], 2), text.interval(audit["ci95"])),
        ("a coin", text.score(audit["baselines"]["even"], 2), ""),
        ("lean", text.change(audit["lean"]), text.change_interval(audit["lean_ci95"])),
    ]
    if slope is not None:
        bounds = audit["amplification_ci95"]
        rows.append(
            ("amplification", text.score(slope, 2), text.interval(bounds, 2) if bounds else "")
        )
    rows.append(("gender mass", text.percent(audit["gender_mass"]), ""))
    title = (
        f"{model_name(audit['model']['id'])}{' + patch' if audit['patch'] else ''}: "
        f"{text.count(dataset['prompts'])} prompts, {dataset['config']}/{dataset['split']}, "
        f"{reference_name(dataset['reference'])}"
    )
    return html_table(title, ("", "value", "95% interval"), rows)


def edit_html(edit: Edit) -> str:
    """The scores of every split before and after an edit."""
    edited = edited_weights(edit)
    title = (
        f"{model_name(edit['model']['id'])}: {text.count(edited['weights'])} weights edited "
        f"({edit['granularity']}, {text.percent(edited['share'])}), "
        f"KL {text.significant(edit['kl']['mean'])}"
    )
    rows = [
        (
            split_name(name),
            text.count(split["prompts"]),
            text.score(split["fb_before"]),
            text.score(split["fb_after"]),
            _difference(split),
        )
        for name, split in edit["splits"].items()
    ]
    return html_table(title, ("prompts", "number", "before", "after", "difference"), rows)


def _difference(split: Split) -> str:
    interval = text.change_interval(split["difference_ci95"])
    return f"{text.change(split['difference'])} ({interval})"
