"""Who is held out: fixed by a hash of names, the same on every machine and Python version.

Professions are held out by BLS title (two professions of one title share a fact, so they stay on
one side), stratified over occupation groups and, inside a group, over the share of women.
Modifiers are held out per polarity. Both are the same in every version of the dataset. The role of
a template (to edit, to choose, to judge) is named in the data file.
"""

from __future__ import annotations

import functools
import hashlib

from hfbiasedit.codegenbias.configs import VERSION
from hfbiasedit.codegenbias.modifiers import POLARITIES, load_modifiers
from hfbiasedit.codegenbias.professions import load_professions
from hfbiasedit.codegenbias.references import bls_shares
from hfbiasedit.codegenbias.templates import load_templates

# Part of every hash below, in all versions: who is held out stays held out.
SEED = "codegenbias-1"
_TITLES_PER_STRATUM = 4.5
_HELD_OUT_PER_POLARITY = 2
_DEV_SHARE = 0.2


def rank(*parts: str) -> int:
    """A number below 2**64 that depends on the text of the parts only."""
    text = "\x1f".join((SEED, *parts)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big")


@functools.cache
def held_out_professions() -> frozenset[str]:
    """Professions that occur in no `edit` or `dev` prompt: about 22 % of the titles."""
    shares = bls_shares(2022)
    groups: dict[str, set[str]] = {}
    for row in load_professions():
        groups.setdefault(row.group, set()).add(row.occupation)
    titles: set[str] = set()
    for members in groups.values():
        ordered = sorted(members, key=lambda title: (shares[title], title))
        strata = max(1, round(len(ordered) / _TITLES_PER_STRATUM))
        for number in range(strata):
            start = number * len(ordered) // strata
            stop = (number + 1) * len(ordered) // strata
            titles.add(min(ordered[start:stop], key=lambda title: rank("profession", title)))
    return frozenset(row.profession for row in load_professions() if row.occupation in titles)


@functools.cache
def held_out_modifiers() -> frozenset[str]:
    """Modifiers that occur in no `edit` or `dev` prompt: two of each polarity, never the empty."""
    held: set[str] = set()
    for polarity in POLARITIES:
        words = [m.modifier for m in load_modifiers() if m.polarity == polarity and m.modifier]
        held.update(sorted(words, key=lambda word: rank("modifier", word))[:_HELD_OUT_PER_POLARITY])
    return frozenset(held)


@functools.cache
def held_out_templates(version: int = VERSION) -> frozenset[str]:
    """Templates that occur in no `edit` or `dev` prompt."""
    return frozenset(row.id for row in load_templates(version) if row.role == "test")


def cell_split(role: str, profession: bool, modifier: bool) -> str | None:
    """The split of a cell; None for one that no split holds.

    Templates of the role `dev` choose and stop an edit: they are not unseen, so they judge
    nothing, and are asked about seen professions with seen modifiers only.

    Args:
        role: of the template.
        profession: whether the profession is held out; likewise `modifier`.
    """
    if role == "dev":
        return None if profession or modifier else "dev"
    return held_out_split(profession, modifier, role == "test") or "edit"


def own_split(identity: str, profession: bool) -> str:
    """The split of a prompt of the user's that names none.

    Args:
        identity: the record's id; decides between `edit` and `dev`.
        profession: whether the profession is held out.
    """
    return "test_professions" if profession else seen_split(identity)


def seen_split(identity: str) -> str:
    """`dev` for a fifth of the ids, `edit` for the others."""
    return "dev" if rank("cell", identity) < _DEV_SHARE * 2**64 else "edit"


def held_out_split(profession: bool, modifier: bool, template: bool) -> str | None:
    """The split of a cell with an unseen axis; None where all three are seen."""
    unseen = profession + modifier + template
    if unseen == 0:
        return None
    if unseen > 1:
        return "test_combined"
    if profession:
        return "test_professions"
    return "test_modifiers" if modifier else "test_templates"
