"""The noise of narrow arithmetic: measured anew from whole logits, and nothing is left behind."""

import math
from dataclasses import replace

import pytest
import torch

from hfbiasedit.editing import lora
from hfbiasedit.editing.attempt import Attempt, attempt
from hfbiasedit.editing.config import EditConfig
from hfbiasedit.editing.solving import curve
from hfbiasedit.editing.solving import noise as module
from hfbiasedit.editing.solving.noise import arithmetic_noise
from hfbiasedit.editing.solving.task import Outcome, Score, scored
from hfbiasedit.editing.weights.selection import Selection
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


def test_what_is_not_a_number_is_within_no_limit():
    kl = torch.tensor([float("nan"), 0.001], dtype=torch.float64)
    for noise in (0.0, 0.001):
        assert math.isnan(Score(5.0, kl, noise).mean_kl)
        assert math.isnan(Outcome(None, 9.0, 8.0, kl, 1, "", noise=noise).mean_kl)
    outcome = Outcome(None, 9.0, 8.0, kl, 1, "")
    found = Attempt(Selection("row", {}, ""), outcome, {}, {}, kl, None)
    assert all(math.isnan(found.kl_summary(0.01)[name]) for name in ("mean", "p99"))


def test_scores_are_beyond_the_noise_of_the_task():
    loaded = worlds.loaded("llama", dtype="bfloat16")
    task = worlds.task(loaded)
    dev = task.prompts.batches(task.dev)
    weight = loaded.model.get_parameter(projections(loaded.model)[-1].name)
    weight.data.mul_(1.5)
    plain = scored(task, dev)
    task.noise = 0.25 * plain.mean_kl
    assert scored(task, dev).mean_kl == pytest.approx(0.75 * plain.mean_kl)
    # Also of the original, whenever it was judged.
    before = task.before(dev)
    task.noise = 0.5 * plain.mean_kl
    assert task.before(dev) is before
    assert before.mean_kl == pytest.approx(0.5 * plain.mean_kl)


def test_the_noise_is_that_of_the_budget_that_was_chosen(monkeypatch):
    loaded = worlds.loaded("llama", dtype="bfloat16")
    config = EditConfig(granularity="row", max_kl=10.0)
    asked = []

    def noise(task, slices):
        asked.append(slices)
        return 1e-5 * len(asked)

    monkeypatch.setattr("hfbiasedit.editing.attempt.arithmetic_noise", noise)
    monkeypatch.setattr(curve, "_enough", lambda *given: 1)
    place = worlds.location(loaded)
    found = attempt(loaded, config, worlds.material(loaded), location=place)
    assert len(asked) == 2
    assert asked[1] is found.selection.slices
    assert sum(part.count for part in asked[1].values()) < sum(
        part.count for part in asked[0].values()
    )
    assert found.kl_summary(0.01)["noise"] == found.outcome.noise == 2e-5


def test_adapters_are_judged_beyond_noise_as_well(monkeypatch):
    pytest.importorskip("peft")
    loaded = worlds.loaded("llama", dtype="bfloat16")
    config = replace(worlds.task(loaded).config, steps=2)
    asked = []

    def noise(task, slices):
        asked.append(slices)
        return 1e-4

    monkeypatch.setattr(lora, "arithmetic_noise", noise)
    found = lora.attempt_lora(loaded, config, worlds.material(loaded))
    assert set(asked[0]) == {item.name for item in projections(loaded.model)}
    assert found.kl_summary(0.01)["noise"] == found.outcome.noise == 1e-4


def test_limits_are_for_what_lies_beyond():
    kl = torch.tensor([0.001, 0.005], dtype=torch.float64)
    assert Score(5.0, kl).mean_kl == pytest.approx(0.003)
    assert Score(5.0, kl, 0.002).mean_kl == pytest.approx(0.001)
    assert Score(5.0, kl, 0.004).mean_kl == 0
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
