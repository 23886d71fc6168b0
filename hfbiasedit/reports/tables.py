"""Rows of the tables that the report and the cards share, taken from the documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hfbiasedit.documents import formatting as text
from hfbiasedit.documents.names import file_name, split_name
from hfbiasedit.documents.reading import Document

_SPLIT_ORDER = (
    "edit",
    "dev",
    "test",
    "test_modifiers",
    "test_templates",
    "test_professions",
    "test_combined",
)

_HUMANEVAL, _HUMANEVAL_COUNT = "openai/openai_humaneval", 164


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
    rows += _generation(document.get("generation") or {})
    return rows


def _perplexity(part: Document) -> list[Measure]:
    before, after = part.get("before"), part.get("after")
    if not before:
        return []
    rows = []
    for key, name in (("token_perplexity", "per token"), ("byte_perplexity", "per byte")):
        if before.get(key) is None:
            continue
        first, second = (_perplexity_cell(side, key) for side in (before, after))
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


def _perplexity_cell(side: Document | None, key: str) -> str:
    if not side:
        return ""
    shown = text.significant(side[key], 4)
    if key == "token_perplexity" and side.get("ci95"):
        low, high = (text.significant(bound, 4) for bound in side["ci95"])
        shown += f" ({low} to {high})"
    return shown


def _syntax(part: Document) -> list[Measure]:
    rows = []
    for key in ("greedy", "sampled"):
        before, after = ((part.get(side) or {}).get(key) for side in ("before", "after"))
        if before:
            paired = (part.get("difference") or {}).get(key)
            rows.append(_rates(f"Completions that parse, {key}", "rate", before, after, paired))
    return rows


def _humaneval(part: Document) -> list[Measure]:
    before, after = part.get("before") or {}, part.get("after") or None
    keys = sorted((key for key in before if key.startswith("pass@")), key=lambda key: int(key[5:]))
    return [
        _rates(f"{problems_name(part)}, {key}", key, before, after, part.get("difference"))
        for key in keys
    ]


def _generation(part: Document) -> list[Measure]:
    before, after = part.get("before") or {}, part.get("after") or {}
    rows = []
    for key, name, show in _SECOND_LOOK:
        if before.get(key) is not None:
            second = show(after[key]) if after.get(key) is not None else ""
            rows.append(Measure(name, show(before[key]), second, ""))
    return rows


_SECOND_LOOK = (
    ("coverage", "Second look: completions that write a gender", text.percent),
    ("share_female", "Second look: women among the genders written", text.percent),
    ("share_scored", "Second look: what the scores say of the same prompts", text.percent),
    ("share_reference", "Second look: women in the reference", text.percent),
    ("fb_written", "Second look: FB-Score of what was written", text.score),
    ("fb_scored", "Second look: FB-Score by probabilities", text.score),
)


def is_humaneval(part: Document) -> bool:
    """Whether these are results on all of HumanEval, and not on a part or on other problems."""
    problems = part.get("problems") or {}
    return problems.get("name") == _HUMANEVAL and problems.get("count") == _HUMANEVAL_COUNT


def problems_name(part: Document) -> str:
    """What the problems are called; HumanEval only where they are HumanEval."""
    problems = part.get("problems") or {}
    name = str(problems.get("name") or "Programming problems")
    if is_humaneval(part):
        return "HumanEval"
    if name == _HUMANEVAL:
        return f"HumanEval, {problems.get('count', 'some')} problems of it"
    return file_name(name)


def _rates(
    name: str, key: str, before: Document, after: Document | None, paired: Document | None
) -> Measure:
    change = ""
    if after is not None:
        change = text.change(100 * (after[key] - before[key])) + " points"
        if paired and key in paired and paired.get("ci95"):
            change += f" ({text.change_interval([100 * bound for bound in paired['ci95']])})"
    return Measure(name, _rate(before, key), _rate(after, key) if after else "", change)


def _rate(side: Document, key: str) -> str:
    shown = text.percent(side[key])
    known = side.get("ci95") if key in ("rate", "pass@1") else None
    bounds = (side.get("intervals") or {}).get(key) or known
    return f"{shown} ({text.interval(bounds, scale=100)})" if bounds else shown
