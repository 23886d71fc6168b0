"""What passes through projections, against gradients of one sequence alone."""

import pytest
import torch
from torch import nn

from hfbiasedit.editing.running.gradients import checkpointing
from hfbiasedit.editing.running.recording import is_recordable, recorded, widths_of
from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.architecture import projections, submodule_weight
from tests.tiny import tiny_model

IDS = torch.arange(2, 38).view(3, 12)


def _loss(model, ids):
    return model(input_ids=ids, use_cache=False).logits[:, -1].log_softmax(-1)[:, 7].sum()


def _plain(model):
    return [p.name for p in projections(model) if is_recordable(model, [p.name])]


def _per_sequence(model, names, ids, checkpoint=False):
    """Gradients [S, rows, columns] of every name from what was recorded."""
    found = {}

    def receive(name, x, g):
        assert x.shape[:2] == g.shape[:2] == ids.shape
        product = torch.einsum("sto,sti->soi", g, x)
        found[name] = found.get(name, 0) + product

    with checkpointing(model, checkpoint), recorded(model, names, receive):
        _loss(model, ids).backward()
    return found


# Shared experts are given [S * T, in], and some of deepseek's matrices have an axis more.
@pytest.mark.parametrize("family", ["llama", "gpt2", "phi3", "qwen2_moe", "deepseek_v3"])
def test_products_are_the_gradients_of_each_sequence_alone(family):
    model = tiny_model(family).requires_grad_(False)
    items = {item.name: item for item in projections(model)}
    names = _plain(model)
    assert len(names) >= 4
    found = _per_sequence(model, names, IDS)
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters())
    model.requires_grad_(True)
    for number in range(len(IDS)):
        model.zero_grad()
        _loss(model, IDS[number : number + 1]).backward()
        for name in names:
            expected = items[name].row_view(model.get_parameter(name).grad)
            torch.testing.assert_close(found[name][number], expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_recomputed_activations_are_recorded_once(family):
    model = tiny_model(family).requires_grad_(False)
    names = _plain(model)
    kept = _per_sequence(model, names, IDS)
    again = _per_sequence(model, names, IDS, checkpoint=True)
    assert kept.keys() == again.keys() == set(names)
    for name in names:
        torch.testing.assert_close(again[name], kept[name])


class _Twice(nn.Module):
    def __init__(self, keep=slice(None)):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.inner, self.keep = nn.Embedding(40, 4), nn.Linear(4, 4), keep

    def forward(self, input_ids):
        hidden = self.embed(input_ids)
        return self.inner(torch.tanh(self.inner(hidden[:, self.keep])))


def test_a_module_that_is_called_twice_is_handed_on_twice():
    model = _Twice().requires_grad_(False)
    calls, total = [], torch.zeros(3, 4, 4)

    def receive(name, x, g):
        calls.append(name)
        total.add_(torch.einsum("sto,sti->soi", g, x))

    with recorded(model, ["inner.weight"], receive):
        model(input_ids=IDS).square().sum().backward()
    assert calls == ["inner.weight"] * 2
    model.requires_grad_(True)
    for number, ids in enumerate(IDS):
        model.zero_grad()
        model(input_ids=ids[None]).square().sum().backward()
        torch.testing.assert_close(total[number], model.inner.weight.grad)


def test_nothing_is_recorded_without_gradients_or_after():
    model = _Twice().requires_grad_(False)
    calls = []
    with recorded(model, ["inner.weight"], lambda *_: calls.append(1)):
        with torch.no_grad():
            outside = model(input_ids=IDS)
        assert not outside.requires_grad
    assert not model(input_ids=IDS).requires_grad
    assert not calls
    assert not model.inner._forward_hooks
    assert not model._forward_pre_hooks


def test_projections_that_see_some_tokens_only_are_refused():
    model = _Twice(keep=slice(3)).requires_grad_(False)
    with (
        recorded(model, ["inner.weight"], lambda *_: None),
        pytest.raises(BiasEditError, match=r"inner.weight is used for some tokens only"),
    ):
        model(input_ids=IDS)


def test_only_plain_projections_are_recordable():
    llama, experts = tiny_model("llama"), tiny_model("mixtral")
    assert is_recordable(llama, _plain(llama))
    assert len(_plain(llama)) == len(projections(llama))
    for name in ("lm_head.weight", "model.embed_tokens.weight", "model.norm.weight"):
        assert not is_recordable(llama, [name])
    assert not is_recordable(experts, [p.name for p in projections(experts)])
    first, second = (layer.mlp.up_proj for layer in llama.model.layers)
    second.weight = first.weight
    assert not is_recordable(llama, ["model.layers.0.mlp.up_proj.weight"])


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_widths_are_outputs_and_inputs(family):
    model = tiny_model(family)
    for item in projections(model):
        module, _ = submodule_weight(model, item.name)
        assert widths_of(module) == (item.rows, item.columns)
