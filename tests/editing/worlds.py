"""Tiny models and prompts for the tests of editing, and a model in which bias was planted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from hfbiasedit.editing.solving.metric import Metric, _part
from torch import nn

from hfbiasedit.codegenbias.records import Record
from hfbiasedit.editing.config import EditConfig
from hfbiasedit.editing.locating.drawn import random_ranking
from hfbiasedit.editing.locating.ranking import Ranking
from hfbiasedit.editing.material.forward import remember_original
from hfbiasedit.editing.material.prompts import Prompts, measure_original
from hfbiasedit.editing.material.windows import prepare_windows, split_windows
from hfbiasedit.editing.solving.task import Task
from hfbiasedit.editing.weights.selection import Selection, fingerprint, rows_in
from hfbiasedit.editing.weights.slices import WHOLE, Slice, entry_slice, row_slice
from hfbiasedit.hub.source import ModelSource
from hfbiasedit.models.architecture import projections
from hfbiasedit.models.loading import LoadedModel
from hfbiasedit.scoring.continuations import encode
from hfbiasedit.texts.anchor import load_anchor
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


def task(model: LoadedModel, **options: Any) -> Task:
    """All prompts to train with and to judge by, and a little general code."""
    own = prompts(model)
    windows = prepare_windows(model, load_anchor(None), 24, 0)
    keep, watch = split_windows(remember_original(model, windows, None))
    numbers = list(range(len(own)))
    return Task(model, None, own, numbers, numbers, keep, watch, EditConfig(**options))


def whole(name: str, shape: Sequence[int]) -> Slice:
    return Slice(name, WHOLE, tuple(shape))


def ranking(model: nn.Module) -> Ranking:
    return random_ranking(projections(model), 0, {"seed": 0})


def metric(
    shapes: Sequence[tuple[int, int]], generator: torch.Generator
) -> tuple[Metric, torch.Tensor]:
    """A random metric of some matrices, and the same as one dense matrix."""
    parts, dense = [], []
    for tall, wide in shapes:
        a, b = (torch.randn(n, 2 * n, generator=generator) for n in (wide, tall))
        inputs, outputs = a @ a.T / wide, b @ b.T / tall
        parts.append(_part(outputs, inputs))
        dense.append(torch.kron(outputs, inputs))
    return Metric(tuple(parts)), torch.block_diag(*dense)
