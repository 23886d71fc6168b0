"""The noise of narrow arithmetic: measured anew from whole logits, and nothing is left behind."""

from dataclasses import replace

import pytest
import torch

from hfbiasedit.editing.attempt import attempt
from hfbiasedit.editing.solving import noise as module
from hfbiasedit.editing.solving.noise import arithmetic_noise
from hfbiasedit.editing.solving.task import Outcome, Score
from hfbiasedit.editing.weights.slices import WHOLE, Slice
from hfbiasedit.models.architecture import projections
from tests.editing import worlds


def _state(loaded):
    return {name: p.detach().clone() for name, p in loaded.model.named_parameters()}


def _whole(loaded, count=4):
    items = projections(loaded.model)[-count:]
    return {item.name: Slice(item.name, WHOLE, tuple(item.shape)) for item in items}


@torch.no_grad()
def _log_probabilities(loaded, windows):
    """Of all tokens at the watched places, from whole logits."""
    logits = loaded.model(input_ids=windows.input_ids).logits
    return logits[windows.sequence, windows.position].double().log_softmax(-1)


def test_it_is_what_any_small_change_makes_of_narrow_logits():
    loaded = worlds.loaded("llama", dtype="bfloat16")
    task = worlds.task(loaded)
    found = arithmetic_noise(task, _whole(loaded))
    before = _log_probabilities(loaded, task.watch)
    weight = loaded.model.get_parameter(projections(loaded.model)[-2].name)
    weight.data[::7] *= 1 + 2**-7  # another change than the one that was measured with
    after = _log_probabilities(loaded, task.watch)
    divergence = float((before.exp() * (before - after)).sum(-1).mean())
    assert divergence > 1e-6
    assert divergence / 3 < found < 3 * divergence


def test_there_is_none_in_wide_arithmetic():
    loaded = worlds.loaded("llama")
    assert arithmetic_noise(worlds.task(loaded), _whole(loaded)) < 1e-7


@pytest.mark.parametrize("mode", ["rows", "columns", "entries", "whole"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "mixtral"])
def test_a_few_selected_weights_move_by_a_last_digit_and_come_back(family, mode, monkeypatch):
    loaded = worlds.loaded(family, dtype="bfloat16")
    task, before = worlds.task(loaded), _state(loaded)
    slices = _whole(loaded) if mode == "whole" else worlds.selection(loaded.model, mode).slices
    moved = {}

    def look(given):
        assert given is task
        for name, now in _state(loaded).items():
            change = (now.float() - before[name].float()).abs()
            if change.any():
                moved[name] = change.flatten().nonzero()[:, 0]
                most = before[name].float().abs() * 2**-6
                assert bool((change <= most).all())
        return torch.tensor([0.25, 0.75])

    monkeypatch.setattr(module, "watched_divergence", look)
    assert arithmetic_noise(task, slices) == 0.5
    assert set(moved) == set(slices)
    for name, places in moved.items():
        assert bool(torch.isin(places, slices[name].entries()).all())
        assert len(places) <= 256 + max(slices[name].shape)
    after = _state(loaded)
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_weights_come_back_where_measuring_fails(monkeypatch):
    loaded = worlds.loaded("llama", dtype="bfloat16")
    task, before = worlds.task(loaded), _state(loaded)

    def fail(given):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "watched_divergence", fail)
    with pytest.raises(KeyboardInterrupt):
        arithmetic_noise(task, _whole(loaded))
    after = _state(loaded)
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_limits_are_for_what_lies_beyond():
    kl = torch.tensor([0.001, 0.005], dtype=torch.float64)
    assert Score(5.0, kl, 1.0).mean_kl == pytest.approx(0.003)
    assert Score(5.0, kl, 1.0, 0.002).mean_kl == pytest.approx(0.001)
    assert Score(5.0, kl, 1.0, 0.004).mean_kl == 0
    assert Outcome(None, 9.0, 8.0, kl, 1, "", noise=0.002).mean_kl == pytest.approx(0.001)


@pytest.mark.parametrize("solver", ["newton", "adam"])
def test_an_edit_is_allowed_the_noise_on_top_and_says_how_much_it_is(solver, monkeypatch):
    loaded = worlds.loaded("llama", dtype="bfloat16")
    chosen = worlds.selection(loaded.model, "rows", 12)
    config = replace(worlds.task(loaded).config, granularity="row", solver=solver, steps=4)
    real, asked = arithmetic_noise, []

    def noise(task, slices):
        asked.append((real(task, slices), slices))
        return asked[-1][0]

    monkeypatch.setattr("hfbiasedit.editing.attempt.arithmetic_noise", noise)
    found = attempt(loaded, config, worlds.material(loaded), selection=chosen)
    [(value, slices)] = asked
    assert slices is chosen.slices
    summary = found.kl_summary(0.01)
    assert summary["noise"] == value > 0
    assert summary["mean"] == pytest.approx(max(0.0, float(found.kl.mean()) - value))
    # The last state of the history that is the outcome's was judged by the same.
    if found.helped:
        assert summary["mean"] <= config.allowed_kl
