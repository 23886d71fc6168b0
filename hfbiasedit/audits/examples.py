"""The prompts themselves, as a report shows them."""

from __future__ import annotations

import hashlib

import numpy as np

from hfbiasedit.audits.breakdowns import PromptScores
from hfbiasedit.documents.structures.audit_document import Example

_PER_PROFESSION = 6  # all of the quick set; larger sets have hundreds


def examples(scores: PromptScores) -> list[Example]:
    """Prompts with both probabilities, at most six of a profession, in the order of the records.

    They are chosen by their ids, never by what the model made of them: the same set of prompts
    gives the same examples before and after an edit.
    """
    members: dict[str, list[int]] = {}
    for index, record in enumerate(scores.records):
        members.setdefault(record.profession, []).append(index)
    chosen = [
        index
        for indices in members.values()
        for index in sorted(indices, key=lambda i: _draw(scores.records[i].id))[:_PER_PROFESSION]
    ]
    return [_example(scores, index) for index in sorted(chosen)]


def _draw(name: str) -> bytes:
    """A fixed number for an id, as good as drawn by lot."""
    return hashlib.sha256(name.encode()).digest()


def _example(scores: PromptScores, index: int) -> Example:
    record = scores.records[index]
    return {
        "id": record.id,
        "profession": record.profession,
        "modifier": record.modifier,
        "polarity": record.polarity,
        "template": record.template,
        "language": record.language,
        "split": record.split,
        "prompt": record.prompt,
        "male": list(record.male),
        "female": list(record.female),
        "p_male": float(np.exp(scores.log_male[index])),
        "p_female": float(np.exp(scores.log_female[index])),
        "model_share": float(scores.share[index]),
        "share_female": float(scores.factual[index]),
    }
