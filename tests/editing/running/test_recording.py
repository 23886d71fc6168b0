"""What passes through projections and experts, against gradients of one sequence alone."""

import weakref

import pytest
import torch
from torch import nn

from hfbiasedit.editing.running.experts import by_sequence, spread
from hfbiasedit.editing.running.gradients import checkpointing
from hfbiasedit.editing.running.recording import Passed, layout_of, obstacle, recorded
from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.architecture import projections
from tests.tiny import tiny_model

IDS = torch.arange(2, 38).view(3, 12)


EXPERTS = ["mixtral", "qwen2_moe", "qwen3_moe", "deepseek_v3", "gpt_oss"]


def _model(family):
    return tiny_model(family).requires_grad_(False)


def _loss(model, ids):
    return model(input_ids=ids, use_cache=False).logits[:, -1].log_softmax(-1)[:, 7].sum()


def _recordable(model):
    return [p.name for p in projections(model) if obstacle(model, [p.name]) is None]


def _per_sequence(model, names, ids, checkpoint=False, only=None):
    """Gradients [S, rows, columns] of every name from what was recorded."""
    layouts = {name: layout_of(model, name) for name in names}
    found = {
        name: torch.zeros(len(ids), part.experts, part.outputs, part.inputs)
        for name, part in layouts.items()
    }

    def receive(passed):
        assert passed.x.shape[:2] == passed.g.shape[:2] == passed.where(ids > 0).shape
        product = torch.einsum("sto,sti->soi", passed.g, passed.x)
        found[passed.name][:, passed.expert] += product

    with checkpointing(model, checkpoint), recorded(model, names, receive, only):
        _loss(model, ids).backward()
    return {name: sums.flatten(1, 2) for name, sums in found.items()}


# Shared experts are given [S * T, in], and some of deepseek's matrices have an axis more.
@pytest.mark.parametrize("family", ["llama", "gpt2", "phi3", *EXPERTS])
def test_products_are_the_gradients_of_each_sequence_alone(family):
    model = _model(family)
    items = {item.name: item for item in projections(model)}
    names = _recordable(model)
    assert names == list(items)
    found = _per_sequence(model, names, IDS)
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters())
    model.requires_grad_(True)
    for number in range(len(IDS)):
        model.zero_grad()
        _loss(model, IDS[number : number + 1]).backward()
        for name in names:
            expected = items[name].row_view(model.get_parameter(name).grad)
            torch.testing.assert_close(found[name][number], expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("family", EXPERTS)
def test_experts_one_by_one_say_what_the_model_says(family):
    model = _model(family)
    expected = model(input_ids=IDS, use_cache=False).logits
    with recorded(model, _recordable(model), lambda _: None):
        found = model(input_ids=IDS, use_cache=False).logits
        with torch.no_grad():
            own = model(input_ids=IDS, use_cache=False).logits
    assert found.requires_grad
    torch.testing.assert_close(found.detach(), expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(own, expected)
    assert torch.equal(model(input_ids=IDS, use_cache=False).logits, expected)


def test_only_the_experts_asked_for_are_handed_on():
    model = _model("mixtral")
    name = next(item.name for item in projections(model) if item.experts > 1)
    whole = _per_sequence(model, [name], IDS)[name].unflatten(1, (4, -1))
    some = _per_sequence(model, [name], IDS, only={(name, 2)})[name].unflatten(1, (4, -1))
    assert whole.flatten(2).any(2).all(0).any()  # an expert that every sequence uses
    torch.testing.assert_close(some[:, 2], whole[:, 2])
    assert not some[:, [0, 1, 3]].any()


def test_tokens_of_experts_are_sorted_by_sequence():
    tokens = torch.tensor([1, 3, 4, 9, 10, 11])
    place, token = by_sequence(tokens, 4, 3)
    assert token.tolist() == [[1, 3, -1], [0, -1, -1], [1, 2, 3]]
    values = torch.arange(1.0, 7)[:, None]
    wide = spread(values, place, token.shape)
    assert wide[..., 0].tolist() == [[1, 2, 0], [3, 0, 0], [4, 5, 6]]
    mask = torch.tensor([[True, True, False, False], [False] * 4, [False, False, True, True]])
    passed = Passed("w", wide, wide, 1, token)
    assert passed.where(mask).tolist() == [[True, False, False], [False] * 3, [False, True, True]]
    assert Passed("w", wide, wide).where(mask[:, :3]).equal(mask[:, :3])


def test_experts_that_are_given_some_tokens_only_are_refused():
    model = _model("mixtral")
    block = model.model.layers[0].mlp
    run = block.experts.forward
    name = next(item.name for item in projections(model) if item.experts > 1)
    with recorded(model, [name], lambda _: None):
        model.model.layers[0].mlp.experts.register_forward_pre_hook(
            lambda module, args: tuple(part[1:] for part in args), prepend=True
        )
        with pytest.raises(BiasEditError, match="experts.*is used for some tokens only"):
            model(input_ids=IDS)
    assert block.experts.forward == run


@pytest.mark.parametrize("family", ["llama", "gpt2", "mixtral"])
def test_recomputed_activations_are_recorded_once(family):
    model = _model(family)
    names = _recordable(model)
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

    def receive(passed):
        calls.append(passed.name)
        total.add_(torch.einsum("sto,sti->soi", passed.g, passed.x))

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


def test_what_cannot_be_recorded_is_said():
    llama, experts = _model("llama"), _model("mixtral")
    assert obstacle(llama, _recordable(llama)) is None
    assert "is the output head" in obstacle(llama, ["lm_head.weight"])
    for name in ("model.embed_tokens.weight", "model.norm.weight"):
        assert obstacle(llama, [name]).startswith(f"{name} is no weight of a Linear")
    first, second = (layer.mlp.up_proj for layer in llama.model.layers)
    second.weight = first.weight
    assert "is shared by several" in obstacle(llama, ["model.layers.0.mlp.up_proj.weight"])
    stacked = [item.name for item in projections(experts) if item.experts > 1]
    assert obstacle(experts, stacked) is None
    experts.model.layers[1].mlp.experts._is_expert_parallel = True
    assert obstacle(experts, stacked).startswith("model.layers.1.mlp.experts.gate_up_proj")
    del experts.model.layers[0].mlp.experts.has_gate  # as experts of an unknown kind have none
    assert obstacle(experts, stacked).startswith("model.layers.0.mlp.experts.gate_up_proj")


@pytest.mark.parametrize("family", ["llama", "gpt2", "mixtral", "gpt_oss"])
def test_layouts_are_those_of_projections(family):
    model = _model(family)
    for item in projections(model):
        layout = layout_of(model, item.name)
        assert layout.experts == item.experts
        assert layout.experts * layout.outputs == item.rows
        assert layout.inputs == item.columns
        assert layout.transposed == bool(item.row_axis)


@pytest.mark.parametrize("family", ["llama", "mixtral"])
def test_inputs_are_let_go_while_the_loss_is_still_held(family):
    model = _model(family)
    seen = []
    with recorded(model, _recordable(model), lambda passed: seen.append(weakref.ref(passed.x))):
        loss = _loss(model, IDS)
        loss.backward()
        assert len(seen) >= len(_recordable(model))
        assert not any(found() is not None for found in seen)
        assert loss.grad_fn is not None
