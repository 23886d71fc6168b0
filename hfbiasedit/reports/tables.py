"""Rows of the tables that the report and the cards share, taken from the documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hfbiasedit.reports import formatting as text
from hfbiasedit.reports.documents import Document
from hfbiasedit.reports.names import split_name

_SPLIT_ORDER = (
    "edit",
    "dev",
    "test",
    "test_modifiers",
    "test_templates",
    "test_professions",
    "test_combined",
)


def splits(edit: Document) -> list[Document]:
    """The measured splits with their key as `split`, seen ones first."""
    found: Mapping[str, Any] = edit.get("splits") or {}
    order = [name for name in _SPLIT_ORDER if found.get(name)]
    order += sorted(name for name in found if name not in _SPLIT_ORDER and found[name])
    return [{"split": name, **found[name]} for name in order]


@dataclass(frozen=True)
class BreakdownRow:
    """One template, polarity, group or modifier: FB-Scores, `after` only in a run."""

    name: str
    prompts: int
    before: float
    after: float | None


def breakdown(key: str, before: Document, after: Document | None) -> list[BreakdownRow]:
    """The rows of `by_<key>` of one or two audits, in the order of the first."""
    second = {} if after is None else {row[key]: row for row in after.get(f"by_{key}") or ()}
    return [
        BreakdownRow(
            name=split_name(row[key]) if key == "split" else row[key],
            prompts=row["prompts"],
            before=row["fb_score"],
            after=second[row[key]]["fb_score"] if row[key] in second else None,
        )
        for row in before.get(f"by_{key}") or ()
    ]


@dataclass(frozen=True)
class Measure:
    """One measure of coding ability; all cells are text, empty where nothing was measured."""

    name: str
    before: str
    after: str
    change: str


def ability(document: Document | None) -> list[Measure]:
    """What the edit cost: one row per measure that was taken."""
    document = document or {}
    rows = _perplexity(document.get("perplexity") or {})
    rows += _syntax(document.get("syntax") or {})
    rows += _humaneval(document.get("humaneval") or {})
    return rows


def _perplexity(part: Document) -> list[Measure]:
    before, after = part.get("before"), part.get("after")
    if not before:
        return []
    rows = []
    for key, name in (("token_perplexity", "per token"), ("byte_perplexity", "per byte")):
        if before.get(key) is None:
            continue
        first, second = (text.significant(s[key], 4) if s else "" for s in (before, after))
        change = ""
        if after and part.get("relative_change") is not None and key == "token_perplexity":
            change = text.relative(part["relative_change"])
            if part.get("relative_change_ci95"):
                low, high = (text.relative(bound) for bound in part["relative_change_ci95"])
                change += f" ({low} to {high})"
        rows.append(Measure(f"Perplexity of code, {name} (lower is better)", first, second, change))
    extra = (
        ("kl_mean", "Mean KL between next-token distributions", text.significant),
        ("kl_p99", "99th percentile of that KL", text.significant),
        ("top1_changed", "Positions whose most likely token changed", text.percent),
    )
    for key, name, show in extra:
        if after and part.get(key) is not None:
            rows.append(Measure(name, "", "", show(part[key])))
    return rows


def _syntax(part: Document) -> list[Measure]:
    names = {"greedy": "greedy", "sampled": "sampled"}
    rows = []
    for key, name in names.items():
        before, after = ((part.get(side) or {}).get(key) for side in ("before", "after"))
        if before:
            rows.append(_rates(f"Completions that parse, {name}", before, after, "rate"))
    return rows


def _humaneval(part: Document) -> list[Measure]:
    before, after = part.get("before") or {}, part.get("after") or {}
    measures = [key for key in before if key.startswith("pass@")]
    return [
        _rates(f"{problems_name(part)}, {key}", before, after or None, key)
        for key in sorted(measures, key=lambda key: int(key[5:]))
    ]


def problems_name(part: Document) -> str:
    """What the problems are called; HumanEval only where they are HumanEval."""
    problems = part.get("problems")
    name = problems.get("name") if isinstance(problems, Mapping) else problems
    if not name or "openai_humaneval" in str(name):
        return "HumanEval"
    return str(name).replace("\\", "/").rsplit("/", 1)[-1]


def _rates(name: str, before: Document, after: Document | None, key: str) -> Measure:
    change = ""
    if after is not None:
        change = text.change(100 * (after[key] - before[key])) + " points"
    return Measure(name, _rate(before, key), _rate(after, key) if after else "", change)


def _rate(side: Document, key: str) -> str:
    shown = text.percent(side[key])
    if side.get("ci95") and (key in ("rate", "pass@1")):
        shown += f" ({text.interval(side['ci95'], scale=100)})"
    return shown
