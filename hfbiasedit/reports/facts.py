"""Single statements about an audit or an edit, as (name, text) pairs for pages.

What the documents do not say is left out; nothing here prints a placeholder.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from hfbiasedit.documents import formatting as text
from hfbiasedit.documents.names import file_name, granularity_name, reference_name
from hfbiasedit.documents.reading import Document, Documents

Fact = tuple[str, str]


def difference(
    edit: Document | None, before: Document, after: Document | None
) -> dict[str, Any] | None:
    """The paired change of the held-out FB-Score: from `edit.json`, else computed."""
    if after is None:
        return None
    split = ((edit or {}).get("splits") or {}).get(before["dataset"]["split"]) or {}
    if split.get("difference_ci95"):
        return {"difference": split["difference"], "ci95": split["difference_ci95"]}
    from hfbiasedit.documents.comparison import paired_difference

    return paired_difference(before, after)


_BASELINES = {
    "even": "a model that always answers 50/50",
    "always_male": "one that always writes men",
    "always_female": "one that always writes women",
}


def baselines(audit: Document) -> list[tuple[str, float]]:
    """What trivial models would score on the same prompts, with their description."""
    found: Mapping[str, Any] = audit.get("baselines") or {}
    return [(name, found[key]) for key, name in _BASELINES.items() if found.get(key) is not None]


def warnings(documents: Documents) -> list[str]:
    """The warnings of the audits, each once; shared ones with the numbers of the second."""
    if documents.after is None:
        return list(documents.before.get("warnings") or ())
    before, after = (list(audit.get("warnings") or ()) for _, audit in documents.audits)
    kinds_before, kinds_after = ({_kind(text) for text in side} for side in (before, after))
    shared = [warning for warning in after if _kind(warning) in kinds_before]
    only_before = [warning for warning in before if _kind(warning) not in kinds_after]
    only_after = [warning for warning in after if _kind(warning) not in kinds_before]
    return [
        *shared,
        *(f"before the edit: {warning}" for warning in only_before),
        *(f"after the edit: {warning}" for warning in only_after),
    ]


def _kind(warning: str) -> str:
    """A warning without its numbers: before and after they differ a little."""
    return re.sub(r"[\d.]+", "", warning)


def edit_facts(edit: Document) -> list[Fact]:
    """What was done: granularity, budget, weights, cost, patch."""
    budget, selection = edit.get("budget") or {}, edit.get("selection") or {}
    kl, patch = edit.get("kl") or {}, edit.get("patch") or {}
    facts: list[Fact | None] = [
        ("granularity", f"{edit['granularity']}: {granularity_name(edit['granularity'])}"),
        _budget(budget),
        _fact("edited weights", selection.get("weights"), text.count),
        _fact("share of all weights", selection.get("share"), text.percent),
        _fact("rows touched", selection.get("rows"), text.count),
        _fact("tensors touched", selection.get("tensors"), text.count),
        _fact("saliency", edit.get("saliency"), str),
        _fact("weights whose stored bits changed", patch.get("weights"), text.count),
        _fact("patch file", patch.get("bytes"), text.file_size),
        _fact("KL to the original on general code, mean", kl.get("mean"), text.significant),
        _fact("the same, 99th percentile", kl.get("p99"), text.significant),
        _fact("largest mean KL allowed", kl.get("budget"), text.significant),
        _fact("general code kept as it was", (edit.get("anchor") or {}).get("name"), str),
        _fact("peak memory", edit.get("peak_memory_bytes"), text.file_size),
        _fact("time in all", (edit.get("seconds") or {}).get("total"), text.duration),
        _fact("seed", edit.get("seed"), str),
    ]
    return [fact for fact in facts if fact is not None]


def _budget(budget: Document) -> Fact | None:
    if budget.get("items") is None:
        return None
    shown = text.count(budget["items"])
    if budget.get("of"):
        shown += f" of {text.count(budget['of'])}"
    requested = str(budget.get("requested") or "")
    return ("budget", f"{shown} (asked for: {requested})" if requested else shown)


def method_facts(documents: Documents) -> list[Fact]:
    """What a reader needs to measure the same again."""
    audit = documents.before
    edit = documents.edit or {}
    facts: list[Fact | None] = [
        ("reference", reference_name(audit["dataset"]["reference"])),
        _fact("prompts digest", audit.get("prompts_digest"), str),
        _fact("base commit", audit["model"].get("revision"), str),
        _fact("patch digest", (edit.get("patch") or {}).get("digest"), str),
        _fact("noise of a model share by batching", audit.get("noise_floor"), _noise),
        _fact("measured in", audit.get("seconds"), text.duration),
        ("versions", _versions(edit.get("versions") or audit.get("versions") or {})),
    ]
    return [fact for fact in facts if fact is not None and fact[1]]


def audit_command(audit: Document, model: str) -> str:
    """The command that measures `model` on the same prompts; own files go by their names."""
    dataset = audit["dataset"]
    words = ["hfbiasedit", "audit", model]
    if dataset["config"] in ("quick", "core", "full"):
        words += ["--config", dataset["config"]]
    else:
        words += ["--prompts", "prompts.jsonl"]
    words += ["--split", dataset["split"]]
    if dataset["reference"] != "bls-2022":
        words += ["--reference", shlex.quote(file_name(dataset["reference"]))]
    return " ".join(words)


def _noise(floor: Mapping[str, Any]) -> str:
    """How far rounding alone moves a share, in points."""
    mean, largest = (text.significant(floor[key], 2) for key in ("mean", "largest"))
    return f"{mean} points on average, {largest} at most ({floor['prompts']} prompts scored alone)"


def _versions(found: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in found.items())


def _fact(name: str, value: Any, show: Any) -> Fact | None:
    return None if value is None else (name, show(value))


def verdict(edit: Document | None, before: Document, after: Document) -> str:
    """What the paired difference allows to say: `lower`, `higher` or `unchanged`."""
    found = difference(edit, before, after)
    assert found is not None
    low, high = found["ci95"]
    if high < 0:
        return "lower"
    return "higher" if low > 0 else "unchanged"
