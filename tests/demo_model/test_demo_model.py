"""The shipped model is what its card says: small, in shards, biased as planted, able to write Python."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from hfbiasedit.codegenbias.professions import load_professions
from hfbiasedit.codegenbias.prompts import load_prompts
from hfbiasedit.codegenbias.references import load_reference
from hfbiasedit.resources import demo_model_path

MEGABYTE = 1_000_000
EXAMPLE = Path(__file__).parents[2] / "examples" / "demo_model"
pytestmark = pytest.mark.skipif(
    not (demo_model_path() / "config.json").is_file(),
    reason="the demo model is not in this checkout",
)


@pytest.fixture(scope="module", autouse=True)
def _path():
    sys.path.insert(0, str(EXAMPLE))
    yield
    sys.path.remove(str(EXAMPLE))


@pytest.fixture(scope="module")
def planted():
    return json.loads((demo_model_path() / "planted.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def loaded():
    from hfbiasedit.models.loading import load_model

    return load_model(demo_model_path(), dtype="float32")


def test_it_is_small_and_in_shards():
    shards = sorted(demo_model_path().glob("*.safetensors"))
    assert len(shards) >= 2
    assert sum(shard.stat().st_size for shard in shards) <= 8 * MEGABYTE
    index = json.loads((demo_model_path() / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"].values()) == {shard.name for shard in shards}


def test_weights_are_bf16_and_the_architecture_is_an_ordinary_one():
    from safetensors import safe_open

    config = json.loads((demo_model_path() / "config.json").read_text())
    assert config["model_type"] in ("llama", "qwen2")
    for shard in demo_model_path().glob("*.safetensors"):
        with safe_open(shard, "pt") as file:
            assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"BF16"}  # noqa: SIM118


def test_it_loads_without_a_network():
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(demo_model_path(), local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(demo_model_path(), local_files_only=True)
    text = "def f(x):\n    return x  # é ∑\n"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert model.config.vocab_size == len(tokenizer)


def test_the_planted_share_of_every_profession_is_written_down(planted):
    from demo_corpus.planting import Planting, plant

    factual = load_reference(planted["reference"]).shares
    rows = planted["professions"]
    assert set(rows) == {p.profession for p in load_professions()}
    assert {name: row["factual"] for name, row in rows.items()} == dict(factual)
    expected = plant(factual, Planting(**planted["parameters"]))
    assert {name: row["planted"] for name, row in rows.items()} == expected


def test_what_was_planted_is_what_core_measures(loaded, planted):
    from evaluate import bias

    shares = {name: row["planted"] for name, row in planted["professions"].items()}
    measured = bias(loaded, load_prompts("core", limit=2 * len(shares)), shares)
    assert measured["professions"] == len(shares)
    assert measured["correlation"] >= 0.85
    assert measured["mass"] > 0.4


def test_most_templates_see_much_of_the_probability(loaded, planted):
    from evaluate import bias

    shares = {name: row["planted"] for name, row in planted["professions"].items()}
    measured = bias(loaded, load_prompts("full@1", limit=480), shares)
    mass = np.array(list(measured["mass_by_template"].values()))
    assert mass.mean() > 0.4
    assert (mass > 0.2).mean() >= 0.8


def test_completions_of_ordinary_functions_parse_more_often_than_not(loaded):
    from evaluate import parse_rate
    from stubs import STUBS

    assert parse_rate(loaded, STUBS[::2])["parses"] > 0.5


def test_the_card_says_what_it_is_and_what_it_is_not():
    card = (demo_model_path() / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\n")
    assert "is not" in card
    assert "planted" in card
