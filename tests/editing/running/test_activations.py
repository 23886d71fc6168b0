"""How much memory a token takes, and how many go through a model together."""

import pytest
import torch

from hfbiasedit.editing.running import activations
from hfbiasedit.editing.running.activations import bytes_per_token, tokens_at_once
from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.architecture import decoder_blocks, projections
from tests.tiny import tiny_model

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_a_token_takes_what_goes_into_and_comes_out_of_projections():
    model = tiny_model("llama")
    sides = sum(sum(model.get_parameter(item.name).shape) for item in projections(model))
    assert bytes_per_token(model, CPU) == pytest.approx(activations.KEPT * sides * 4)
    assert bytes_per_token(model, GPU) == pytest.approx(activations.KEPT_GPU * sides * 4)
    half = tiny_model("llama", dtype="bfloat16")
    assert bytes_per_token(half, CPU) == pytest.approx(bytes_per_token(model, CPU) / 2)


def test_with_checkpoints_one_block_is_held_and_what_enters_the_others():
    model = tiny_model("llama")
    blocks, hidden = len(decoder_blocks(model)), model.config.hidden_size
    expected = bytes_per_token(model, CPU) / blocks + 4 * blocks * hidden
    assert bytes_per_token(model, CPU, checkpoint=True) == pytest.approx(expected)


def test_of_experts_those_count_that_a_token_is_given_to():
    model = tiny_model("qwen2_moe")
    before = bytes_per_token(model, CPU)
    assert model.config.num_experts_per_tok > 1
    model.config.num_experts_per_tok = 1
    assert bytes_per_token(model, CPU) < before


@pytest.mark.parametrize(("room", "expected"), [(0, 512), (700.5, 640), (1e9, 1024)])
def test_as_many_tokens_as_fit_within_bounds(room, expected, monkeypatch):
    model = tiny_model("llama")
    monkeypatch.setattr(activations, "ROOM", room * bytes_per_token(model, CPU))
    assert tokens_at_once(model, CPU) == expected


def test_where_nobody_knows_how_many_experts_the_fewest_tokens_go(monkeypatch):
    def nobody(model, item):
        raise BiasEditError("how many?")

    monkeypatch.setattr(activations, "matrices_per_token", nobody)
    assert tokens_at_once(tiny_model("qwen2_moe"), CPU) == 512


@pytest.mark.parametrize(("left", "expected"), [(0, 512), (3 * 2000.5, 1984), (1e9, 4096)])
def test_a_gpu_is_filled_up_to_a_third_of_what_the_model_leaves(left, expected, monkeypatch):
    model = tiny_model("llama")
    size = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    memory = int(size + left * bytes_per_token(model, GPU))
    monkeypatch.setattr(activations, "device_memory", lambda device: memory)
    assert tokens_at_once(model, GPU) == expected


def test_a_processor_has_no_memory_of_its_own():
    assert activations.device_memory(CPU) is None


@pytest.mark.parametrize(
    ("device", "expected"), [("cuda:1", "cuda:1"), ("mps", "cpu"), ("cpu", "cpu"), ("meta", "cpu")]
)
def test_what_passes_make_is_kept_on_gpus_that_can(device, expected):
    assert activations.beside(torch.device(device)) == torch.device(expected)
