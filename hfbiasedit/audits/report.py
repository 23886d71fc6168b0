"""The result of an audit: numbers, breakdowns, warnings, and the per-prompt records behind them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hfbiasedit.audits.breakdowns import (
    PromptScores,
    breakdown,
    histogram,
    profession_rows,
)
from hfbiasedit.audits.caveats import caveats, notes
from hfbiasedit.audits.examples import examples
from hfbiasedit.audits.shift import shifted
from hfbiasedit.documents.structures.audit_document import (
    Audit,
    Backend,
    BatchPlan,
    Dataset,
    Headline,
    Noise,
)
from hfbiasedit.errors import BiasEditError, GateNotMet, UsageError
from hfbiasedit.files import write_json
from hfbiasedit.intervals import interval
from hfbiasedit.models.chat import OPENING, REQUEST
from hfbiasedit.scoring import fb_score as formulas
from hfbiasedit.scoring.fb_score import slope_interval
from hfbiasedit.scoring.noise import NoiseFloor

if TYPE_CHECKING:
    import pandas

    from hfbiasedit.codegenbias.prompts import PromptSet
    from hfbiasedit.scoring.scorer import Subject


@dataclass(frozen=True)
class AuditReport:
    """An audit's result; `to_dict` is the JSON document that everything else reads.

    Attributes:
        document: That document.
        scores: The measurement of each prompt.
    """

    document: Audit = field(repr=False)
    scores: PromptScores = field(repr=False)

    @property
    def fb_score(self) -> float:
        """FB-Score, 0 to 100, lower is better."""
        return float(self.document["fb_score"])

    @property
    def ci95(self) -> tuple[float, float]:
        """95 % interval of the FB-Score."""
        low, high = self.document["ci95"]
        return low, high

    @property
    def warnings(self) -> list[str]:
        """What a reader must know before trusting the score."""
        return list(self.document["warnings"])

    @property
    def notes(self) -> list[str]:
        """What belongs to the method: how far rounding moves a number."""
        return list(self.document.get("notes", ()))

    @property
    def records(self) -> dict[str, list[Any]]:
        """Per-prompt columns: the record's labels and what was measured."""
        from hfbiasedit.audits.rows import columns

        return columns(self.scores)

    def to_pandas(self) -> pandas.DataFrame:
        """The records as a data frame, one row per prompt."""
        import pandas

        return pandas.DataFrame(self.records)

    def table(self, width: int = 120) -> str:
        """What the command line prints, as text of at most `width` columns."""
        from rich.console import Console

        from hfbiasedit.audits.table import render
        from hfbiasedit.stacking import fitting

        console = Console(width=width, file=StringIO(), highlight=False, force_jupyter=False)
        with console.capture() as captured:
            console.print(fitting(render(self.document), console))
        return captured.get()

    def to_dict(self) -> Audit:
        """The report as plain JSON values."""
        return self.document.copy()

    def save(self, path: str | Path) -> None:
        """Write the report as JSON; the file appears complete or not at all."""
        write_json(Path(path), self.document)

    def save_records(self, path: str | Path) -> None:
        """Write one row per prompt, as Parquet or JSON lines by the file's suffix."""
        from hfbiasedit.audits.rows import write_records

        write_records(self.scores, Path(path))

    def check_gate(self, fail_above: float) -> None:
        """Raise when the score is above a limit.

        Raises:
            GateNotMet: It is. UsageError: no score could be (see `check_limit`).
        """
        check_limit(fail_above)
        if not self.fb_score <= fail_above:
            raise GateNotMet(
                f"the FB-Score {self.fb_score:.2f} is above the allowed {fail_above:g}"
            )

    def __repr__(self) -> str:
        low, high = self.ci95
        return f"AuditReport(fb_score={self.fb_score:.2f}, ci95=({low:.2f}, {high:.2f}))"

    def _repr_html_(self) -> str:
        from hfbiasedit.documents.notebooks import audit_html

        return audit_html(self.document)


def check_limit(fail_above: float) -> None:
    """Refuse the limit of a gate that every score would pass or none could; scores are 0 to 100.

    Raises:
        UsageError: it is not such a number.
    """
    if not 0 <= fail_above <= 100:
        raise UsageError(f"fail above {fail_above:g} can be no limit; give a number from 0 to 100")


def build_report(
    subject: Subject,
    prompts: PromptSet,
    scores: PromptScores,
    *,
    plan: BatchPlan,
    noise: NoiseFloor | None,
    backend: Backend | None,
    chat: bool,
    seconds: float,
    seed: int,
    samples: int,
) -> AuditReport:
    """Compute everything a report says from the per-prompt scores."""
    from hfbiasedit.versions import __version__, versions

    headline = _headline(scores, seed, samples)
    model = subject.describe()

    def rows(*keys: str) -> Any:
        return breakdown(scores, *keys, seed=seed, samples=samples)

    document: Audit = {
        "schema": "hfbiasedit.audit/1",
        "version": __version__,
        "model": model,
        "patch": subject.patch_digest,
        "dataset": _dataset(prompts, scores),
        "prompts_digest": prompts.digest,
        "reference": prompts.reference,
        **headline,
        "by_template": rows("template"),
        "by_polarity": rows("polarity"),
        "by_group": rows("group"),
        "by_modifier": rows("modifier"),
        "by_split": rows("split"),
        "by_language": rows("language"),
        "by_surface": rows("surface"),
        "by_template_group": rows("template", "group"),
        "histogram": histogram(scores),
        "professions": profession_rows(scores),
        "shifted": shifted(scores),
        "examples": examples(scores),
        "noise_floor": None if noise is None else cast(Noise, asdict(noise)),
        "chat": {"request": REQUEST, "opening": OPENING} if chat else None,
        "bootstrap": {"seed": seed, "samples": samples},
        "batch_plan": plan,
        "warnings": caveats(
            low_mass_share=headline["low_mass_share"],
            gender_mass=headline["gender_mass"],
            professions=len(scores.professions),
            prompts=len(prompts),
            model=model,
            noise=noise,
            backend=backend,
            plan=plan,
        ),
        "notes": notes(model=model, noise=noise, backend=backend, chat=chat),
        "versions": versions(),
        "seconds": round(seconds, 3),
    }
    if backend is not None:
        document["backend"] = backend
    return AuditReport(document, scores)


def _dataset(prompts: PromptSet, scores: PromptScores) -> Dataset:
    """What was asked; of a part, what makes it the same part again."""
    about: Dataset = {
        "config": prompts.config,
        "split": prompts.split,
        "prompts": len(prompts),
        "professions": len(scores.professions),
        "reference": prompts.reference,
    }
    if prompts.limit is not None:
        about["limit"] = prompts.limit
    if prompts.chosen:
        about["chosen_professions"] = True
    return about


def _headline(scores: PromptScores, seed: int, samples: int) -> Headline:
    """The score and its companions."""
    if not scores.records:
        raise BiasEditError("nothing to report: the selection holds no prompts")
    fb = 100 * scores.per_profession(scores.fb)
    leaning = 100 * scores.per_profession(scores.share - scores.factual)
    share, factual = (scores.per_profession(x) for x in (scores.share, scores.factual))
    slope = slope_interval(share, factual, seed=seed, samples=samples)
    mass = scores.mass
    trivial = formulas.baselines(scores.factual, scores.codes)
    return {
        "fb_score": float(fb.mean()),
        "ci95": list(interval(fb, seed=seed, samples=samples)),
        "lean": float(leaning.mean()),
        "lean_ci95": list(interval(leaning, seed=seed, samples=samples)),
        "amplification": formulas.amplification(share, factual),
        "amplification_ci95": None if slope is None else list(slope),
        "parity_gap": formulas.parity_gap(scores.share, scores.codes),
        "gender_mass": float(mass.mean()),
        "low_mass_share": float((mass < formulas.LOW_MASS).mean()),
        "baselines": {
            "even": trivial["even"],
            "always_male": trivial["always_male"],
            "always_female": trivial["always_female"],
        },
    }
