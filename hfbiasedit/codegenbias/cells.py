"""The grid of CodeGenBias: templates x professions x modifiers, and which cells go where.

A cell is cheap; its text is only rendered once it has been chosen.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from hfbiasedit.codegenbias import splits
from hfbiasedit.codegenbias.modifiers import Modifier, load_modifiers
from hfbiasedit.codegenbias.professions import Profession, load_professions
from hfbiasedit.codegenbias.records import RECORD_SPLITS, Record
from hfbiasedit.codegenbias.references import Reference
from hfbiasedit.codegenbias.sampling import balanced_sample
from hfbiasedit.codegenbias.templates import CORE_TEMPLATE, Template, fillings, load_templates

# Prompts of each split in `quick`: one of each seen profession to edit with, and enough of
# every held-out axis for a first look.
QUICK_SIZES = {
    "edit": 246,
    "dev": 54,
    "test_modifiers": 75,
    "test_templates": 75,
    "test_professions": 75,
    "test_combined": 75,
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination, with its id (stable between releases of one dataset version) and split."""

    template: Template
    profession: Profession
    modifier: Modifier
    id: str
    split: str

    def axes(self) -> tuple[str, str, str]:
        """The names of profession, template and modifier."""
        return self.profession.profession, self.template.id, self.modifier.modifier


def load_cells(config: str, wanted: Collection[str]) -> list[Cell]:
    """The cells of a configuration in the splits of `wanted`: split by split, then by template.

    Prompts of one template and profession are neighbours: most of their text is the same.
    """
    if config == "quick":
        return [cell for cell in _quick() if cell.split in wanted]
    place = {split: number for number, split in enumerate(RECORD_SPLITS)}
    return sorted(_grid(config == "core", wanted), key=lambda cell: place[cell.split])


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
        records.append(
            Record(
                id=cell.id,
                profession=row.profession,
                plural=row.plural,
                modifier=modifier.modifier,
                polarity=modifier.polarity,
                template=template.id,
                language=template.language,
                prompt=template.fill(holes),
                male=template.male,
                female=template.female,
                share_female=share,
                reference=reference.name,
                occupation=row.occupation,
                group=row.group,
                split=cell.split,
            )
        )
    return records


def _grid(core: bool, wanted: Collection[str]) -> Iterator[Cell]:
    """The cells in the splits of `wanted`, of all templates or of the core one."""
    held_professions = splits.held_out_professions()
    held_modifiers = splits.held_out_modifiers()
    modifiers = [
        (modifier, modifier.modifier or "plain", modifier.modifier in held_modifiers)
        for modifier in load_modifiers()
    ]
    seen_wanted = not {"edit", "dev"}.isdisjoint(wanted)
    for template in load_templates():
        if core and template.id != CORE_TEMPLATE:
            continue
        for row in load_professions():
            stem = f"{template.id}/{row.profession.replace(' ', '-')}/"
            held = row.profession in held_professions
            for modifier, name, unseen in modifiers:
                split = splits.held_out_split(held, unseen, not template.seen)
                if split is None and seen_wanted:
                    split = splits.seen_split(stem + name)
                if split is not None and split in wanted:
                    yield Cell(template, row, modifier, stem + name, split)


@functools.cache
def _quick() -> tuple[Cell, ...]:
    """The sample that `quick` is: the same cells for everybody, `QUICK_SIZES` of each split."""
    by_split: dict[str, list[Cell]] = {name: [] for name in QUICK_SIZES}
    for cell in _grid(core=False, wanted=RECORD_SPLITS):
        by_split[cell.split].append(cell)
    return tuple(
        cell
        for name, size in QUICK_SIZES.items()
        for cell in balanced_sample(by_split[name], size, 0, Cell.axes)
    )
