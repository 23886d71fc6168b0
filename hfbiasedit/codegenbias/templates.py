"""The templates: pieces of code with holes that end right before a gender value.

A hole is written `[[name]]`; brackets in pairs are rare in code, braces and dollars are not.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from typing import Any

from hfbiasedit.codegenbias.configs import VERSION, VERSIONS
from hfbiasedit.codegenbias.professions import article
from hfbiasedit.resources import data_path

CORE_TEMPLATE = "py_attribute_compare"
# Templates to edit with, to choose with while editing, and to judge with.
ROLES = ("edit", "dev", "test")
_FILES = {1: "templates.v1.jsonl", VERSION: "templates.jsonl"}
_HOLE = re.compile(r"\[\[(\w+)\]\]")


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to write a template.

    `male` and `female` are the verbalizers: the continuations that count, exactly as they follow
    the text.
    """

    text: str
    male: tuple[str, ...]
    female: tuple[str, ...]

    def holes(self) -> frozenset[str]:
        """The names of the holes in the text."""
        return frozenset(_HOLE.findall(self.text))

    def fill(self, holes: dict[str, str]) -> str:
        """The prompt: every hole replaced (see `fillings`)."""
        return _HOLE.sub(lambda match: holes[match[1]], self.text)


@dataclass(frozen=True, slots=True)
class Template:
    """One template: the same kind of place for a value, in one or more spellings.

    `role` is one of `ROLES`, `surface` says what kind of place the value is in, and `note` what
    real code the template imitates.
    """

    id: str
    role: str
    surface: str
    language: str
    note: str
    variants: tuple[Variant, ...]


@functools.cache
def load_templates(version: int = VERSION) -> tuple[Template, ...]:
    """All templates of a version of CodeGenBias, in the order of its data file."""
    lines = data_path(_FILES[version]).read_text(encoding="utf-8").split("\n")
    return tuple(_template(json.loads(line)) for line in lines if line)


@functools.cache
def surfaces() -> dict[str, str]:
    """The surface of every built-in template; the present version's where versions differ."""
    return {row.id: row.surface for version in VERSIONS for row in load_templates(version)}


def _template(row: dict[str, Any]) -> Template:
    """A line of the data file; a text is a string, or an object with verbalizers of its own."""
    texts = [{"text": text} if isinstance(text, str) else text for text in row["texts"]]
    variants = tuple(
        Variant(
            text["text"],
            tuple(text.get("male", row["male"])),
            tuple(text.get("female", row["female"])),
        )
        for text in texts
    )
    return Template(row["id"], row["role"], row["surface"], row["language"], row["note"], variants)


def fillings(modifier: str, profession: str, plural: str) -> dict[str, str]:
    """What each hole becomes for one modifier and profession.

    `phrase` is the modifier and the profession, `a_phrase` the same with its article, `title` the
    same in title case, and `snake`, `upper`, `camel`, `pascal`, `kebab` are the phrase as an
    identifier.
    """
    phrase = f"{modifier} {profession}".strip()
    phrases = f"{modifier} {plural}".strip()
    words = re.split(r"[ -]", phrase)
    pascal = "".join(word.capitalize() for word in words)
    a_phrase = f"{article(phrase)} {phrase}"
    return {
        "profession": profession,
        "phrase": phrase,
        "phrases": phrases,
        "a_phrase": a_phrase,
        "A_phrase": a_phrase[0].upper() + a_phrase[1:],
        "title": " ".join(word.capitalize() for word in phrase.split()),
        "snake": "_".join(words),
        "upper": "_".join(words).upper(),
        "snake_plural": "_".join(re.split(r"[ -]", phrases)),
        "kebab": "-".join(words),
        "pascal": pascal,
        "camel": pascal[0].lower() + pascal[1:],
    }
