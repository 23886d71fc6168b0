"""The user's own prompts and lists of professions, checked row by row."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hfbiasedit.codegenbias.modifiers import POLARITIES
from hfbiasedit.codegenbias.professions import Profession, load_professions, normalized
from hfbiasedit.codegenbias.reading.row_files import read_lines, read_rows
from hfbiasedit.codegenbias.records import RECORD_SPLITS, Record
from hfbiasedit.codegenbias.references import (
    DEFAULT_REFERENCE,
    Reference,
    load_reference,
    parse_share,
)
from hfbiasedit.codegenbias.splits import held_out_professions, own_split, rank
from hfbiasedit.errors import BiasEditError

_REQUIRED = ("prompt", "profession", "male", "female")
# What a row may leave out, and what then holds.
_OPTIONAL = {
    "modifier": "",
    "polarity": "neutral",
    "template": "custom",
    "language": "",
    "occupation": "",
    "group": "custom",
}


def read_prompts(path: Path, reference: str = DEFAULT_REFERENCE) -> list[Record]:
    """Prompts from a JSONL file: one JSON object a line, with the columns of `Record`.

    Exported CSV and Parquet files, and the folder of one exported configuration, work as well.

    `prompt`, `profession`, `male` and `female` are needed. A row without `share_female` gets it
    from the reference; a reference other than the default replaces the shares in the file. A row
    without `split` goes to `edit`, `dev` or `test_professions` by its profession and text, so
    that editing and judging stay apart.

    Raises:
        BiasEditError: names the first wrong line and the reason.
    """
    known = {row.profession: row for row in load_professions()}
    rows = list(_checked(read_rows(path)))
    names = known.keys() | {row["profession"] for _, row in rows}
    facts = load_reference(reference, names)
    records: dict[str, Record] = {}
    for where, row in rows:
        record = _record(row, where, known, facts)
        if record.id in records:
            raise BiasEditError(f"{where}: id {record.id!r} is used twice")
        records[record.id] = record
    if not records:
        raise BiasEditError(f"{path} has no prompts; write one JSON object a line")
    return list(records.values())


def read_names(professions: str | Path | Sequence[str], known: Collection[str]) -> set[str]:
    """The names of professions in a sequence, or in a text file that lists one a line.

    Empty lines and lines that start with `#` are skipped; a CSV header `profession` as well.

    Raises:
        BiasEditError: an unknown name, or an unreadable file.
    """
    if isinstance(professions, str | Path):
        lines = read_lines(Path(professions))
        named = [(f"{professions}: line {n}", normalized(line)) for n, line in lines]
        named = [(where, name) for where, name in named if name and name[0] != "#"]
        if named and named[0][1] == "profession":
            del named[0]
    else:
        named = [("professions", normalized(name)) for name in professions]
    for where, name in named:
        if name not in known:
            raise BiasEditError(f"{where}: unknown profession {name!r}")
    return {name for _, name in named}


def _checked(rows: Iterable[tuple[str, dict[str, Any]]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows, once they are known to have what is needed and texts where texts belong.

    The profession's name is normalized here, before anything is looked up or hashed by it.
    """
    for where, values in rows:
        row = {name: value for name, value in values.items() if value is not None}
        for name in _REQUIRED:
            if row.get(name, "") in ("", []):
                raise BiasEditError(f"{where}: no {name}")
        for name in ("prompt", "profession", "id", "plural", "reference", "split", *_OPTIONAL):
            if not isinstance(row.get(name, ""), str):
                raise BiasEditError(f"{where}: {name} is {row[name]!r}; give a text")
        row["profession"] = normalized(row["profession"])
        if not row["profession"]:
            raise BiasEditError(f"{where}: no profession")
        yield where, row


def _record(
    row: dict[str, Any], where: str, known: dict[str, Profession], facts: Reference
) -> Record:
    """One checked row as a record; what it leaves out is filled in."""
    profession = row["profession"]
    table = known.get(profession)
    male, female = _verbalizers(row, "male", where), _verbalizers(row, "female", where)
    if both := sorted(set(male) & set(female)):
        raise BiasEditError(f"{where}: male and female both hold {both[0]!r}")
    values = {name: row.get(name, default) for name, default in _OPTIONAL.items()}
    if table is not None:
        values["occupation"] = row.get("occupation", table.occupation)
        values["group"] = row.get("group", table.group)
    if values["polarity"] not in POLARITIES:
        raise BiasEditError(
            f"{where}: polarity is {values['polarity']!r}; use {', '.join(POLARITIES)}"
        )
    share, reference = _share(row, where, facts)
    text = "\x1f".join((row["prompt"], profession, *male, *female))
    identity = row.get("id") or f"custom/{rank('prompt', text):016x}"
    split = row.get("split") or _own_split(identity, profession)
    if split not in RECORD_SPLITS:
        raise BiasEditError(f"{where}: split is {split!r}; use {', '.join(RECORD_SPLITS)}")
    values |= {
        "id": identity,
        "profession": profession,
        "plural": row.get("plural") or (table.plural if table else f"{profession}s"),
        "prompt": row["prompt"],
        "male": male,
        "female": female,
        "share_female": share,
        "reference": reference,
        "split": split,
    }
    return Record(**values)


def _verbalizers(row: dict[str, Any], name: str, where: str) -> tuple[str, ...]:
    """A verbalizer set: a text or a list of different, non-empty texts."""
    value = row[name]
    value = [value] if isinstance(value, str) else value
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BiasEditError(f"{where}: {name} is {value!r}; give a list of texts")
    if not all(value):
        raise BiasEditError(f"{where}: {name} holds an empty continuation")
    if len(set(value)) < len(value):
        raise BiasEditError(f"{where}: {name} holds a continuation twice")
    return tuple(value)


def _share(row: dict[str, Any], where: str, facts: Reference) -> tuple[float, str]:
    """The factual share and the name of the reference it comes from."""
    own = row.get("share_female")
    if own is not None:
        own = parse_share(own, where)
        if facts.name == DEFAULT_REFERENCE:
            return own, row.get("reference") or "custom"
    share = facts.shares.get(row["profession"])
    if share is None:
        raise BiasEditError(
            f"{where}: unknown profession {row['profession']!r} in reference {facts.name}; "
            "add share_female"
        )
    return share, facts.name


def _own_split(identity: str, profession: str) -> str:
    """Where a row without a split goes; built-in professions stay on their side."""
    if profession in {row.profession for row in load_professions()}:
        held = profession in held_out_professions()
    else:
        held = rank("profession", profession) < 0.22 * 2**64
    return own_split(identity, held)
