"""What of each template was seen while editing: its values, its language, its kind of place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from hfbiasedit.codegenbias.records import Record
from hfbiasedit.codegenbias.templates import surfaces
from hfbiasedit.codegenbias.vocabulary import vocabulary_of


@dataclass(frozen=True, slots=True)
class TemplateFacts:
    """One template of a set of prompts.

    `vocabularies`, `languages` are those of its prompts, the most frequent first; `surface` is
    the kind of place (empty for a template of the user's). Each `..._seen` says whether all of
    that occurs among the prompts that an edit worked on.
    """

    template: str
    prompts: int
    vocabularies: tuple[str, ...]
    languages: tuple[str, ...]
    surface: str
    template_seen: bool
    vocabulary_seen: bool
    language_seen: bool
    surface_seen: bool


def template_facts(
    records: Iterable[Record], edit_records: Iterable[Record]
) -> list[TemplateFacts]:
    """The facts of each template of `records`, in order of first appearance.

    Args:
        records: the prompts to describe, for instance those of a report.
        edit_records: the prompts that an edit worked on.
    """
    known = surfaces()
    edited = list(edit_records)
    seen_templates = {record.template for record in edited}
    seen_vocabularies = set(map(vocabulary_of, edited))
    seen_languages = {record.language for record in edited}
    seen_surfaces = {known.get(name, "") for name in seen_templates} - {""}
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.template, []).append(record)
    found = []
    for name, rows in groups.items():
        vocabularies = _by_frequency(map(vocabulary_of, rows))
        languages = _by_frequency(record.language for record in rows)
        surface = known.get(name, "")
        found.append(
            TemplateFacts(
                template=name,
                prompts=len(rows),
                vocabularies=vocabularies,
                languages=languages,
                surface=surface,
                template_seen=name in seen_templates,
                vocabulary_seen=seen_vocabularies.issuperset(vocabularies),
                language_seen=seen_languages.issuperset(languages),
                surface_seen=surface in seen_surfaces,
            )
        )
    return found


def _by_frequency(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name, _ in Counter(names).most_common())
