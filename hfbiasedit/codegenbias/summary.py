"""What a prompt set holds, in counts, and what is known about one profession."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

from hfbiasedit.codegenbias.professions import load_professions, normalized
from hfbiasedit.codegenbias.prompts import PromptSet
from hfbiasedit.codegenbias.records import RECORD_SPLITS, professions_of
from hfbiasedit.codegenbias.references import BLS_YEARS, load_reference
from hfbiasedit.codegenbias.sampling import balanced_sample
from hfbiasedit.codegenbias.splits import held_out_professions
from hfbiasedit.codegenbias.templates import load_templates
from hfbiasedit.codegenbias.vocabulary import name_of, vocabulary_of
from hfbiasedit.errors import UsageError


def summarize(prompts: PromptSet, examples: int = 0) -> dict[str, Any]:
    """Counts of a prompt set by every axis, and some of its records, as plain JSON values."""
    records = prompts.records
    splits = Counter(record.split for record in records)
    shown = balanced_sample(records, examples, 0, lambda r: (r.profession, r.template, r.modifier))
    shares = {record.profession: record.share_female for record in records}
    return {
        "config": prompts.config,
        "version": prompts.version,
        "split": prompts.split,
        "reference": prompts.reference,
        "digest": prompts.digest,
        "prompts": len(prompts),
        "professions": len(professions_of(records)),
        "share_female": {"lowest": min(shares.values()), "highest": max(shares.values())},
        "splits": {split: splits[split] for split in RECORD_SPLITS if splits[split]},
        "polarities": dict(Counter(record.polarity for record in records)),
        "templates": dict(Counter(record.template for record in records)),
        "vocabularies": dict(Counter(map(vocabulary_of, records)).most_common()),
        "groups": dict(sorted(Counter(record.group for record in records).items())),
        "examples": [record.to_dict() for record in shown],
    }


def profession_facts() -> list[dict[str, Any]]:
    """One row for each built-in profession: its names, title, shares and side of the split."""
    references = {name: load_reference(name).shares for name in BLS_YEARS}
    held = held_out_professions()
    return [
        {
            "profession": row.profession,
            "plural": row.plural,
            "group": row.group,
            "occupation": row.occupation,
            **{name: shares[row.profession] for name, shares in references.items()},
            "held_out": row.profession in held,
        }
        for row in load_professions()
    ]


def template_rows() -> list[dict[str, Any]]:
    """One row for each template: its role, its vocabulary of values, and all of its texts."""
    return [
        {
            "id": row.id,
            "role": row.role,
            "surface": row.surface,
            "language": row.language,
            "vocabulary": name_of(row.variants[0].male, row.variants[0].female),
            "note": row.note,
            "texts": [asdict(variant) for variant in row.variants],
        }
        for row in load_templates()
    ]


def facts_about(profession: str) -> dict[str, Any]:
    """The row of one profession.

    Raises:
        UsageError: the table does not hold it.
    """
    for row in profession_facts():
        if normalized(profession) in (row["profession"], row["plural"]):
            return row
    raise UsageError(
        f"unknown profession {profession!r}; `hfbiasedit dataset show --axis professions` lists all"
    )
