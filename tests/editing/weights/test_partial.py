"""Gradients of selected weights against autograd's gradients of all of them."""

import pytest
import torch

from hfbiasedit.editing.running.execution import logits_at
from hfbiasedit.editing.running.gradients import checkpointing, streamed
from hfbiasedit.editing.weights.deltas import Deltas
from hfbiasedit.editing.weights.selection import Selection, fingerprint, rows_in
from hfbiasedit.editing.weights.slices import Slice, entry_slice, row_slice
from hfbiasedit.models.architecture import projections
from tests.tiny import tiny_model

DENSE = ["gpt2", "llama", "phi3", "gpt_neox"]
EXPERTS = ["qwen2_moe", "mixtral"]  # their grouped products know no float64
IDS = torch.arange(2, 36).view(2, 17)
PLACES = torch.tensor([0, 1, 1]), torch.tensor([16, 4, 16])


def _model(family):
    dtype = "float32" if family in EXPERTS else "float64"
    return tiny_model(family, dtype=dtype).requires_grad_(False)


def _loss(model):
    return logits_at(model, IDS, *PLACES).log_softmax(-1)[:, 7].sum()


def _reference(model):
    model.requires_grad_(True)
    _loss(model).backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.requires_grad_(False)
    model.zero_grad(set_to_none=True)
    return found


def _slices(model, mode, reference):
    generator = torch.Generator().manual_seed(3)
    found = {}
    for item in projections(model):
        if mode == "rows":
            part = rows_in(item, torch.randperm(item.rows, generator=generator)[:3])
        elif mode == "columns":
            count = item.experts * item.columns
            chosen = torch.randperm(count, generator=generator)[:3]
            part = row_slice(item.name, item.shape, 1 - item.row_axis, chosen)
        elif mode == "entries":
            chosen = torch.randperm(item.weights, generator=generator)[:9]
            part = entry_slice(item.name, item.shape, chosen)
        else:
            part = Slice(item.name, "whole", item.shape)
        found[item.name] = part
    if mode == "everything":
        for name, gradient in reference.items():
            found.setdefault(name, Slice(name, "whole", tuple(gradient.shape)))
    return found


@pytest.mark.parametrize("mode", ["rows", "columns", "entries", "whole", "everything"])
@pytest.mark.parametrize("family", DENSE + EXPERTS)
def test_gradients_are_those_of_autograd(family, mode):
    model = _model(family)
    reference = _reference(model)
    before = {name: p.clone() for name, p in model.named_parameters()}
    selection = Selection("row", _slices(model, mode, reference), fingerprint(model))
    with Deltas(model, selection) as deltas:
        with deltas.attached():
            _loss(model).backward()
        for name, part in selection.slices.items():
            if name in reference:
                expected = part.take(reference[name])
                tolerance = 1e-9 if family in DENSE else 2e-4
                assert torch.allclose(deltas.values[name].grad, expected, atol=tolerance), name
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert not any(p.requires_grad for p in model.parameters())
    assert not any("forward" in module.__dict__ for module in model.modules())


@pytest.mark.parametrize("cost", [0, 1 << 40])
def test_few_entries_are_sampled_and_many_cut_out(monkeypatch, cost):
    """Both ways to form gradients of entries give those of autograd."""
    from hfbiasedit.editing.weights import partial

    monkeypatch.setattr(partial, "_SAMPLED_COST", cost)
    made = []
    pattern = partial._pattern
    monkeypatch.setattr(partial, "_pattern", lambda *a: made.append(pattern(*a)) or made[-1])
    test_gradients_are_those_of_autograd("llama", "entries")
    test_gradients_are_those_of_autograd("gpt2", "entries")
    assert made
    assert all((zeros is None) == (cost > 0) for zeros in made)


def test_no_gradient_reaches_below_the_selection():
    """Blocks under the edited one are left out of the backward pass altogether."""
    model = _model("llama")
    item = next(p for p in projections(model) if p.block == 1 and p.role == "up_proj")
    part = rows_in(item, torch.tensor([1]))
    selection = Selection("row", {item.name: part}, fingerprint(model))
    seen = []
    inputs = []
    model.model.layers[1].register_forward_pre_hook(
        lambda module, args: inputs.append(args[0].requires_grad)
    )
    with Deltas(model, selection) as deltas, deltas.attached():
        _loss(model).backward()
        seen.append(deltas.values[item.name].grad.shape)
    assert inputs == [False]
    assert seen == [(1, item.columns)]


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2_moe"])
def test_streamed_gradients_appear_one_at_a_time(family):
    model = _model(family)
    reference = _reference(model)
    alive, found = [], {}

    def receive(item, weight, gradient):
        found[item.name] = gradient.clone()
        alive.append(sum(p.grad is not None for p in model.parameters()))

    with streamed(model, projections(model), receive):
        _loss(model).backward()
    assert max(alive) == 0
    for name, gradient in found.items():
        assert torch.allclose(gradient, reference[name], atol=1e-4 if "moe" in family else 1e-9)
    assert found.keys() == {p.name for p in projections(model)} & reference.keys()
    assert not any(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_checkpointing_changes_no_gradient(family):
    model = _model(family)
    items = projections(model)
    selection = Selection(
        "row", {p.name: rows_in(p, torch.tensor([0, 2])) for p in items}, fingerprint(model)
    )
    found = []
    for wanted in (False, True):
        with Deltas(model, selection) as deltas, deltas.attached(), checkpointing(model, wanted):
            _loss(model).backward()
            found.append({name: value.grad for name, value in deltas.values.items()})
    for name, gradient in found[0].items():
        assert torch.allclose(gradient, found[1][name], atol=1e-12)
    assert not model.training
    assert not any(module.training for module in model.modules())
