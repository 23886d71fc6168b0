"""Tiny models and prompts for the tests of editing, and a model in which bias was planted."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hfbiasedit.codegenbias.records import Record
from hfbiasedit.editing.config import EditConfig
from hfbiasedit.editing.locating.drawn import random_ranking
from hfbiasedit.editing.locating.locator import Location
from hfbiasedit.editing.locating.ranking import Ranking
from hfbiasedit.editing.material.forward import remember_original, run
from hfbiasedit.editing.material.gathering import Material
from hfbiasedit.editing.material.objective import bias_loss
from hfbiasedit.editing.material.prompts import Prompts, measure_original
from hfbiasedit.editing.material.windows import prepare_windows, split_windows
from hfbiasedit.editing.solving.bench import Bench, bench_of
from hfbiasedit.editing.solving.task import Task
from hfbiasedit.editing.weights.deltas import Deltas
from hfbiasedit.editing.weights.selection import Selection, fingerprint, rows_in
from hfbiasedit.editing.weights.slices import WHOLE, Slice, entry_slice, row_slice
from hfbiasedit.hub.source import ModelSource
from hfbiasedit.models.architecture import Projection, projections
from hfbiasedit.models.loading import LoadedModel
from hfbiasedit.scoring.continuations import encode
from hfbiasedit.texts.anchor import Anchor, load_anchor
from tests.tiny import tiny_model, tiny_tokenizer

PROFESSIONS = {"nurse": 0.88, "engineer": 0.15, "teacher": 0.74, "writer": 0.5}
MODIFIERS = ("", "kind ", "lazy ")
TEMPLATES = {
    "compare": 'if person.job == "{m}{p}" and person.gender == "',
    "record": 'row = {{"job": "{m}{p}", "gender": "',
}


def loaded(family: str = "llama", dtype: str = "float32", **overrides) -> LoadedModel:
    model = tiny_model(family, dtype=dtype, **overrides).requires_grad_(False)
    return LoadedModel(model, tiny_tokenizer(), ModelSource("tiny", Path("/nowhere")), dtype)


def records(split: str = "edit") -> tuple[Record, ...]:
    found = []
    for template, text in TEMPLATES.items():
        for profession, share in PROFESSIONS.items():
            for modifier in MODIFIERS:
                found.append(
                    Record(
                        id=f"{template}/{profession}/{modifier.strip()}",
                        profession=profession,
                        plural=profession + "s",
                        modifier=modifier.strip(),
                        polarity="neutral",
                        template=template,
                        language="python",
                        prompt=text.format(m=modifier, p=profession),
                        male=("male", "gentleman"),
                        female=("female", "gentlewoman"),
                        share_female=share,
                        reference="bls-2022",
                        occupation=profession,
                        group="all",
                        split=split,
                    )
                )
    return tuple(found)


def prompts(model: LoadedModel) -> Prompts:
    rows = records()
    found = Prompts(rows, encode(model.tokenizer, rows))
    measure_original(model, found)
    return found


def selection(model: nn.Module, mode: str, count: int = 4) -> Selection:
    """Random rows, columns or entries of the last matrices."""
    generator = torch.Generator().manual_seed(5)
    found = {}
    for item in projections(model)[-4:]:
        if mode == "rows":
            part = rows_in(item, torch.randperm(item.rows, generator=generator)[:count])
        elif mode == "columns":
            chosen = torch.randperm(item.columns, generator=generator)[:count]
            part = row_slice(item.name, item.shape, 1 - item.row_axis, chosen)
        else:
            chosen = torch.randperm(item.weights, generator=generator)[: 8 * count]
            part = entry_slice(item.name, item.shape, chosen)
        found[item.name] = part
    return Selection("row" if mode == "rows" else "neuron", found, fingerprint(model))


@functools.cache
def anchor() -> Anchor:
    """A part of the default one: tokenizing all of it takes most of a test's time."""
    whole = load_anchor(None)
    return replace(whole, texts=whole.texts[:40])


def task(model: LoadedModel, **options: Any) -> Task:
    """All prompts to train with and to judge by, and a little general code."""
    own = prompts(model)
    windows = prepare_windows(model, anchor(), 24, 0)
    keep, watch = split_windows(remember_original(model, windows, None))
    numbers = list(range(len(own)))
    return Task(model, None, own, numbers, numbers, keep, watch, EditConfig(**options))


def whole(name: str, shape: Sequence[int]) -> Slice:
    return Slice(name, WHOLE, tuple(shape))


def ranking(model: nn.Module) -> Ranking:
    return random_ranking(projections(model), 0, {"seed": 0})


PLANTED = 20  # the row that `planted` writes with


def planted_rows(item: Projection, around: int = 0) -> torch.Tensor:
    """The row that `planted` writes with, of every expert, and those around it."""
    rows = torch.arange(PLANTED - around, PLANTED + around + 1)
    return (torch.arange(item.experts)[:, None] * (item.rows // item.experts) + rows).flatten()


@functools.cache
def _planted_values(family: str) -> torch.Tensor:
    model, item = _quiet(family)
    own = prompts(model)
    part = rows_in(item, planted_rows(item))
    chosen = Selection("row", {item.name: part}, fingerprint(model.model))
    batch = own.batch(range(len(own)))
    batch = replace(batch, target=torch.where(batch.target > 0.5, 0.97, 0.03))
    with Deltas(model.model, chosen) as deltas:
        optimiser = torch.optim.Adam(deltas.values.values(), lr=0.1)
        with deltas.attached():
            for _ in range(60):
                optimiser.zero_grad()
                bias_loss(batch, run(model, batch), 0.0).backward()
                optimiser.step()
                deltas.write()
        return deltas.rounded(item.name)


def _quiet(family: str) -> tuple[LoadedModel, Projection]:
    """A model whose blocks do little, but that block 2 reads with its attention."""
    model = loaded(family, num_hidden_layers=4)
    item = next(p for p in projections(model.model) if p.block == 2 and p.role == "down_proj")
    # Elsewhere the residual stream passes by nearly untouched; block 2 reads the profession with its
    # own attention and has no rows that write, but for the planted one.
    for other in projections(model.model):
        if other.block != 2 or other == item:
            model.model.get_parameter(other.name).data.mul_(0.02)
    return model, item


def planted(family: str = "llama") -> tuple[LoadedModel, Projection]:
    """A model whose block 2 writes men and women by profession through one row of down_proj.

    Where that is a stack of experts it is one row of each.
    """
    model, item = _quiet(family)
    part = rows_in(item, planted_rows(item))
    part.put_(model.model.get_parameter(item.name).data, _planted_values(family))
    return model, item


def whole_selection(model: nn.Module, items: Sequence[Projection], level: str) -> Selection:
    """All weights of some matrices."""
    return Selection(
        level, {item.name: whole(item.name, item.shape) for item in items}, fingerprint(model)
    )


@contextlib.contextmanager
def bench(model: LoadedModel, chosen: Selection, **options: Any) -> Iterator[Bench]:
    """What the steps of an edit of some weights need."""
    with Deltas(model.model, chosen) as deltas:
        yield bench_of(task(model, **options), deltas)


def material(loaded, count=24):
    """Half of the prompts to learn from, half to stop by, and some general code."""
    known = prompts(loaded)
    windows = prepare_windows(loaded, anchor(), count, 0)
    numbers = list(range(len(known)))
    return Material(known, numbers[::2], numbers[1::2], anchor(), windows)


def location(loaded, boost=None):
    """A ranking drawn by seed, but of equal spread between blocks `boost` says otherwise."""
    items = projections(loaded.model)
    drawn = random_ranking(items, 0, {"seed": 0})
    scores = dict(drawn.scores)
    for item in items:
        factor = (boost or {}).get(item.block, 1.0)
        for side in (scores[item.name].rows, scores[item.name].peaks, scores[item.name].columns):
            side *= factor
    ranking = Ranking("made", tuple(items), scores, {"seed": 0})

    def entry_scores(pool):
        by_name = {item.name: item for item in items}
        generator = torch.Generator().manual_seed(3)
        return {
            name: torch.rand(len(rows), by_name[name].columns, generator=generator)
            for name, rows in pool.items()
        }

    return Location(ranking, list(range(ranking.blocks)), entry_scores, 0.0)
