"""Prices of weights against sums over single tokens, and what they predict."""

import pytest
import torch
from torch import nn

from hfbiasedit import processes
from hfbiasedit.editing.material import price
from hfbiasedit.editing.material.forward import run
from hfbiasedit.editing.material.price import prices
from hfbiasedit.editing.material.windows import choose, prepare_windows
from hfbiasedit.editing.running.recording import recorded
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
    monkeypatch.setattr(price, "windows_at_once", lambda *_: 4)
    loaded = worlds.loaded(family)
    windows = _windows(loaded, 6)
    found = prices(loaded, _names(loaded), windows, SEED)
    assert found.keys() == set(_names(loaded))
    for name in (_names(loaded)[0], _names(loaded)[-1]):
        inputs, outputs = _by_hand(loaded, name, windows, 4)
        damped = [side + price.DAMPING * side.mean() for side in (inputs, outputs)]
        torch.testing.assert_close(found[name].inputs, damped[0], rtol=1e-3, atol=1e-7)
        torch.testing.assert_close(found[name].outputs, damped[1], rtol=1e-3, atol=1e-7)


class _Separate(nn.Module):
    """Mixtral's experts as plain projections that are given every token, unchosen ones in vain."""

    def __init__(self, stacked):
        super().__init__()
        up, down = stacked.gate_up_proj, stacked.down_proj
        self.up = nn.ModuleList(nn.Linear(*part.T.shape, bias=False) for part in up)
        self.down = nn.ModuleList(nn.Linear(*part.T.shape, bias=False) for part in down)
        for modules, weights in ((self.up, up), (self.down, down)):
            for module, weight in zip(modules, weights, strict=True):
                module.weight = nn.Parameter(weight.detach().clone())
        self.act_fn = stacked.act_fn

    def forward(self, hidden, index, weights):
        self.chosen = torch.stack([(index == n).any(-1) for n in range(len(self.up))])
        total = 0
        for number in range(len(self.up)):
            gate, up = self.up[number](hidden).chunk(2, -1)
            weight = (weights * (index == number)).sum(-1, keepdim=True)
            total = total + weight * self.down[number](self.act_fn(gate) * up)
        return total


def test_prices_of_experts_are_mean_squares_over_the_tokens_they_are_given(monkeypatch):
    monkeypatch.setattr(price, "windows_at_once", lambda *_: 4)
    loaded = worlds.loaded("mixtral")
    windows = _windows(loaded, 6)
    names = [item.name for item in projections(loaded.model) if item.experts > 1]
    found = prices(loaded, names, windows, SEED)
    for layer in loaded.model.model.layers:
        layer.mlp.experts = _Separate(layer.mlp.experts)
    loaded.model.requires_grad_(False)
    separate = [f"{name}.weight" for name, m in loaded.model.named_modules() if ".experts." in name]
    separate = [name for name in separate if name.split(".")[-2].isdigit()]
    sums, seen, places = {}, {}, 0

    def receive(passed):
        layer = loaded.model.model.layers[int(passed.name.split(".")[2])]
        expert = int(passed.name.split(".")[-2])
        chosen = layer.mlp.experts.chosen[expert].view(inside.shape) & inside
        for side, values in (("x", passed.x), ("g", passed.g)):
            total = values[chosen].square().sum(0)
            sums[passed.name, side] = sums.get((passed.name, side), 0) + total
        seen[passed.name] = seen.get(passed.name, 0) + int(chosen.sum())

    with recorded(loaded.model, separate, receive):
        for start in (0, 4):
            piece = choose(windows, range(start, min(start + 4, 6)))
            inside = torch.arange(piece.input_ids.shape[1]) < piece.lengths[:, None]
            logits = run(loaded, piece).float()
            generator = torch.Generator().manual_seed(SEED * 1_000_003 + start)
            drawn = torch.multinomial(logits.detach().softmax(-1), 1, generator=generator)
            logits.log_softmax(-1).gather(1, drawn).sum().backward()
            places += len(drawn)
    for name in names:
        layer, kind = name.split(".")[2], "down" if "down" in name else "up"
        own = [f"model.layers.{layer}.mlp.experts.{kind}.{n}.weight" for n in range(4)]
        tokens = sum(seen[other] for other in own)
        common = sum(sums[other, "x"] for other in own) / tokens
        outputs = torch.stack([sums[other, "g"] for other in own]) / places
        for expert, other in enumerate(own):
            x, g = found[name].of(expert)
            expected = (sums[other, "x"] + common) / (seen[other] + 1)
            damped = expected + price.DAMPING * expected.mean()
            torch.testing.assert_close(x, damped, rtol=1e-3, atol=1e-7)
            damped = outputs[expert] + price.DAMPING * outputs.mean()
            torch.testing.assert_close(g, damped, rtol=1e-3, atol=1e-7)


def test_an_expert_that_is_given_nothing_has_a_price():
    """Every token of every window goes to the first two of four."""
    loaded = worlds.loaded("mixtral")
    gate = loaded.model.model.layers[0].mlp.gate
    run_gate = gate.forward

    def first_two(hidden):
        logits, scores, index = run_gate(hidden)
        return logits, scores, torch.tensor([0, 1]).expand_as(index)

    gate.forward = first_two
    name = next(item.name for item in projections(loaded.model) if item.experts > 1)
    found = prices(loaded, [name], _windows(loaded, 4), SEED)[name]
    mean = found.outputs.mean() / (1 + price.DAMPING)
    for expert in (2, 3):
        x, g = found.of(expert)
        assert torch.isfinite(x.rsqrt()).all()
        torch.testing.assert_close(g, torch.full_like(g, price.DAMPING * mean))
        assert 0.5 < float(x.mean() / found.of(0)[0].mean()) < 2


@pytest.mark.parametrize("windows", [3, 6])
def test_two_processes_have_the_prices_of_one(windows, monkeypatch):
    """With three windows the second process has none."""
    monkeypatch.setattr(price, "windows_at_once", lambda *_: 4)
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
