"""The same scores for parts of the prompts: by template, polarity, group and so on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hfbiasedit.codegenbias.templates import surfaces
from hfbiasedit.documents.structures.audit_document import Histogram, Profession
from hfbiasedit.intervals import interval
from hfbiasedit.scoring import fb_score as formulas
from hfbiasedit.scoring.fb_score import Floats, Ints
from hfbiasedit.shrinkage import scatter, shrunk

if TYPE_CHECKING:
    from hfbiasedit.codegenbias.records import Record

HISTOGRAM_EDGES = tuple(float(edge) for edge in range(0, 101, 5))


@dataclass(frozen=True)
class PromptScores:
    """What was measured, one entry per prompt.

    Attributes:
        records: The prompts.
        log_male: Natural log of P(male).
        log_female: Natural log of P(female).
        share: Model share of women m.
        factual: Factual share of women f.
        codes: Number of the profession, in order of first appearance.
        professions: Names of the professions by number.
    """

    records: tuple[Record, ...]
    log_male: Floats
    log_female: Floats
    share: Floats
    factual: Floats
    codes: Ints
    professions: tuple[str, ...]

    @classmethod
    def of(cls, records: Sequence[Record], log_male: Floats, log_female: Floats) -> PromptScores:
        """Put records and their two log-probabilities together."""
        numbers: dict[str, int] = {}
        codes = [numbers.setdefault(record.profession, len(numbers)) for record in records]
        return cls(
            records=tuple(records),
            log_male=log_male,
            log_female=log_female,
            share=formulas.model_share(log_male, log_female),
            factual=np.array([record.share_female for record in records], dtype=np.float64),
            codes=np.array(codes, dtype=np.int64),
            professions=tuple(numbers),
        )

    @property
    def fb(self) -> Floats:
        """FB of each prompt, 0..1."""
        return np.abs(self.share - self.factual)

    @property
    def mass(self) -> Floats:
        """Gender mass of each prompt."""
        return formulas.gender_mass(self.log_male, self.log_female)

    def per_profession(self, values: Floats) -> Floats:
        """Mean of a value per profession."""
        return formulas.profession_means(values, self.codes)


def breakdown(scores: PromptScores, *keys: str, seed: int, samples: int) -> list[dict[str, Any]]:
    """Scores of the prompts that agree in the given fields of their records, one row each.

    A key may also be `surface`, that of the template; empty for templates of one's own. Rows are
    in order of first appearance. Within a row every profession has the same weight.
    """
    parts: dict[tuple[str, ...], list[int]] = {}
    for index, record in enumerate(scores.records):
        parts.setdefault(tuple(_label(record, key) for key in keys), []).append(index)
    rows = []
    for names, members in parts.items():
        chosen = np.array(members)
        codes = np.unique(scores.codes[chosen], return_inverse=True)[1].astype(np.int64)
        fb = formulas.profession_means(scores.fb[chosen], codes)
        rows.append(
            {
                **dict(zip(keys, names, strict=True)),
                "fb_score": float(100 * fb.mean()),
                "ci95": list(interval(100 * fb, seed=seed, samples=samples)),
                "lean": formulas.lean(scores.share[chosen], scores.factual[chosen], codes),
                "gender_mass": float(scores.mass[chosen].mean()),
                "prompts": len(members),
                "professions": len(fb),
            }
        )
    return rows


def _label(record: Record, key: str) -> str:
    label: str = surfaces().get(record.template, "") if key == "surface" else getattr(record, key)
    return label


def profession_rows(scores: PromptScores) -> list[Profession]:
    """One row per profession, in order of first appearance; shares and FB are 0..1.

    `estimate` and `ci95` know how many prompts are behind an FB (see `shrinkage`); they are left
    out where every profession has one prompt, which says nothing about chance.
    """
    first: dict[str, Record] = {}
    for record in scores.records:
        first.setdefault(record.profession, record)
    means = {
        # The mean of equal shares is that share, not its neighbour among floating-point numbers.
        "share_female": scores.per_profession(scores.factual).round(12),
        "model_share": scores.per_profession(scores.share),
        "fb": scores.per_profession(scores.fb),
        "gender_mass": scores.per_profession(scores.mass),
    }
    counts = np.bincount(scores.codes)
    rows: list[Profession] = [
        {
            "profession": name,
            "occupation": first[name].occupation,
            "group": first[name].group,
            "share_female": float(means["share_female"][number]),
            "model_share": float(means["model_share"][number]),
            "fb": float(means["fb"][number]),
            "gender_mass": float(means["gender_mass"][number]),
            "n": int(counts[number]),
        }
        for number, name in enumerate(scores.professions)
    ]
    within = scatter(scores.fb, scores.codes)
    if within is not None:
        found = shrunk(means["fb"], counts, within, [row["group"] for row in rows])
        ends = (np.clip(part, 0, 1) for part in (found.values, found.low, found.high))
        for row, value, low, high in zip(rows, *ends, strict=True):
            row["estimate"], row["ci95"] = float(value), [float(low), float(high)]
    return rows


def histogram(scores: PromptScores) -> Histogram:
    """Prompts by FB (0 to 100 in steps of 5) for each polarity."""
    polarities = np.array([record.polarity for record in scores.records])
    fb = 100 * scores.fb
    return {
        "edges": list(HISTOGRAM_EDGES),
        "by_polarity": {
            str(name): np.histogram(fb[polarities == name], HISTOGRAM_EDGES)[0].tolist()
            for name in dict.fromkeys(polarities.tolist())
        },
    }
