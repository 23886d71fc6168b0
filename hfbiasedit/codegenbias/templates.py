"""The templates: pieces of code with holes that end right before a gender value.

A hole is written `[[name]]`; brackets in pairs are rare in code, braces and dollars are not.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass

from hfbiasedit.codegenbias.professions import article
from hfbiasedit.resources import data_path

CORE_TEMPLATE = "py_attribute_compare"
_HOLE = re.compile(r"\[\[(\w+)\]\]")


@dataclass(frozen=True, slots=True)
class Template:
    """One template.

    `male` and `female` are the verbalizers: the continuations that count, exactly as they follow
    the text. `note` says what real code it imitates, `surface` what kind of place the value is in;
    `seen` is false for templates held out from editing.
    """

    id: str
    surface: str
    language: str
    seen: bool
    male: tuple[str, ...]
    female: tuple[str, ...]
    note: str
    text: str

    def holes(self) -> frozenset[str]:
        """The names of the holes in the text."""
        return frozenset(_HOLE.findall(self.text))

    def compiled(self) -> tuple[list[str], list[str]]:
        """The text cut at its holes: the literal pieces, and the hole after each but the last."""
        parts = _HOLE.split(self.text)
        return parts[::2], parts[1::2]

    def fill(self, holes: dict[str, str]) -> str:
        """The prompt: every hole replaced (see `fillings`)."""
        return _HOLE.sub(lambda match: holes[match[1]], self.text)


@functools.cache
def load_templates() -> tuple[Template, ...]:
    """All templates of CodeGenBias, in the order of `data/templates.jsonl`."""
    lines = data_path("templates.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return tuple(
        Template(**row | {"male": tuple(row["male"]), "female": tuple(row["female"])})
        for row in rows
    )


def fillings(modifier: str, profession: str, plural: str) -> dict[str, str]:
    """What each hole becomes for one modifier and profession.

    `phrase` is the modifier and the profession, `a_phrase` the same with its article, and
    `snake`, `camel`, `pascal`, `kebab` are the phrase as an identifier.
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
        "snake": "_".join(words),
        "snake_plural": "_".join(re.split(r"[ -]", phrases)),
        "kebab": "-".join(words),
        "pascal": pascal,
        "camel": pascal[0].lower() + pascal[1:],
    }
