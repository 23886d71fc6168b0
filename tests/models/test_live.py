"""Models that are in memory already: what is measured, and what they are like afterwards."""

import copy
import math

import pytest
import torch

from hfbiasedit import audit
from hfbiasedit.errors import BiasEditError, UsageError
from hfbiasedit.models.live import borrowed
from hfbiasedit.models.provenance import memory_identity
from tests.scoring.worlds import records, save, write_prompts
from tests.tiny import tiny_model, tiny_tokenizer


@pytest.fixture
def options(tmp_path):
    return dict(prompts=write_prompts(tmp_path / "prompts.jsonl", records()), samples=50)


def test_scores_are_those_of_the_checkpoint(options, tmp_path):
    model = tiny_model("llama")
    live = audit(model, tokenizer=tiny_tokenizer(), **options)
    stored = audit(save(tmp_path / "model", model), **options)
    assert live.records["log_male"] == stored.records["log_male"]
    assert live.to_dict()["model"]["id"] == "LlamaForCausalLM"
    assert live.to_dict()["model"]["dtype"] == "float32"


def test_a_model_in_training_goes_on_as_it_was(options):
    model = tiny_model("gpt2", resid_pdrop=0.5, embd_pdrop=0.5)
    quiet = audit(copy.deepcopy(model), tokenizer=tiny_tokenizer(), **options).fb_score
    model.train()
    model.transformer.h[0].eval()  # a part that its owner keeps still
    model.transformer.wte.weight.requires_grad_(False)
    model(input_ids=torch.tensor([[1, 2]])).logits.sum().backward()
    gradient = model.transformer.h[1].attn.c_attn.weight.grad.clone()
    modes = [module.training for module in model.modules()]
    assert audit(model, tokenizer=tiny_tokenizer(), **options).fb_score == quiet  # no dropout
    assert [module.training for module in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()].count(False) == 1
    assert torch.equal(model.transformer.h[1].attn.c_attn.weight.grad, gradient)


def test_modes_come_back_after_a_failure():
    model = tiny_model("llama").train()
    with pytest.raises(BiasEditError, match="absent"):
        audit(model, tokenizer=tiny_tokenizer(), prompts="absent.jsonl")
    assert all(module.training for module in model.modules())


def test_an_adapter_counts(options):
    peft = pytest.importorskip("peft")
    plain = tiny_model("llama")
    before = audit(plain, tokenizer=tiny_tokenizer(), **options).fb_score
    adapted = peft.get_peft_model(plain, peft.LoraConfig(r=2, target_modules=["down_proj"]))
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    after = audit(adapted, tokenizer=tiny_tokenizer(), **options).fb_score
    assert after != pytest.approx(before, abs=1e-3)
    with adapted.disable_adapter():
        again = audit(adapted, tokenizer=tiny_tokenizer(), **options).fb_score
    assert again == pytest.approx(before, abs=1e-6)
    merged = audit(adapted.merge_and_unload(), tokenizer=tiny_tokenizer(), **options).fb_score
    assert after == pytest.approx(merged, abs=1e-3)


def test_adapters_of_prompts_are_refused():
    peft = pytest.importorskip("peft")
    settings = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    model = peft.get_peft_model(tiny_model("llama"), settings)
    with pytest.raises(BiasEditError, match="only adapters of weights"):
        audit(model, tokenizer=tiny_tokenizer())


class Wrapper(torch.nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module


def test_wrappers_are_looked_into():
    model = tiny_model("llama")
    with borrowed(Wrapper(Wrapper(model)), tiny_tokenizer()) as lent:
        assert lent.model is model


def test_identity_follows_the_values():
    model = tiny_model("llama", dtype="bfloat16")
    first = memory_identity(model)
    assert first.startswith("tensors:")
    assert memory_identity(copy.deepcopy(model)) == first
    with torch.no_grad():
        weight = model.model.layers[0].mlp.up_proj.weight
        weight[0, 0] = math.nextafter(float(weight[0, 0]), 9) + 0.5
    assert memory_identity(model) != first
    hidden = tiny_model("llama").to("meta")
    assert memory_identity(hidden) != memory_identity(hidden)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (lambda: tiny_model("llama"), {"tokenizer": None}, "without its tokenizer"),
        (lambda: tiny_model("llama").model, {}, "LlamaModel does not go on with a text"),
        (lambda: torch.nn.Linear(2, 2), {}, "a Linear cannot be measured"),
        (lambda: 3, {}, "a int cannot be measured"),
        (lambda: tiny_model("llama"), {"resume": True}, "resume needs"),
        (lambda: tiny_model("llama"), {"patch": "x"}, "loaded already"),
        (lambda: "org/name", {}, "for a model of transformers only"),
    ],
)
def test_what_cannot_be_measured_is_one_line(make, options, message):
    with pytest.raises((BiasEditError, UsageError), match=message) as caught:
        audit(make(), **({"tokenizer": tiny_tokenizer()} | options))
    assert "\n" not in str(caught.value)
