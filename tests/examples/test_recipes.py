"""The shipped recipes, against the public configurations of their models; no weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

from hfbiasedit.cli.recipes import read_recipe
from hfbiasedit.editing.config import EditConfig
from hfbiasedit.editing.selecting.allowance import check_budget
from hfbiasedit.models.architecture import decoder_blocks, projections

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "recipes"
SHAPES = json.loads((ROOT / "benchmarks" / "shapes" / "code_models.json").read_text())
MODELS = {
    "codegen-350m-mono": "CodeGen-350M-mono",
    "codegen-2b-mono": "CodeGen-2B-mono",
    "starcoder2-3b": "StarCoder2-3B",
    "codellama-7b": "CodeLlama-7B",
    "deepseek-coder-1.3b": "DeepSeek-Coder-1.3B",
    "deepseek-coder-6.7b": "DeepSeek-Coder-6.7B",
    "qwen2.5-coder-1.5b": "Qwen2.5-Coder-1.5B",
    "qwen2.5-coder-7b": "Qwen2.5-Coder-7B",
}


def test_there_is_one_for_every_mainstream_model():
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(MODELS)
    assert set(MODELS.values()) == set(SHAPES)


@pytest.mark.parametrize("name", MODELS)
def test_a_recipe_is_accepted_and_fits_its_model(name):
    from transformers import AutoConfig, AutoModelForCausalLM

    path = FOLDER / f"{name}.yaml"
    steps = read_recipe(path)
    assert [step.name for step in steps] == ["audit", "edit", "ability", "card", "push"]
    edit = yaml.safe_load(path.read_text())["edit"]
    config = EditConfig(**edit)
    shape = dict(SHAPES[MODELS[name]])
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**shape))
    blocks = len(decoder_blocks(model))
    assert blocks == (shape.get("num_hidden_layers") or shape["n_layer"])
    found = projections(model)
    assert {item.block for item in found} == set(range(blocks))
    check_budget(model, config.granularity, config.chosen_budget)
