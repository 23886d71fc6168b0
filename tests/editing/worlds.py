"""Tiny models and prompts for the tests of editing, and a model in which bias was planted."""

from __future__ import annotations

from pathlib import Path

from hfbiasedit.codegenbias.records import Record
from hfbiasedit.editing.material import Prompts, measure_original
from hfbiasedit.models.loading import LoadedModel
from hfbiasedit.models.source import ModelSource
from hfbiasedit.scoring.continuations import encode
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
