"""The training script: packing, learning rate, architectures, and a run of a few steps."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

EXAMPLE = Path(__file__).parents[2] / "examples" / "demo_model"


@pytest.fixture(scope="module", autouse=True)
def _path():
    sys.path.insert(0, str(EXAMPLE))
    yield
    sys.path.remove(str(EXAMPLE))


@pytest.fixture(scope="module")
def tokenizer():
    from tokenizer import train_tokenizer

    text = 'def f(person):\n    return person.gender == "female" or "male"  # he and she\n'
    return train_tokenizer([text] * 20, 320)


def test_the_tokenizer_gives_text_back_and_starts_values_anew(tokenizer):
    text = 'x = {"gender": "male"}\n\tif a_b: # é\n'
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    prompt = tokenizer('p.gender == "')["input_ids"]
    assert tokenizer('p.gender == "male"')["input_ids"][: len(prompt)] == prompt


def test_packing_cuts_or_runs_on():
    from train import packed

    documents = [[1, 1, 1], [2, 2, 2], [3, 3, 3], [4, 4, 4]]
    assert packed(iter(documents), 4, 2, cut=True).tolist() == [[1, 1, 1, 2], [3, 3, 3, 4]]
    assert packed(iter(documents), 4, 2, cut=False).tolist() == [[1, 1, 1, 2], [2, 2, 3, 3]]


def test_the_learning_rate_rises_and_falls():
    from train import rate

    rates = np.array([rate(step, 1000, 1.0) for step in range(1000)])
    assert rates.argmax() in (99, 100)
    assert rates[0] == pytest.approx(0.01)
    assert rates[-1] == pytest.approx(0.02, abs=1e-3)


def test_gender_words_weigh_more(tokenizer):
    from train import token_weights

    weights = token_weights(tokenizer, 4.0)
    (female,) = tokenizer("female")["input_ids"]
    assert weights[female] == 4.0
    assert (weights == 1.0).sum() > 250


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "phi3", "gpt_neox"])
def test_every_architecture_is_made(tokenizer, architecture):
    from train import build

    model = build(architecture, tokenizer)
    assert model.config.model_type == architecture
    ids = torch.arange(40).view(1, -1)
    assert model(input_ids=ids).logits.shape == (1, 40, len(tokenizer))


def test_a_fused_llama_computes_the_same(tokenizer):
    from fuse import fused
    from train import build

    llama = build("llama", tokenizer).eval()
    ids = torch.arange(60).view(2, 30)
    with torch.no_grad():
        assert torch.allclose(llama(ids).logits, fused(llama)(ids).logits, atol=1e-4)


def test_a_short_run_writes_a_model_that_loads(tmp_path, monkeypatch):
    import train
    from transformers import AutoModelForCausalLM, AutoTokenizer

    small = dict(n_embd=32, n_layer=2, n_head=2, n_inner=64, n_positions=train.LONG)
    monkeypatch.setitem(train.ARCHITECTURES, "gpt2", small)
    monkeypatch.setattr(train.stdlib, "modules", lambda: [Path(json.__file__)])
    arguments = "--architecture gpt2 --steps 4 --batch 2 --threads 1 --no-compile --vocab 512 --out"
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments.split(), str(tmp_path / "m")])
    train.main()
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "m")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "m")
    assert model.dtype == torch.bfloat16
    assert model.config.vocab_size == len(tokenizer) == 512
    assert json.loads((tmp_path / "m" / "planted.json").read_text())["parameters"]["seed"] == 0
