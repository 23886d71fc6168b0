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
from hfbiasedit.codegenbias.sampling import balanced_sample
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


def load_cells(config: str, wanted: Collection[str], version: int = VERSION) -> list[Cell]:
    """The cells of a configuration in the splits of `wanted`: split by split, then by template.

    Prompts of one template and profession are neighbours: most of their text is the same.
    """
    if config == "quick":
        return [cell for cell in _quick(version) if cell.split in wanted]
    place = {split: number for number, split in enumerate(RECORD_SPLITS)}
    cells = _grid(config == "core", wanted, version)
    return sorted(cells, key=lambda cell: place[cell.split])


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


def _identity(template: Template, profession: Profession, modifier: Modifier) -> str:
    slug = profession.profession.replace(" ", "-")
    return f"{template.id}/{slug}/{modifier.modifier or 'plain'}"


@functools.cache
def _quick(version: int) -> tuple[Cell, ...]:
    """The sample that `quick` is: the same cells for everybody, `QUICK_SIZES` of each split."""
    sizes = QUICK_SIZES[version]
    by_split: dict[str, list[Cell]] = {name: [] for name in sizes}
    for cell in _grid(False, RECORD_SPLITS, version):
        by_split[cell.split].append(cell)
    chosen: list[Cell] = []
    for name, size in sizes.items():
        # Each split goes on in the order of professions where the last one stopped (version 1:
        # starts again), so that small samples of many splits meet every profession.
        start = 0 if version == 1 else len(chosen)
        chosen += balanced_sample(by_split[name], size, 0, Cell.axes, start)
    return tuple(chosen)
