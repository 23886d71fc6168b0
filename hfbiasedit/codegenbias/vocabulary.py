"""Vocabularies: which pair of values a prompt asks for, such as `male/female` or `he/she`."""

from __future__ import annotations

from collections.abc import Sequence

from hfbiasedit.codegenbias.records import Record

# What code puts around a value: it belongs to the place, not to the value.
_AROUND = " \t\n\"'`,;:()[]{}<>"


def vocabulary_of(record: Record) -> str:
    """The vocabulary of a record, from its candidates alone, so that own prompts have one too.

    The first male and the first female candidate name it: `male/female`, `Male/Female`,
    `MALE/FEMALE`, `M/F`, `he/she`, `He/She`, `Mr./Ms.`, `1/2`, `False/True` (a flag that is true
    for women). Quotes, brackets and spaces around them do not count, letter case does.
    """
    return name_of(record.male, record.female)


def name_of(male: Sequence[str], female: Sequence[str]) -> str:
    """The name of the vocabulary of two lists of candidates; neither list is empty."""
    return f"{_bare(male[0])}/{_bare(female[0])}"


def _bare(candidate: str) -> str:
    """A candidate without what code puts around it; as it is where nothing else is in it."""
    return candidate.strip(_AROUND) or candidate
