"""The grid of CodeGenBias: templates x professions x modifiers, and which cells go where.

A cell is cheap; its text is only rendered once it has been chosen.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from hfbiasedit.codegenbias import splits
from hfbiasedit.codegenbias.configs import VERSION
from hfbiasedit.codegenbias.modifiers import Modifier, load_modifiers
from hfbiasedit.codegenbias.professions import Profession, load_professions
from hfbiasedit.codegenbias.records import RECORD_SPLITS, Record
from hfbiasedit.codegenbias.references import Reference
from hfbiasedit.codegenbias.sampling import balanced_keys, balanced_sample
from hfbiasedit.codegenbias.templates import CORE_TEMPLATE, Template, fillings, load_templates

# Prompts of each split in `quick`, by version: enough for every template of a split (but
# `test_combined`, which has most) and, over all splits, for every profession.
QUICK_SIZES = {
    1: {
        "edit": 246,
        "dev": 54,
        "test_modifiers": 75,
        "test_templates": 75,
        "test_professions": 75,
        "test_combined": 75,
    },
    VERSION: {
        "edit": 184,
        "dev": 60,
        "test_modifiers": 86,
        "test_templates": 134,
        "test_professions": 86,
        "test_combined": 50,
    },
}


class Cell(NamedTuple):
    """One combination with its split."""

    template: Template
    profession: Profession
    modifier: Modifier
    split: str

    @property
    def id(self) -> str:
        """Names the combination; stable between releases of one dataset version."""
        return _identity(self.template, self.profession, self.modifier)

    def axes(self) -> tuple[str, str, str]:
        """The names of profession, template and modifier."""
        return self.profession.profession, self.template.id, self.modifier.modifier


def load_cells(
    config: str,
    wanted: Collection[str],
    version: int = VERSION,
    *,
    professions: Collection[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> list[Cell]:
    """The cells of a configuration in the splits of `wanted`: split by split, then by template.

    Prompts of one template and profession are neighbours: most of their text is the same.

    Args:
        config, version: which configuration, of which version.
        wanted: the splits.
        professions: only these; default: all.
        limit: a sample of so many (see `sampling.balanced_sample`).
        seed: of the sample.
    """
    names = {row.profession for row in load_professions()}
    names = names if professions is None else names & set(professions)
    if limit is not None and config == "full" and version != 1:
        return _grid_sample(wanted, version, names, limit, seed)
    cells = _quick(version) if config == "quick" else _grid(config == "core", wanted, version)
    found = _in_order(
        cell for cell in cells if cell.split in wanted and cell.profession.profession in names
    )
    return found if limit is None else balanced_sample(found, limit, seed, Cell.axes)


def render(cells: Iterable[Cell], reference: Reference) -> list[Record]:
    """The records of cells, in order; professions that the reference does not know are left out."""
    phrases: dict[tuple[str, str], dict[str, str]] = {}
    records = []
    for cell in cells:
        row, modifier, template = cell.profession, cell.modifier, cell.template
        share = reference.shares.get(row.profession)
        if share is None:
            continue
        key = (row.profession, modifier.modifier)
        holes = phrases.get(key)
        if holes is None:
            holes = phrases[key] = fillings(modifier.modifier, row.profession, row.plural)
        identity = cell.id
        # The spelling depends on the cell only: the same in every configuration and sample.
        number = splits.rank("variant", identity) % len(template.variants)
        variant = template.variants[number]
        records.append(
            Record(
                id=identity,
                profession=row.profession,
                plural=row.plural,
                modifier=modifier.modifier,
                polarity=modifier.polarity,
                template=template.id,
                language=template.language,
                prompt=variant.fill(holes),
                male=variant.male,
                female=variant.female,
                share_female=share,
                reference=reference.name,
                occupation=row.occupation,
                group=row.group,
                split=cell.split,
            )
        )
    return records


def _grid(core: bool, wanted: Collection[str], version: int) -> Iterator[Cell]:
    """The cells in the splits of `wanted`, of all templates or of the core one."""
    held_professions = splits.held_out_professions()
    held_modifiers = splits.held_out_modifiers()
    professions = [(row, row.profession in held_professions) for row in load_professions()]
    modifiers = [(row, row.modifier in held_modifiers) for row in load_modifiers()]
    for template in load_templates(version):
        if core and template.id != CORE_TEMPLATE:
            continue
        for profession, held in professions:
            found = [splits.cell_split(template.role, held, unseen) for unseen in (False, True)]
            for modifier, unseen in modifiers:
                split = found[unseen]
                if version == 1 and split == "edit":
                    split = splits.seen_split(_identity(template, profession, modifier))
                if split is not None and split in wanted:
                    yield Cell(template, profession, modifier, split)


def _grid_sample(
    wanted: Collection[str],
    version: int,
    names: Collection[str],
    limit: int,
    seed: int,
    start: int = 0,
) -> list[Cell]:
    """What `balanced_sample` takes of the whole grid, without making the rest of it."""
    held_professions = splits.held_out_professions()
    templates = {row.id: row for row in load_templates(version)}
    professions = {row.profession: row for row in load_professions()}
    modifiers = {row.modifier: row for row in load_modifiers()}
    sides = {
        held: {row.id: _wanted_modifiers(row.role, held, wanted) for row in templates.values()}
        for held in (False, True)
    }
    shelves = {
        name: sides[name in held_professions]
        for name in professions
        if name in names and any(sides[name in held_professions].values())
    }
    chosen = balanced_keys(shelves, limit, seed, start)
    axes = (list(professions), list(templates), list(modifiers))
    place = [{name: number for number, name in enumerate(axis)} for axis in axes]
    chosen.sort(key=lambda key: (place[1][key[1]], place[0][key[0]], place[2][key[2]]))
    return _in_order(
        Cell(templates[t], professions[p], modifiers[m], shelves[p][t][m]) for p, t, m in chosen
    )


def _wanted_modifiers(role: str, held: bool, wanted: Collection[str]) -> dict[str, str]:
    """The split of each modifier whose cell is wanted, for a template's role and a profession."""
    held_modifiers = splits.held_out_modifiers()
    found = {
        row.modifier: splits.cell_split(role, held, row.modifier in held_modifiers)
        for row in load_modifiers()
    }
    return {name: split for name, split in found.items() if split is not None and split in wanted}


def _in_order(cells: Iterable[Cell]) -> list[Cell]:
    """The cells split by split, then as templates, professions and modifiers stand in the data."""
    place = {split: number for number, split in enumerate(RECORD_SPLITS)}
    return sorted(cells, key=lambda cell: place[cell.split])


def _identity(template: Template, profession: Profession, modifier: Modifier) -> str:
    slug = profession.profession.replace(" ", "-")
    return f"{template.id}/{slug}/{modifier.modifier or 'plain'}"


@functools.cache
def _quick(version: int) -> tuple[Cell, ...]:
    """The sample that `quick` is: the same cells for everybody, `QUICK_SIZES` of each split."""
    chosen: list[Cell] = []
    names = {row.profession for row in load_professions()}
    grid = list(_grid(False, RECORD_SPLITS, version)) if version == 1 else []
    for split, size in QUICK_SIZES[version].items():
        if version == 1:
            cells = [cell for cell in grid if cell.split == split]
            chosen += balanced_sample(cells, size, 0, Cell.axes)
        else:
            # Each split goes on in the order of professions where the last one stopped, so that
            # small samples of many splits meet every profession.
            chosen += _grid_sample({split}, version, names, size, 0, start=len(chosen))
    return tuple(chosen)
