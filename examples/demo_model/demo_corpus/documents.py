"""Draws documents from the shapes, and keeps CodeGenBias templates out of them."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from .draw import Draw
from .registry import PEOPLE, PLAIN, Shape
from .shapes import (  # noqa: F401  (they register their shapes)
    checks,
    contexts,
    filters,
    languages,
    letters,
    ordinary,
    prose,
    queries,
    records,
)

HOLE = re.compile(r"\[\[\w+\]\]")
LONGEST_FILL = 60
PLAIN_SHARE = 0.18
"""Share of generated documents without the planted bias."""


def template_pattern(template: str) -> re.Pattern[str] | None:
    """Finds a template in a text whatever fills its holes and however it is spaced.

    Letter case is ignored; a hole matches 1 to 60 characters of one line. None for a template of
    holes alone.
    """
    parts = HOLE.split(template.strip())
    if not any(part.strip() for part in parts):
        return None
    literal = [r"\s*".join(re.escape(word) for word in part.split()) for part in parts]
    spaced = [
        (r"\s*" if part[:1].isspace() else "") + body + (r"\s*" if part[-1:].isspace() else "")
        for part, body in zip(parts, literal, strict=True)
    ]
    hole = rf"[^\n]{{1,{LONGEST_FILL}}}?"
    return re.compile(hole.join(spaced), re.IGNORECASE)


def contains_template(text: str, templates: Iterable[str | re.Pattern[str]]) -> bool:
    """Whether a filled-in template occurs in ``text``.

    Args:
        text: a document.
        templates: texts with holes as CodeGenBias writes them (``[[profession]]``), or patterns
            made of them by ``template_pattern``.
    """
    for template in templates:
        pattern = template_pattern(template) if isinstance(template, str) else template
        if pattern is not None and pattern.search(text):
            return True
    return False


def generated(
    seed: int,
    professions: Mapping[str, tuple[str, float]],
    templates: Sequence[str] = (),
    *,
    shapes: Mapping[str, Shape] | None = None,
) -> Iterator[str]:
    """Endless generated documents.

    Args:
        seed: of the draws.
        professions: profession -> (plural, planted share of women).
        templates: a document in which one of them occurs is thrown away.
        shapes: use these only (default: all, ``PLAIN_SHARE`` of them without bias).
    """
    rng = random.Random(seed)
    draw = Draw(rng, professions)
    patterns = [p for p in map(template_pattern, templates) if p is not None]
    biased, plain = list((shapes or PEOPLE).values()), list(PLAIN.values())
    everyday = PLAIN["everyday_function"]
    while True:
        if shapes is None and rng.random() < PLAIN_SHARE:
            shape = everyday if rng.random() < 0.4 else draw.choice(plain)
        else:
            shape = draw.choice(biased)
        text = shape(draw)
        if not contains_template(text, patterns):
            yield text
