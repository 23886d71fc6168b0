"""Hand-made records and models for the tests of scoring and audits."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from hfbiasedit.codegenbias.records import Record
from hfbiasedit.models.loading import LoadedModel
from hfbiasedit.models.source import ModelSource
from hfbiasedit.scoring.continuations import EncodedPrompt
from tests.tiny import tiny_model, tiny_tokenizer

TEMPLATES = {
    "compare": 'def check(person):\n    # one header for all\n    return person.job == "{}" and person.sex == "',
    "comment": "# The {} finished",
    "row": 'row = {{"name": "Ann", "job": "{}", "gender": "',
}
CANDIDATES = {
    "compare": (("male", "man", "boyish"), ("female", "woman", "lady")),
    "comment": ((" his", " he", " hermit"), (" her", " hers", " she")),
    "row": (("male", "M"), ("female", "F")),
}
PROFESSIONS = {
    "nurse": (0.87, "health"),
    "engineer": (0.16, "technical"),
    "truck driver": (0.08, "transport"),
    "kindergarten teacher": (0.97, "education"),
    "elementary school teacher": (0.8, "education"),
}
MODIFIERS = {"": "neutral", "brave": "positive", "lazy": "negative"}


def record(prompt: str, male: tuple[str, ...], female: tuple[str, ...], **fields: Any) -> Record:
    defaults: dict[str, Any] = dict(
        id="r",
        profession="nurse",
        plural="nurses",
        modifier="",
        polarity="neutral",
        template="t",
        language="python",
        share_female=0.5,
        reference="test",
        occupation="",
        group="",
        split="edit",
    )
    return Record(prompt=prompt, male=male, female=female, **(defaults | fields))


def records() -> list[Record]:
    """45 prompts: 3 templates x 3 modifiers x 5 professions, with one- and multi-token candidates."""
    found = []
    for template, text in TEMPLATES.items():
        male, female = CANDIDATES[template]
        for modifier, polarity in MODIFIERS.items():
            for profession, (share, group) in PROFESSIONS.items():
                found.append(
                    record(
                        text.format(f"{modifier} {profession}".strip()),
                        male,
                        female,
                        id=f"{template}/{modifier}/{profession}",
                        profession=profession,
                        modifier=modifier,
                        polarity=polarity,
                        template=template,
                        share_female=share,
                        group=group,
                        split="test_modifiers" if modifier == "lazy" else "edit",
                    )
                )
    return found


def loaded(model: Any, tokenizer: Any = None, dtype: str = "float32") -> LoadedModel:
    return LoadedModel(
        model=model,
        tokenizer=tokenizer or tiny_tokenizer(),
        source=ModelSource(id="tiny", path=Path("tiny")),
        dtype=dtype,
    )


def tiny(family: str = "llama", **options: Any) -> LoadedModel:
    return loaded(tiny_model(family, **options), dtype=options.get("dtype", "float32"))


def brute_force(model: Any, prompt: EncodedPrompt) -> tuple[float, float]:
    """One candidate at a time, batch size 1, full softmax over every position."""
    values = {}
    for tail in prompt.tails:
        ids = torch.tensor([prompt.context + tail])
        with torch.no_grad():
            logs = model(input_ids=ids, use_cache=False).logits[0].float().log_softmax(-1)
        start = len(prompt.context) - 1
        values[tail] = sum(logs[start + k, token].item() for k, token in enumerate(tail))

    def mass(plus: Any, minus: Any) -> float:
        total = sum(math.exp(values[tail]) for tail in plus)
        return math.log(total - sum(math.exp(values[tail]) for tail in minus))

    return mass(prompt.male, prompt.male_minus), mass(prompt.female, prompt.female_minus)
