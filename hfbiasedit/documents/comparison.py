"""Audit reports side by side: paired differences where the prompts are the same.

Two scores are comparable only when they answer the same questions against the same
reference; then every profession is its own control, and the interval of the paired
difference is far narrower than those of the single scores suggest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from hfbiasedit.documents import formatting as text
from hfbiasedit.documents import runs
from hfbiasedit.documents.names import model_name
from hfbiasedit.documents.reading import AUDIT, read_audit
from hfbiasedit.documents.schemas import check_document
from hfbiasedit.documents.setups import setup_label, setup_warnings, setup_words
from hfbiasedit.documents.structures.audit_document import Audit
from hfbiasedit.documents.structures.comparison_document import (
    ComparedReport,
    ComparisonDocument,
)
from hfbiasedit.errors import BiasEditError, UsageError
from hfbiasedit.files import canonical_json


class PairedDifference(TypedDict):
    """A change of the FB-Score in points; negative is better."""

    difference: float
    ci95: list[float]


class Difference(TypedDict):
    """The same against the baseline of a comparison; no relative change of a score of 0."""

    difference: float
    difference_ci95: list[float]
    relative_change: float | None


@dataclass(frozen=True, repr=False)
class Comparison:
    """Several audits of the same prompts; the first is what the others are compared with.

    Attributes:
        labels: A short, distinct name for each report.
        reports: The audit documents.
        differences: For each report but the first, `fb_score` minus that of the first
            (negative is better), its 95% interval, and the relative change (None when the
            first score is 0).
        warnings: What a reader must know before trusting a difference.
    """

    labels: tuple[str, ...]
    reports: tuple[Audit, ...]
    differences: tuple[Difference, ...]
    warnings: tuple[str, ...]

    def __repr__(self) -> str:
        scores = ", ".join(
            f"{label} {report['fb_score']:.2f}"
            for label, report in zip(self.labels, self.reports, strict=True)
        )
        return f"Comparison({scores})"

    def _repr_html_(self) -> str:
        from hfbiasedit.documents.notebooks import html_table

        rows = []
        for number, (label, report) in enumerate(zip(self.labels, self.reports, strict=True)):
            change = ""
            if number:
                found = self.differences[number - 1]
                interval = text.change_interval(found["difference_ci95"])
                change = f"{text.change(found['difference'], 2)} ({interval})"
            score = f"{text.score(report['fb_score'], 2)} ({text.interval(report['ci95'])})"
            rows.append((label, score, change, text.change(report["lean"])))
        prompts = text.count(self.reports[0]["dataset"]["prompts"])
        title = f"FB-Score, lower is better ({prompts} prompts)"
        return html_table(title, ("model", "FB-Score", "difference", "lean"), rows)

    def to_dict(self) -> ComparisonDocument:
        """The document that `compare --json` prints."""
        rows = []
        for index, (label, report) in enumerate(zip(self.labels, self.reports, strict=True)):
            row: ComparedReport = {
                "label": label,
                "model": report["model"],
                "patch": report["patch"],
                "setup": setup_words(report),
                "fb_score": report["fb_score"],
                "ci95": report["ci95"],
                "lean": report["lean"],
                "amplification": report["amplification"],
                "parity_gap": report["parity_gap"],
                "gender_mass": report["gender_mass"],
                "low_mass_share": report["low_mass_share"],
            }
            if index:
                difference = self.differences[index - 1]
                row["difference"] = difference["difference"]
                row["difference_ci95"] = difference["difference_ci95"]
                row["relative_change"] = difference["relative_change"]
            rows.append(row)
        return {
            "schema": "hfbiasedit.comparison/1",
            "dataset": self.reports[0]["dataset"],
            "prompts_digest": self.reports[0]["prompts_digest"],
            "baseline": self.labels[0],
            "reports": rows,
            "warnings": list(self.warnings),
        }


def compare(reports: Sequence[Mapping[str, Any] | Path | str]) -> Comparison:
    """Compare audits of the same prompts; the first is the baseline.

    A report is a document, a report file, the output of `audit --out`, or a run directory,
    which stands for its two audits (before, after). A report that occurs twice, such as the
    base model of several runs, is taken once.

    Raises:
        UsageError: fewer than two different reports.
        BiasEditError: a report cannot be read, or two of them differ in prompts or reference.
    """
    entries = _distinct([entry for report in reports for entry in _read(report)])
    if len(entries) < 2:
        raise UsageError("a comparison needs two different audit reports, or a run directory")
    first_label, first = entries[0]
    for label, report in entries[1:]:
        _check_same_questions(first_label, first, label, report)
    documents = tuple(report for _, report in entries)
    return Comparison(
        labels=_labels(entries),
        reports=documents,
        differences=tuple(_difference(first, report) for report in documents[1:]),
        warnings=tuple(_warnings(documents)),
    )


def paired_difference(before: Audit, after: Audit) -> PairedDifference:
    """Change of the FB-Score with its 95% interval, bootstrap over the professions.

    Returns:
        `difference` and `ci95`, both in points of the FB-Score; negative is better.
    """
    from hfbiasedit.intervals import paired_interval

    second = {row["profession"]: row["fb"] for row in after["professions"]}
    pairs = [(100 * row["fb"], 100 * second[row["profession"]]) for row in before["professions"]]
    low, high = paired_interval([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    return {"difference": after["fb_score"] - before["fb_score"], "ci95": [low, high]}


def direction(bounds: Sequence[float]) -> int:
    """On which side of zero an interval lies, -1 or 1; 0 where that is not clear.

    An interval without width is that of a single profession, of which nothing is clear.
    """
    low, high = bounds
    return 0 if text.is_point(bounds) else (low > 0) - (high < 0)


def coin_difference(audit: Audit) -> PairedDifference:
    """An FB-Score minus that of a coin on the same professions; negative is closer."""
    from hfbiasedit.intervals import paired_interval

    model = [100 * row["fb"] for row in audit["professions"]]
    coin = [100 * abs(0.5 - row["share_female"]) for row in audit["professions"]]
    low, high = paired_interval(coin, model)
    return {"difference": audit["fb_score"] - audit["baselines"]["even"], "ci95": [low, high]}


def _difference(first: Audit, report: Audit) -> Difference:
    found = paired_difference(first, report)
    base = first["fb_score"]
    return {
        "difference": found["difference"],
        "difference_ci95": found["ci95"],
        "relative_change": found["difference"] / base if base else None,
    }


def _read(report: Mapping[str, Any] | Path | str) -> list[tuple[str, Audit]]:
    """The audits that one argument stands for, each with the name it may be called by."""
    if isinstance(report, Mapping):
        return [("", check_document(dict(report), Audit, "a report"))]
    path = Path(report)
    if path.is_dir() and (path / runs.AUDIT_BEFORE).is_file():
        return [
            (f"{path.name} {side}".strip(), read_audit(path / name))
            for side, name in (("before", runs.AUDIT_BEFORE), ("after", runs.AUDIT_AFTER))
        ]
    if path.is_dir():
        if not (path / AUDIT).is_file():
            raise BiasEditError(f"{path} holds no audit report ({AUDIT}) and is no run directory")
        return [(path.name, read_audit(path / AUDIT))]
    if not path.exists():
        raise BiasEditError(f"{path} does not exist; give report files or run directories")
    return [(path.stem, read_audit(path))]


def _distinct(entries: list[tuple[str, Audit]]) -> list[tuple[str, Audit]]:
    seen: set[str] = set()
    kept = []
    for label, report in entries:
        # Timing differs between two runs of the same audit; what was measured does not.
        identity = canonical_json({**report, "seconds": 0})
        if identity not in seen:
            seen.add(identity)
            kept.append((label, report))
    return kept


def _check_same_questions(first_label: str, first: Audit, label: str, report: Audit) -> None:
    names = f"{first_label or 'the first report'} and {label or 'another report'}"
    pairs = (
        ("reference", first["dataset"].get("reference"), report["dataset"].get("reference")),
        ("config", first["dataset"].get("config"), report["dataset"].get("config")),
        ("split", first["dataset"].get("split"), report["dataset"].get("split")),
    )
    for what, one, other in pairs:
        if one != other:
            raise BiasEditError(
                f"{names} cannot be compared: {what} {one} against {other}; audit both alike"
            )
    if not first.get("prompts_digest") or first["prompts_digest"] != report.get("prompts_digest"):
        raise BiasEditError(
            f"{names} cannot be compared: their prompts differ; audit both with the same "
            "--config, --split, --prompts, --limit and --seed, and the same version"
        )
    sides = ([row["profession"] for row in side["professions"]] for side in (first, report))
    if len({tuple(sorted(side)) for side in sides}) != 1:
        raise BiasEditError(f"{names} cannot be compared: they list different professions")


def _labels(entries: Sequence[tuple[str, Audit]]) -> tuple[str, ...]:
    """Short names that tell the reports apart: the model, else with patch, else with the file.

    What is unusual about a measurement (`setup_words`) is always said.
    """
    models = [model_name(str(report["model"]["id"])) for _, report in entries]
    setups = [setup_label(report) for _, report in entries]
    plain = [name + setup for name, setup in zip(models, setups, strict=True)]
    patched = [
        name + (" + patch" if report.get("patch") else "") + setup
        for name, setup, (_, report) in zip(models, setups, entries, strict=True)
    ]
    with_file = [
        f"{name} ({label})" if label else name
        for name, (label, _) in zip(patched, entries, strict=True)
    ]
    for names in (plain, patched, with_file):
        if len(set(names)) == len(names):
            return tuple(names)
    return tuple(f"{number}: {name}" for number, name in enumerate(with_file, 1))


def _warnings(reports: Sequence[Audit]) -> list[str]:
    warnings = []
    types = sorted({str(report["model"].get("dtype")) for report in reports})
    if len(types) > 1:
        warnings.append(
            f"the models ran in different types ({', '.join(types)}); "
            "rounding is part of the differences"
        )
    warnings += setup_warnings(list(reports))
    versions = sorted({str(report.get("version")) for report in reports})
    if len(versions) > 1:
        warnings.append(f"the reports are of different versions ({', '.join(versions)})")
    for report in reports:
        said = [*report["warnings"], *report.get("notes", ())]
        warnings += [warning for warning in said if warning not in warnings]
    return warnings
