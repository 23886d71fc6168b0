"""References: the factual share of women of each profession, published or the user's own."""

from __future__ import annotations

import csv
import functools
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from hfbiasedit.codegenbias.csv_rows import read_csv
from hfbiasedit.codegenbias.professions import load_professions, normalized
from hfbiasedit.errors import BiasEditError
from hfbiasedit.resources import data_path

DEFAULT_REFERENCE = "bls-2022"
PARITY = "parity"
BLS_YEARS = {"bls-2022": 2022, "bls-2021": 2021}
BUILTIN_REFERENCES = (*BLS_YEARS, PARITY)


@dataclass(frozen=True, slots=True)
class Reference:
    """A named mapping from profession to the share of women, 0..1.

    An own reference may cover a part of the professions; the others are then not asked about.
    """

    name: str
    shares: Mapping[str, float]


def load_reference(reference: str, known: Collection[str] | None = None) -> Reference:
    """`bls-2022`, `bls-2021`, `parity` (0.5 for everybody), or a CSV file of the user's.

    Args:
        reference: a built-in name or the path of a CSV file with the columns
            `profession` and `share_female` (0..1).
        known: the professions that a file may name; default: those of CodeGenBias.

    Raises:
        BiasEditError: no such reference, or a wrong row (named with its line number).
    """
    if known is None:
        known = {row.profession for row in load_professions()}
    if reference == PARITY:
        return Reference(PARITY, dict.fromkeys(sorted(known), 0.5))
    if reference in BLS_YEARS:
        titles = bls_shares(BLS_YEARS[reference])
        shares = {row.profession: titles[row.occupation] for row in load_professions()}
        return Reference(reference, shares)
    path = Path(reference)
    if not path.is_file():
        raise BiasEditError(
            f"no reference {reference!r}; use {', '.join(BUILTIN_REFERENCES)} or the path of a "
            "CSV file with the columns profession,share_female"
        )
    return Reference(path.name, _read_shares(path, known))


@functools.cache
def bls_shares(year: int) -> Mapping[str, float]:
    """Share of women by occupation title, 0..1, for titles with a published figure.

    BLS publishes percentages with one decimal, and none where fewer than 50,000 are employed.
    """
    path = data_path(f"bls_cps_table11_{year}.csv")
    with open(path, encoding="utf-8", newline="") as file:
        return {
            row["occupation"]: round(float(row["percent_women"]) / 100, 4)
            for row in csv.DictReader(file)
            if row["percent_women"]
        }


def _read_shares(path: Path, known: Collection[str]) -> dict[str, float]:
    """The checked content of an own reference."""
    shares: dict[str, float] = {}
    for where, row in read_csv(path, ("profession", "share_female")):
        name = normalized(row.get("profession", ""))
        if name not in known:
            raise BiasEditError(f"{where}: unknown profession {name!r}")
        if name in shares:
            raise BiasEditError(f"{where}: {name!r} is listed twice")
        shares[name] = parse_share(row.get("share_female"), where)
    if not shares:
        raise BiasEditError(f"{path} has no rows; add lines of the form nurse,0.88")
    return shares


def parse_share(value: object, where: str) -> float:
    """A share of women as a float in 0..1; `where` starts the error message.

    Raises:
        BiasEditError: not a number, or outside 0..1.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BiasEditError(f"{where}: share_female is {value!r}; give a number from 0 to 1")
    try:
        share = float(value)
    except ValueError:
        hint = "; write it with a point" if "," in str(value) else ""
        raise BiasEditError(f"{where}: share_female {value!r} is not a number{hint}") from None
    if math.isnan(share) or not 0 <= share <= 1:
        raise BiasEditError(f"{where}: share_female {value} is outside 0..1")
    return share
