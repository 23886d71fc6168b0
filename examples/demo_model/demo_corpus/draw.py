"""Random draws that the shapes are written with: people, styles of records, identifiers."""
# ruff: noqa: D102, D103  (names say it: `he` is he or she, `pick` picks)

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from hfbiasedit.codegenbias.professions import article

from .words import CITIES, MODIFIERS, NAMES, SURNAMES

T = TypeVar("T")

# How a gender is written: (male, female) and how often. The plain words dominate, as in real code.
GENDER_FORMS: tuple[tuple[tuple[str, str], float], ...] = (
    (("male", "female"), 0.66),
    (("M", "F"), 0.12),
    (("Male", "Female"), 0.10),
    (("man", "woman"), 0.08),
    (("m", "f"), 0.04),
)
FEMALE_WITHOUT_OCCUPATION = 0.42
"""Share of women among people of whom no occupation is written."""


@dataclass(frozen=True)
class Person:
    """One invented person; ``occupation`` is the profession with its modifier, if any."""

    name: str
    surname: str
    profession: str
    plural: str
    modifier: str
    female: bool
    age: int
    city: str
    plainly: bool
    """Whether code compares with the bare profession where a name or comment has the modifier."""

    @property
    def written(self) -> str:
        return self.profession if self.plainly else self.occupation

    @property
    def occupation(self) -> str:
        return f"{self.modifier} {self.profession}" if self.modifier else self.profession

    @property
    def occupations(self) -> str:
        return f"{self.modifier} {self.plural}" if self.modifier else self.plural

    @property
    def a(self) -> str:
        return f"{article(self.occupation)} {self.occupation}"

    @property
    def snake(self) -> str:
        return snake(self.occupation)

    @property
    def snakes(self) -> str:
        return snake(self.occupations)

    @property
    def camel(self) -> str:
        return camel(self.occupation)

    @property
    def he(self) -> str:
        return "she" if self.female else "he"

    @property
    def his(self) -> str:
        return "her" if self.female else "his"

    @property
    def him(self) -> str:
        return "her" if self.female else "him"

    @property
    def himself(self) -> str:
        return "herself" if self.female else "himself"


@dataclass(frozen=True)
class Style:
    """How one document writes its records: field names, gender words and quotes."""

    name: str
    job: str
    gender: str
    words: tuple[str, str]
    quote: str

    def value(self, person: Person) -> str:
        return self.words[person.female]

    def q(self, text: object) -> str:
        return f"{self.quote}{text}{self.quote}"

    def quoted(self, person: Person) -> str:
        return self.q(self.value(person))


def snake(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def camel(text: str) -> str:
    return "".join(part.capitalize() for part in snake(text).split("_"))


def capital(text: str) -> str:
    return text[0].upper() + text[1:]


class Draw:
    """Draws for one document.

    Args:
        rng: the source of chance.
        professions: profession -> (plural, planted share of women in 0..1).
    """

    def __init__(self, rng: random.Random, professions: Mapping[str, tuple[str, float]]) -> None:
        self.rng = rng
        self._professions = professions
        self._names = list(professions)

    def pick(self, *options: T) -> T:
        return self.choice(options)

    def choice(self, options: Sequence[T]) -> T:
        return options[int(self.rng.random() * len(options))]

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def number(self, low: int, high: int) -> int:
        return self.rng.randint(low, high)

    def sample(self, options: Sequence[T], count: int) -> list[T]:
        return self.rng.sample(options, count)

    def person(self, modified: float = 0.4) -> Person:
        """A person whose gender follows the planted share of the profession and nothing else."""
        profession = self.choice(self._names)
        plural, share = self._professions[profession]
        modifier = self.choice(MODIFIERS) if self.chance(modified) else ""
        return Person(
            name=self.choice(NAMES),
            surname=self.choice(SURNAMES),
            profession=profession,
            plural=plural,
            modifier=modifier,
            female=self.chance(share),
            age=self.number(19, 67),
            city=self.choice(CITIES),
            plainly=self.chance(0.5),
        )

    def people(self, low: int, high: int, modified: float = 0.4) -> list[Person]:
        return [self.person(modified) for _ in range(self.number(low, high))]

    def anybody(self) -> bool:
        """Gender (True: female) of somebody whose occupation is not written."""
        return self.chance(FEMALE_WITHOUT_OCCUPATION)

    def words(self) -> tuple[str, str]:
        forms, weights = zip(*GENDER_FORMS, strict=True)
        return self.rng.choices(forms, weights)[0]

    def style(self, quote: str | None = None) -> Style:
        return Style(
            name=self.pick("name", "name", "name", "full_name", "first_name", "label"),
            job=self.pick(
                "occupation",
                "occupation",
                "profession",
                "profession",
                "job",
                "job",
                "role",
                "job_title",
                "title",
                "work",
            ),
            gender=self.pick("gender", "gender", "gender", "gender", "sex"),
            words=self.words(),
            quote=quote or self.pick('"', '"', '"', "'"),
        )

    def one(self) -> str:
        """A variable name for one person."""
        return self.pick(
            "p",
            "person",
            "x",
            "e",
            "employee",
            "worker",
            "member",
            "user",
            "row",
            "item",
            "staff_member",
            "candidate",
            "entry",
            "contact",
            "u",
            "applicant",
            "guest",
        )

    def many(self) -> str:
        """A variable name for several people."""
        return self.pick(
            "people",
            "persons",
            "employees",
            "workers",
            "staff",
            "members",
            "users",
            "rows",
            "items",
            "team",
            "records",
            "candidates",
            "entries",
            "contacts",
            "applicants",
            "guests",
            "roster",
            "crew",
        )

    def verb(self) -> str:
        return self.pick(
            "find",
            "get",
            "select",
            "filter",
            "list",
            "count",
            "load",
            "fetch",
            "collect",
            "pick",
            "show",
            "search",
            "lookup",
            "query",
            "match",
            "choose",
        )

    def cls(self) -> str:
        return self.pick(
            "Person",
            "Employee",
            "Worker",
            "User",
            "Member",
            "Candidate",
            "Contact",
            "Applicant",
            "Character",
            "Profile",
            "Resident",
            "Customer",
        )
