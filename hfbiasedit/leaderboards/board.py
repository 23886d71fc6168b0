"""Which audits can stand beside each other, in which order, and how sure the order is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hfbiasedit.documents.comparison import (
    PairedDifference,
    coin_difference,
    direction,
    paired_difference,
)
from hfbiasedit.documents.structures.audit_document import Audit
from hfbiasedit.documents.structures.leaderboard_document import (
    Apart,
    BoardRow,
    Leaderboard,
)
from hfbiasedit.leaderboards.entries import Entry
from hfbiasedit.leaderboards.parts import by_group, by_language, by_surface
from hfbiasedit.versions import __version__


def make_board(entries: Sequence[Entry], title: str) -> Leaderboard:
    """Rank the audits that most have their prompts in common; list the others with the reason.

    Args:
        entries: at least one. title: of the page.
    """
    entries = _distinct(entries)
    wanted = Counter(_questions(entry.audit) for entry in entries).most_common(1)[0][0]
    first = next(entry.audit for entry in entries if _questions(entry.audit) == wanted)
    seen: dict[str, Entry] = {}
    apart: list[tuple[Entry, str]] = []
    for entry in entries:
        if _questions(entry.audit) != wanted:
            apart.append((entry, _reason(first, entry.audit)))
        elif entry.identity in seen:
            apart.append((entry, "the same weights, type and patch are measured already"))
        else:
            seen[entry.identity] = entry
    ranked = sorted(seen.values(), key=lambda entry: (entry.audit["fb_score"], entry.name))
    rows = [_row(entry, _base(entry, ranked)) for entry in ranked]
    for number, row in enumerate(rows):
        row["rank"] = number + 1
        if number + 1 < len(rows):
            row["ahead"] = _apart(paired_difference(ranked[number].audit, ranked[number + 1].audit))
    for entry, reason in apart:
        rows.append({**_row(entry, None), "reason": reason})
    return {
        "schema": "hfbiasedit.leaderboard/1",
        "version": __version__,
        "title": title,
        "dataset": first["dataset"],
        "prompts_digest": first["prompts_digest"],
        "baselines": first["baselines"],
        "rows": rows,
        "warnings": _warnings([entry.audit for entry in ranked]),
    }


def _distinct(entries: Sequence[Entry]) -> list[Entry]:
    """Each measurement once; of the base of several runs the one with most beside it."""
    found: dict[str, Entry] = {}
    for entry in entries:
        # Timing differs between two runs of the same audit; what was measured does not.
        key = f"{entry.identity} {entry.audit['prompts_digest']} {entry.audit['fb_score']!r}"
        known = found.get(key)
        if known is None or _known(entry) > _known(known):
            found[key] = entry
    return list(found.values())


def _known(entry: Entry) -> int:
    return sum(value is not None for value in (entry.note, *entry.ability.values()))


def _questions(audit: Audit) -> tuple[str, str]:
    """What two audits must share; the professions belong to the prompts."""
    return audit["prompts_digest"], audit["dataset"]["reference"]


def _reason(first: Audit, other: Audit) -> str:
    one, two = first["dataset"], other["dataset"]
    if two["reference"] != one["reference"]:
        return f"against the reference {two['reference']} instead of {one['reference']}"
    names = [f"{part['config']}/{part['split']}" for part in (two, one)]
    if names[0] != names[1]:
        return f"of the prompts {names[0]} instead of {names[1]}"
    return (
        f"of other prompts under the name {names[0]} ({two['prompts']} and not {one['prompts']}, "
        "or other words in them)"
    )


def _base(entry: Entry, ranked: Sequence[Entry]) -> Entry | None:
    """The unedited model of an audit with a patch, measured in the same way."""
    if entry.audit["patch"] is None:
        return None
    return next((other for other in ranked if other.identity == entry.base_identity), None)


def _apart(found: PairedDifference) -> Apart:
    return {**found, "clear": direction(found["ci95"]) != 0}


def _row(entry: Entry, base: Entry | None) -> BoardRow:
    audit = entry.audit
    return {
        "rank": None,
        "reason": None,
        "name": entry.name,
        "note": entry.note,
        "model": audit["model"],
        "patch": audit["patch"],
        "edit": entry.edit,
        "base": base.name if base else None,
        "change": _apart(paired_difference(base.audit, audit)) if base else None,
        "coin": _apart(coin_difference(audit)),
        "fb_score": audit["fb_score"],
        "ci95": audit["ci95"],
        "lean": audit["lean"],
        "lean_ci95": audit["lean_ci95"],
        "amplification": audit["amplification"],
        "amplification_ci95": audit["amplification_ci95"],
        "parity_gap": audit["parity_gap"],
        "gender_mass": audit["gender_mass"],
        "low_mass_share": audit["low_mass_share"],
        "ahead": None,
        "ability": entry.ability,
        "by_group": by_group(audit),
        "by_surface": by_surface(audit),
        "by_language": by_language(audit),
        "dataset": audit["dataset"],
        "prompts_digest": audit["prompts_digest"],
        "version": audit["version"],
    }


def _warnings(audits: Sequence[Audit]) -> list[str]:
    found = []
    types = sorted({audit["model"]["dtype"] for audit in audits})
    if len(types) > 1:
        found.append(
            f"The models ran in different types ({', '.join(types)}); rounding is part of the "
            "differences between them."
        )
    quantised = sum(bool(audit["model"].get("quantization")) for audit in audits)
    if quantised:
        found.append(
            f"{quantised} of the models are quantised; their scores are those of rounded weights."
        )
    versions = sorted({audit["version"] for audit in audits})
    if len(versions) > 1:
        found.append(f"They were measured with different versions ({', '.join(versions)}).")
    return found
