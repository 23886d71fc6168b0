"""Prompt sets: the built-in configurations, or the user's own prompts, as one tuple of records."""

from __future__ import annotations

import functools
import hashlib
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hfbiasedit.codegenbias.cells import load_cells, render
from hfbiasedit.codegenbias.configs import config_name, parse_config
from hfbiasedit.codegenbias.professions import load_professions
from hfbiasedit.codegenbias.reading.prompt_files import read_names, read_prompts
from hfbiasedit.codegenbias.records import SPLITS, Record, splits_of
from hfbiasedit.codegenbias.references import DEFAULT_REFERENCE, load_reference
from hfbiasedit.codegenbias.sampling import balanced_sample
from hfbiasedit.errors import BiasEditError, UsageError, unknown
from hfbiasedit.files import canonical_json


class NoPrompts(BiasEditError):
    """A choice of prompts that leaves none."""


@dataclass(frozen=True)
class PromptSet:
    """Records with the choice that led to them.

    `version` is that of CodeGenBias; None for the user's own prompts. Of a part of a configuration,
    `limit` is the number that was asked for, and `chosen` whether professions were named.
    """

    records: tuple[Record, ...]
    config: str
    split: str
    reference: str
    version: int | None = None
    limit: int | None = None
    chosen: bool = False

    def __len__(self) -> int:
        """The number of prompts."""
        return len(self.records)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the records' content, in order: equal digests mean equal questions."""
        sha = hashlib.sha256()
        for record in self.records:
            sha.update(canonical_json(record.to_dict()).encode())
            sha.update(b"\n")
        return sha.hexdigest()


def load_prompts(
    config: str = "quick",
    split: str = "all",
    *,
    reference: str | Path = DEFAULT_REFERENCE,
    prompts: str | Path | None = None,
    professions: str | Path | Sequence[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> PromptSet:
    """The prompts of a configuration and split, or of a file.

    Args:
        config: `quick`, `core` or `full`, or `quick@1` and so on for an earlier version; of no
            account when `prompts` is given.
        split: one of `SPLITS`; `test` is the union of the three single-axis test splits.
        reference: `bls-2022`, `bls-2021`, `parity`, or a CSV file (profession, share_female);
            professions that a file does not mention are left out. With `prompts`, the shares in
            the file hold unless another reference than the default is named.
        prompts: JSONL file in the record shape (see `prompt_files.read_prompts`).
        professions: keep only these; a file lists one a line.
        limit: at most so many prompts, a sample balanced over professions, then templates.
        seed: of that sample.

    Raises:
        BiasEditError: an unknown name, a wrong row in a file, or nothing left.
    """
    version: int | None
    config, version = parse_config(config)
    _check(split, limit)
    wanted = splits_of(split)
    if prompts is not None:
        config, version = "custom", None
        own = [row for row in read_prompts(Path(prompts), str(reference)) if row.split in wanted]
        records = _choose(own, professions, limit, seed)
    else:
        facts = load_reference(str(reference))
        names = set(facts.shares)
        if professions is not None:
            names &= read_names(professions, {row.profession for row in load_professions()})
        cells = load_cells(config, wanted, version, professions=names, limit=limit, seed=seed)
        records = render(cells, facts)
        config = config_name(config, version)
    if not records:
        raise NoPrompts(
            f"no prompts are left in split {split!r} of {prompts or config}; "
            "choose another split or other professions"
        )
    name, chosen = _reference_name(records), professions is not None
    return PromptSet(tuple(records), config, split, name, version, limit, chosen)


def _axes(record: Record) -> tuple[str, str, str]:
    return record.profession, record.template, record.modifier


def _choose(
    records: list[Record],
    professions: str | Path | Sequence[str] | None,
    limit: int | None,
    seed: int,
) -> list[Record]:
    """The records of the wanted professions, or a balanced sample of them."""
    if professions is not None:
        names = {record.profession for record in records}
        names |= {row.profession for row in load_professions()}
        wanted = read_names(professions, names)
        records = [record for record in records if record.profession in wanted]
    if limit is None:
        return records
    return balanced_sample(records, limit, seed, _axes, name=operator.attrgetter("id"))


def _reference_name(records: Iterable[Record]) -> str:
    """The reference that all records share; `mixed` when a file of prompts names several."""
    names = {record.reference for record in records}
    return names.pop() if len(names) == 1 else "mixed"


def _check(split: str, limit: int | None) -> None:
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    if limit is not None and limit < 1:
        raise UsageError(f"limit is {limit}; give at least 1")
