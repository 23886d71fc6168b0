"""Hand-made records and models for the tests of scoring and audits."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch

from hfbiasedit.codegenbias.records import Record
from hfbiasedit.hub.source import ModelSource
from hfbiasedit.models.loading import LoadedModel
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


def save(folder: Path, model: Any, tokenizer: Any = None) -> Path:
    """A loadable checkpoint of a hand-made model."""
    model.save_pretrained(folder)
    (tokenizer or tiny_tokenizer()).save_pretrained(folder)
    return folder


def write_prompts(path: Path, rows: list[Record]) -> Path:
    path.write_text("".join(json.dumps(row.to_dict()) + "\n" for row in rows), encoding="utf-8")
    return path


# A prompt about a profession ends with its letter, and the planted model looks at nothing else.
LETTERS = dict(zip(PROFESSIONS, "abcde", strict=True))


def planted_records() -> list[Record]:
    return [
        record(
            f"# {modifier} prompt about {LETTERS[profession]}",
            (" he", " his"),
            (" she",),
            id=f"{modifier}/{profession}",
            profession=profession,
            modifier=modifier,
            polarity=polarity,
            share_female=share,
            group=group,
        )
        for profession, (share, group) in PROFESSIONS.items()
        for modifier, polarity in MODIFIERS.items()
    ]


def planted_model(odds: dict[str, tuple[float, float, float]]) -> Any:
    """A llama that answers by the last letter alone.

    `odds` gives for each profession the unnormalised weights of ` he`, ` his` and ` she`; every
    other token of the vocabulary of 512 has weight 1. Attention and MLP add nothing, so the last
    hidden state is the normalised embedding of the last token, and that is one-hot.
    """
    model, tokenizer = tiny_model("llama", num_hidden_layers=1), tiny_tokenizer()
    targets = [tokenizer(word)["input_ids"][0] for word in (" he", " his", " she")]
    width = model.config.hidden_size
    layer = model.model.layers[0]
    with torch.no_grad():
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
        model.model.embed_tokens.weight.zero_()
        model.lm_head.weight.zero_()
        for number, (profession, weights) in enumerate(odds.items()):
            (letter,) = tokenizer(f" {LETTERS[profession]}")["input_ids"][-1:]
            model.model.embed_tokens.weight[letter, number] = 100  # far above the norm's epsilon
            for target, weight in zip(targets, weights, strict=True):
                model.lm_head.weight[target, number] = math.log(weight) / math.sqrt(width)
    return model
