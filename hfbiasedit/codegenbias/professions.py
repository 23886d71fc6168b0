"""The profession table: each profession is tied to one occupation title of BLS CPS table 11.

Facts about shares live in `references`; this module only knows names and titles.
"""

from __future__ import annotations

import csv
import functools
import re
from dataclasses import dataclass

from hfbiasedit.resources import data_path

# Written with a vowel but spoken with a consonant, and the reverse.
_CONSONANT_SOUND = re.compile(r"(uni|use|usu|eu|one\b)")
_VOWEL_SOUND = re.compile(r"(hon|hour|heir)")


@dataclass(frozen=True, slots=True)
class Profession:
    """One row of the table: names in lower case, `occupation` exactly as BLS titles it."""

    profession: str
    plural: str
    group: str
    occupation: str


@functools.cache
def load_professions() -> tuple[Profession, ...]:
    """All professions of CodeGenBias, in the order of `data/professions.csv`."""
    with open(data_path("professions.csv"), encoding="utf-8", newline="") as file:
        return tuple(Profession(**row) for row in csv.DictReader(file))


def normalized(name: str) -> str:
    """A profession's name as everything looks it up: lower case, single spaces.

    `Software  Developer` in a file means `software developer`, in prompts, references and lists
    alike; two spellings of one profession would else land on different sides of a split.
    """
    return " ".join(name.split()).lower()


def article(phrase: str) -> str:
    """The indefinite article that English puts before `phrase`: `a` or `an`."""
    word = phrase.lstrip().lower()
    if _VOWEL_SOUND.match(word):
        return "an"
    return "an" if word[:1] in "aeiou" and not _CONSONANT_SOUND.match(word) else "a"
