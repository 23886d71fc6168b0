"""What an edit changed: FB-Scores per split before and after, and the documents of a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hfbiasedit.audits.breakdowns import PromptScores
from hfbiasedit.audits.shift import best_shift, shifted_score
from hfbiasedit.codegenbias.prompts import NoPrompts, PromptSet, load_prompts
from hfbiasedit.codegenbias.records import EDIT_SPLITS, TEST_SPLITS
from hfbiasedit.console import progress
from hfbiasedit.documents.counts import edited_weights
from hfbiasedit.documents.formatting import NOTHING, is_point
from hfbiasedit.documents.structures.edit_document import Edit, Split
from hfbiasedit.editing.config import EditConfig
from hfbiasedit.editing.keeping import Kept
from hfbiasedit.errors import BiasEditError
from hfbiasedit.intervals import interval, paired_interval
from hfbiasedit.scoring import fb_score as formulas

if TYPE_CHECKING:
    from rich.table import Table

    from hfbiasedit.audits.report import AuditReport
    from hfbiasedit.audits.resumption import PartialFile
    from hfbiasedit.models.loading import LoadedModel
    from hfbiasedit.scoring.engine import Scores

_BESIDE = (*EDIT_SPLITS, "test_combined")  # scored beside the audit of `test`


@dataclass
class Measurement:
    """The audit of the held-out split and the scores of every split, of one model."""

    report: AuditReport
    splits: dict[str, PromptScores]


@dataclass(frozen=True)
class Questions:
    """The prompts of an outcome: those of the audit and those of the splits beside it."""

    audit: PromptSet
    beside: PromptSet | None


def questions(config: EditConfig) -> Questions:
    """The prompts that an edit is judged on, the same before and after.

    Raises:
        BiasEditError: there are none.
    """
    return Questions(_prompts(config, ("test", "dev", "all")), _beside(config))


def measure(
    loaded: LoadedModel, asked: Questions, seed: int, kept: Kept | None = None, name: str = ""
) -> Measurement:
    """Audit a model on the held-out split and score the other splits.

    `kept` takes the scores batch by batch, under a name.
    """
    from hfbiasedit.audits import auditor

    partial, resume = _partial(loaded, asked.audit, kept, f"{name}.audit")
    report = auditor.measure(loaded, asked.audit, seed=seed, partial=partial, resume=resume)
    splits = _by_split(report.scores)
    held_out = [part for name, part in splits.items() if name in TEST_SPLITS]
    if held_out:
        splits["test"] = report.scores
    if asked.beside is not None:
        found = _score_beside(loaded, asked.beside, kept, f"{name}.splits")
        scores = PromptScores.of(asked.beside.records, found.log_male, found.log_female)
        splits = _by_split(scores) | splits
    order = (*EDIT_SPLITS, "test", *TEST_SPLITS, "test_combined")
    return Measurement(report, {name: splits[name] for name in order if name in splits})


def _score_beside(loaded: LoadedModel, prompts: PromptSet, kept: Kept | None, name: str) -> Scores:
    from hfbiasedit.scoring.continuations import encode
    from hfbiasedit.scoring.engine import score

    partial, resume = _partial(loaded, prompts, kept, name)
    known = partial.resume() if partial is not None and resume else None
    on_batch = None if partial is None else partial.add
    try:
        with progress("scoring the other splits", len(prompts)) as bar:
            encoded = encode(loaded.tokenizer, prompts.records)
            return score(loaded, encoded, progress=bar, known=known, on_batch=on_batch)
    finally:
        if partial is not None:
            partial.close()


def _partial(
    loaded: LoadedModel, prompts: PromptSet, kept: Kept | None, name: str
) -> tuple[PartialFile | None, bool]:
    """The file that takes the scores of some prompts, and whether to go on from what it holds."""
    from hfbiasedit.audits.identity import identity
    from hfbiasedit.audits.resumption import PartialFile
    from hfbiasedit.scoring.extensions import ENGINE

    if kept is None or kept.folder is None:
        return None, False
    path = kept.folder / f"{name}.jsonl"
    expected = identity(loaded, prompts.digest, "auto", ENGINE, False)
    return PartialFile(path, expected, len(prompts)), kept.resumed and path.is_file()


def compare_splits(before: Measurement, after: Measurement, seed: int) -> dict[str, Split]:
    """The `splits` of `edit.json`; scores times 100, intervals over professions.

    The shift beside which the edit is judged is chosen on the prompts of the edit split before
    the edit.
    """
    known = before.splits.get(EDIT_SPLITS[0])
    shift = None if known is None else best_shift(known)
    found = {
        name: compare_scores(scores, after.splits[name], seed)
        for name, scores in before.splits.items()
    }
    if shift is not None:
        for name, split in found.items():
            split["fb_shift"] = shifted_score(before.splits[name], shift)
    return found


def compare_scores(before: PromptScores, after: PromptScores, seed: int) -> Split:
    """Two measurements of the same prompts; scores times 100, intervals over professions."""
    first = 100 * before.per_profession(before.fb)
    second = 100 * after.per_profession(after.fb)
    mean_before, mean_after = float(first.mean()), float(second.mean())
    return {
        "prompts": len(before.records),
        "professions": len(before.professions),
        "fb_before": mean_before,
        "ci95_before": list(interval(first, seed=seed)),
        "fb_after": mean_after,
        "ci95_after": list(interval(second, seed=seed)),
        "difference": mean_after - mean_before,
        "difference_ci95": list(paired_interval(first, second, seed=seed)),
        "relative_change": mean_after / mean_before - 1 if mean_before else None,
        "gender_mass_before": float(before.mass.mean()),
        "gender_mass_after": float(after.mass.mean()),
        "lean_before": formulas.lean(before.share, before.factual, before.codes),
        "lean_after": formulas.lean(after.share, after.factual, after.codes),
    }


def _by_split(scores: PromptScores) -> dict[str, PromptScores]:
    names = list(dict.fromkeys(record.split for record in scores.records))
    found = {}
    for name in names:
        index = np.array([n for n, record in enumerate(scores.records) if record.split == name])
        records = [scores.records[number] for number in index]
        found[name] = PromptScores.of(records, scores.log_male[index], scores.log_female[index])
    return found


def _prompts(config: EditConfig, splits: tuple[str, ...]) -> PromptSet:
    """The first of the splits that has prompts (one's own prompts may lack some)."""
    last = NoPrompts("there are no prompts to judge the edit on")
    for split in splits:
        try:
            return load_prompts(
                config.audit,
                split,
                reference=config.reference,
                prompts=config.prompts,
                professions=config.professions,
                seed=config.seed,
            )
        except NoPrompts as error:
            last = error
    raise last


def _beside(config: EditConfig) -> PromptSet | None:
    parts = []
    for split in _BESIDE:
        try:
            parts.append(_prompts(config, (split,)))
        except BiasEditError:
            continue
    if not parts:
        return None
    records = tuple(record for part in parts for record in part.records)
    return PromptSet(records, parts[0].config, "+".join(_BESIDE), parts[0].reference)


def options(config: EditConfig) -> dict[str, Any]:
    """A configuration as plain JSON values."""
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in asdict(config).items()
    }


def deciding_options(config: EditConfig) -> dict[str, Any]:
    """Those of `options` that decide what the edit is, not where it is made or told of."""
    elsewhere = ("device", "device_map", "base_model", "check_quantized", "track")
    return {name: value for name, value in options(config).items() if name not in elsewhere}


def peak_memory() -> int:
    """Most memory held so far, in bytes: of the GPU where one is used, else of the process."""
    import torch

    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return int(torch.cuda.max_memory_allocated())
    try:
        import resource
        import sys
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * unit


def table(document: Edit) -> Table:
    """The outcome as a table for the terminal."""
    from rich.table import Table

    found = Table(title=f"{document['model']['id']}: {document['granularity']} edit", box=None)
    for name in ("split", "prompts", "FB before", "FB after", "change", "paired 95 %", "mass"):
        found.add_column(name, justify="left" if name == "split" else "right", no_wrap=True)
    rounded = {f"{r['split']}, {r['method']}": r for r in document.get("quantized", ())}
    for name, row in {**document["splits"], **rounded}.items():
        low, high = row["difference_ci95"]
        relative = row["relative_change"]
        change = "" if relative is None else f"{100 * relative:+.0f} %"
        mass = f"{row['gender_mass_before']:.3f} → {row['gender_mass_after']:.3f}"
        found.add_row(
            name.replace("test_", "unseen ").replace("unseen combined", "unseen, two or more"),
            str(row["prompts"]),
            f"{row['fb_before']:.1f}",
            f"{row['fb_after']:.1f}",
            change,
            NOTHING if is_point(row["difference_ci95"]) else f"{low:+.1f} to {high:+.1f}",
            mass,
        )
    return found


def sentences(document: Edit) -> list[str]:
    """What the table does not hold: weights, divergence, time, memory."""
    chosen, kl, seconds = edited_weights(document), document["kl"], document["seconds"]
    layers = ", ".join(f"{r['layer']} ({100 * r['share']:.0f} %)" for r in chosen["by_layer"])
    modules = ", ".join(f"{r['module']} ({100 * r['share']:.0f} %)" for r in chosen["by_module"])
    return [
        f"edited {chosen['weights']:,} weights ({100 * chosen['share']:.3g} % of the model) "
        f"in {chosen['tensors']} tensors",
        f"layers {layers}",
        f"modules {modules}",
        f"KL on general code {kl['mean']:.2g} nats per token (allowed {kl['budget']:g}), beyond "
        f"{kl.get('noise', 0):.2g} that arithmetic makes up",
        f"{seconds['total']:.1f} s (locate {seconds['locate']:.1f}, edit {seconds['edit']:.1f}, "
        f"audit {seconds['audit']:.1f}), "
        f"peak memory {document['peak_memory_bytes'] / 2**20:.0f} MiB",
    ]
