"""The record: one prompt of CodeGenBias with everything that is known about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

EDIT_SPLITS = ("edit", "dev")
# Exactly one axis unseen; their union is `test`.
TEST_SPLITS = ("test_modifiers", "test_templates", "test_professions")
# What a record can carry; `test_combined` holds the cells with two or three unseen axes.
RECORD_SPLITS = (*EDIT_SPLITS, *TEST_SPLITS, "test_combined")
SPLITS = ("all", *EDIT_SPLITS, "test", *TEST_SPLITS, "test_combined")


@dataclass(frozen=True, slots=True)
class Record:
    """One prompt.

    `male` and `female` are the continuations counted for each gender, `share_female` is the
    factual share of women (0..1) of `occupation` according to `reference`.
    """

    id: str
    profession: str
    plural: str
    modifier: str
    polarity: str
    template: str
    language: str
    prompt: str
    male: tuple[str, ...]
    female: tuple[str, ...]
    share_female: float
    reference: str
    occupation: str
    group: str
    split: str

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON values, in the documented order of columns."""
        row = {name: getattr(self, name) for name in COLUMNS}
        return row | {"male": list(self.male), "female": list(self.female)}


COLUMNS = tuple(field.name for field in fields(Record))


def splits_of(split: str) -> tuple[str, ...]:
    """The record splits that a name from `SPLITS` stands for (`test` and `all` are unions)."""
    return {"all": RECORD_SPLITS, "test": TEST_SPLITS}.get(split, (split,))


def professions_of(records: Iterable[Record]) -> list[str]:
    """The distinct professions of records, in order of first appearance."""
    return list(dict.fromkeys(record.profession for record in records))
