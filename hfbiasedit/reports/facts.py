"""Single statements about an audit or an edit, as (name, text) pairs for pages.

What the documents do not say is left out; nothing here prints a placeholder.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from hfbiasedit.documents import formatting as text
from hfbiasedit.documents.comparison import PairedDifference, direction, paired_difference
from hfbiasedit.documents.counts import edited_weights
from hfbiasedit.documents.names import file_name, granularity_name, reference_name
from hfbiasedit.documents.reading import Documents
from hfbiasedit.documents.structures.audit_document import Audit, Backend
from hfbiasedit.documents.structures.edit_document import Budget, Divergence, Edit

Fact = tuple[str, str]
# Those that a model can be loaded in; that of a server is not known, nor can it be asked for.
_DTYPES = ("float16", "bfloat16", "float32", "float64")


def difference(edit: Edit | None, before: Audit, after: Audit | None) -> PairedDifference | None:
    """The paired change of the held-out FB-Score: from `edit.json`, else computed."""
    if after is None:
        return None
    split = edit["splits"].get(before["dataset"]["split"]) if edit else None
    if split is not None:
        return {"difference": split["difference"], "ci95": split["difference_ci95"]}
    return paired_difference(before, after)


_BASELINES = {
    "even": "a model that always answers 50/50",
    "always_male": "one that always writes men",
    "always_female": "one that always writes women",
}


def baselines(audit: Audit) -> list[tuple[str, float]]:
    """What trivial models would score on the same prompts, with their description."""
    found: Mapping[str, Any] = audit["baselines"]
    return [(name, found[key]) for key, name in _BASELINES.items()]


def _said(documents: Documents) -> list[str]:
    """Warnings and notes of the audits, each once; shared ones with the numbers of the second."""
    sides = [[*audit["warnings"], *audit.get("notes", ())] for _, audit in documents.audits]
    if len(sides) == 1:
        return sides[0]
    before, after = sides
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


def edit_facts(edit: Edit) -> list[Fact]:
    """What was done: granularity, budget, weights, cost, patch."""
    edited, kl, patch = edited_weights(edit), edit["kl"], edit["patch"]
    return [
        ("granularity", f"{edit['granularity']}: {granularity_name(edit['granularity'])}"),
        ("budget", _budget(edit["budget"])),
        ("edited weights", text.count(edited["weights"])),
        ("share of all weights", text.percent(edited["share"])),
        ("rows touched", text.count(edited["rows"])),
        ("tensors touched", text.count(edited["tensors"])),
        ("saliency", edit["saliency"]),
        ("patch file", text.file_size(patch["bytes"])),
        (
            "KL to the original on held-back general code, mean",
            _beyond_noise(kl),
        ),
        ("the same, 99th percentile", text.significant(kl["p99"])),
        ("largest mean KL allowed", text.significant(kl["budget"])),
        ("general code kept as it was", edit["anchor"]["name"]),
        ("peak memory", text.file_size(edit["peak_memory_bytes"])),
        ("time in all", text.duration(edit["seconds"]["total"])),
        ("seed", _seed(edit)),
    ]


def _beyond_noise(kl: Divergence) -> str:
    """The mean divergence, and the noise that it does not contain, where that was measured."""
    noise = kl.get("noise")
    said = "" if noise is None else f" (and {text.significant(noise)} of arithmetic noise)"
    return f"{text.significant(kl['mean'])}{said}"


def _seed(edit: Edit) -> str:
    """The seed and what else decides the draws and sums of an edit."""
    threads = edit.get("threads")
    said = "" if threads is None else f", {threads} {'thread' if threads == 1 else 'threads'}"
    return f"{edit['seed']}{said}"


def _budget(budget: Budget) -> str:
    shown = text.count(budget["items"])
    if budget["of"]:
        shown += f" of {text.count(budget['of'])}"
    return f"{shown} (asked for: {budget['requested']})"


def method_facts(documents: Documents) -> list[Fact]:
    """What a reader needs to measure the same again; of a run, the noise is that after the edit,
    which the warnings speak of too."""
    audit, edit = documents.before, documents.edit
    facts = [
        ("reference", reference_name(audit["dataset"]["reference"])),
        ("prompts digest", audit["prompts_digest"]),
        ("base commit", audit["model"]["revision"] or ""),
        ("patch digest", edit["patch"]["digest"] if edit else ""),
        ("noise of a model share by batching", _noise((documents.after or audit)["noise_floor"])),
        ("said when it was measured", " · ".join(_said(documents))),
        ("measured in", text.duration(audit["seconds"])),
        ("versions", _versions((edit or audit)["versions"])),
        *(_constants(edit) if edit else []),
    ]
    return [fact for fact in facts if fact[1]]


def _constants(edit: Edit) -> list[Fact]:
    """Which constants were chosen by looking at which prompts of which models."""
    found: dict[str, list[str]] = {}
    for row in edit.get("constants", []):
        shown = f"{row['constant']} ({text.significant(row['value'])})"
        found.setdefault(row["chosen_on"], []).append(shown)
    return [(f"constants chosen on {on}", ", ".join(names)) for on, names in found.items()]


def audit_command(audit: Audit, model: str, revision: str | None = None) -> str:
    """The command that measures `model`, at a commit, in the same way; own files go by their names.

    Documents do not tell what was asked for from what was the default, which may be another one
    where the command is typed; so the dtype is always named.
    """
    dataset = audit["dataset"]
    words = ["hfbiasedit", "audit", model]
    if dataset["config"] == "custom":
        words += ["--prompts", "prompts.jsonl"]
    else:
        words += ["--config", dataset["config"]]
    words += ["--split", dataset["split"]]
    if dataset.get("chosen_professions"):
        words += ["--professions", "professions.txt"]
    if "limit" in dataset:
        words += ["--limit", str(dataset["limit"])]
    if audit["bootstrap"]["seed"]:
        words += ["--seed", str(audit["bootstrap"]["seed"])]
    if dataset["reference"] != "bls-2022":
        words += ["--reference", shlex.quote(file_name(dataset["reference"]))]
    if "gguf" in audit["model"]:
        words += ["--gguf", shlex.quote(audit["model"]["gguf"]["file"])]
    if "quantized" in audit["model"]:
        words += ["--quantize", audit["model"]["quantized"]["method"]]
    if audit.get("chat"):
        words.append("--chat")
    if backend := audit.get("backend"):
        words += _backend(backend)
    if audit["model"]["dtype"] in _DTYPES:
        words += ["--dtype", audit["model"]["dtype"]]
    if revision is not None:
        words += ["--revision", revision]
    return " ".join(words)


def _backend(backend: Backend) -> list[str]:
    """The options of a backend; arguments that reports do not hold (addresses) are missing."""
    words = ["--backend", backend["name"]]
    if "model" in backend:
        told = (f"{name}={value}" for name, value in backend.get("arguments", {}).items())
        words += ["--backend-args", shlex.quote(",".join([backend["model"], *told]))]
    return words


def _noise(floor: Mapping[str, Any] | None) -> str:
    """How far rounding alone moves a share, in points; nothing where that is not known."""
    if floor is None:
        return ""
    mean, largest = (text.significant(floor[key], 2) for key in ("mean", "largest"))
    return f"{mean} points on average, {largest} at most ({floor['prompts']} prompts scored alone)"


def _versions(found: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in found.items())


def verdict(edit: Edit | None, before: Audit, after: Audit) -> str:
    """What the paired difference allows to say: `lower`, `higher` or `unchanged`."""
    found = difference(edit, before, after)
    assert found is not None
    return {-1: "lower", 0: "unchanged", 1: "higher"}[direction(found["ci95"])]
