"""Prices of weights against sums over single tokens, and what they predict."""

import pytest
import torch

from hfbiasedit.editing import processes
from hfbiasedit.editing.material import price
from hfbiasedit.editing.material.forward import run
from hfbiasedit.editing.material.price import prices
from hfbiasedit.editing.material.windows import choose, prepare_windows
from hfbiasedit.editing.solving.task import watched_divergence
from hfbiasedit.editing.weights.deltas import Deltas
from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.architecture import projections, submodule_weight
from tests.editing import worlds

SEED = 3


def _names(loaded):
    return [item.name for item in projections(loaded.model)]


def _windows(loaded, count):
    return prepare_windows(loaded, worlds.anchor(), count, 0, length=24)


def _by_hand(loaded, name, windows, piece):
    """Mean squares of inputs and of gradients of drawn labels, one window and token at a time."""
    module, _ = submodule_weight(loaded.model, name)
    inputs, outputs, tokens, places = 0.0, 0.0, 0, 0
    for start in range(0, len(windows), piece):
        numbers = range(start, min(start + piece, len(windows)))
        together = choose(windows, numbers)
        generator = torch.Generator().manual_seed(SEED * 1_000_003 + start)
        with torch.no_grad():
            logits = run(loaded, together).float()
        labels = torch.multinomial(logits.softmax(-1), 1, generator=generator).squeeze(1)
        for number in range(len(numbers)):
            own = choose(together, [number])
            seen = []

            def keep(module, args, output, seen=seen):
                output = output.detach().requires_grad_()
                seen[:] = [args[0], output]
                return output

            handle = module.register_forward_hook(keep)
            log = run(loaded, own).float().log_softmax(-1)
            handle.remove()
            mine = labels[together.sequence == number]
            log[torch.arange(len(mine)), mine].sum().backward()
            for t in range(seen[0].shape[1]):
                inputs = inputs + seen[0][0, t].detach().square()
                outputs = outputs + seen[1].grad[0, t].square()
            tokens, places = tokens + int(own.lengths.sum()), places + len(mine)
    return inputs / tokens, outputs / places


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_prices_are_mean_squares_over_tokens(family, monkeypatch):
    monkeypatch.setattr(price, "_PIECE", 4)
    loaded = worlds.loaded(family)
    windows = _windows(loaded, 6)
    found = prices(loaded, _names(loaded), windows, SEED)
    assert found.keys() == set(_names(loaded))
    for name in (_names(loaded)[0], _names(loaded)[-1]):
        inputs, outputs = _by_hand(loaded, name, windows, 4)
        damped = [side + price.DAMPING * side.mean() for side in (inputs, outputs)]
        torch.testing.assert_close(found[name].inputs, damped[0], rtol=1e-3, atol=1e-7)
        torch.testing.assert_close(found[name].outputs, damped[1], rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("windows", [3, 6])
def test_two_processes_have_the_prices_of_one(windows, monkeypatch):
    """With three windows the second process has none."""
    monkeypatch.setattr(price, "_PIECE", 4)
    loaded = worlds.loaded("llama")
    names, material = _names(loaded)[:3], _windows(loaded, windows)
    alone = prices(loaded, names, material, SEED)
    parts = []
    for rank in (0, 1):
        monkeypatch.setattr(processes, "share", lambda items, rank=rank: list(items[rank::2]))
        monkeypatch.setattr(processes, "add_up_", lambda t: parts.append([v.clone() for v in t]))
        prices(loaded, names, material, SEED)
    totals = [a + b for a, b in zip(*parts, strict=True)]

    def add(tensors):
        for tensor, total in zip(tensors, totals, strict=True):
            tensor.copy_(total)

    monkeypatch.setattr(processes, "add_up_", add)
    for name, found in prices(loaded, names, material, SEED).items():
        torch.testing.assert_close(found.inputs, alone[name].inputs)
        torch.testing.assert_close(found.outputs, alone[name].outputs)


def test_what_no_window_reaches_has_a_price():
    loaded = worlds.loaded("llama")
    name = _names(loaded)[0]
    loaded.model.get_parameter("lm_head.weight").data.zero_()
    found = prices(loaded, [name], _windows(loaded, 2), SEED)[name]
    assert (found.outputs > 0).all()
    assert torch.isfinite(found.outputs.rsqrt()).all()


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_prices_predict_the_divergence_of_a_small_move(family):
    """u^T F u / 2 is KL(original || moved), within a factor of three for random moves."""
    loaded = worlds.loaded(family)
    task = worlds.task(loaded)
    item = projections(loaded.model)[-1]
    known = prices(loaded, [item.name], task.keep, 0)[item.name]
    fisher = known.outputs[:, None] * known.inputs
    move = torch.randn(fisher.shape, generator=torch.Generator().manual_seed(4))
    move *= (2e-3 / (move.square() * fisher).sum()).sqrt()
    chosen = worlds.whole_selection(loaded.model, [item], "module")
    with Deltas(loaded.model, chosen) as deltas:
        deltas.set_({item.name: move.T if family == "gpt2" else move})
        measured = float(watched_divergence(task).mean())
    assert 1 / 3 < 1e-3 / measured < 3


def test_logits_that_are_not_finite_are_said():
    loaded = worlds.loaded("llama")
    loaded.model.get_parameter("lm_head.weight").data[5] = float("nan")
    with pytest.raises(BiasEditError, match="not finite"):
        prices(loaded, _names(loaded), _windows(loaded, 2), SEED)
