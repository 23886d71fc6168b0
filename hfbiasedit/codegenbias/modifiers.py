"""The modifiers: adjectives before the profession, with a polarity."""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass

from hfbiasedit.resources import data_path

POLARITIES = ("positive", "negative", "neutral")


@dataclass(frozen=True, slots=True)
class Modifier:
    """One adjective; the empty one leaves the profession as it is and counts as neutral."""

    modifier: str
    polarity: str


@functools.cache
def load_modifiers() -> tuple[Modifier, ...]:
    """All modifiers of CodeGenBias, in the order of `data/modifiers.csv`."""
    with open(data_path("modifiers.csv"), encoding="utf-8", newline="") as file:
        return tuple(Modifier(**row) for row in csv.DictReader(file))
