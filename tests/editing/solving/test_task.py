"""Scores of a state, and drawing it back until its divergence is allowed."""

from dataclasses import replace

import pytest
import torch

from hfbiasedit.editing.solving import task as tasks
from hfbiasedit.editing.solving.task import Outcome, Score, kept_within, scored, within
from hfbiasedit.editing.weights.deltas import Deltas
from tests.editing import worlds


def _score(divergence):
    return Score(5.0, torch.tensor([divergence], dtype=torch.float64))


def test_a_state_over_the_limit_is_drawn_back_to_it():
    loaded = worlds.loaded("llama")
    task = worlds.task(loaded)
    dev = task.prompts.batches(task.dev)
    with Deltas(loaded.model, worlds.selection(loaded.model, "rows")) as deltas:
        generator = torch.Generator().manual_seed(0)
        deltas.set_(
            {n: 0.1 * torch.randn(v.shape, generator=generator) for n, v in deltas.values.items()}
        )
        before = scored(task, dev)
        assert before.mean_kl > 2e-3
        scale, score = within(task, deltas, dev, before, 1e-3)
        assert 0 < scale < 1
        assert score is not None
        assert 0.5e-3 < score.mean_kl <= 1e-3
        assert scored(task, dev).mean_kl == before.mean_kl  # the deltas are as they were
        deltas.write(scale)
        assert scored(task, dev).mean_kl == score.mean_kl
        deltas.write()
        assert within(task, deltas, dev, score, 1e-3) == (1.0, score)


@pytest.mark.parametrize(
    ("tries", "expected"), [([0.011, 0.011], None), ([0.011, 0.01], 0.01), ([0.01], 0.01)]
)
def test_what_cannot_be_drawn_back_is_no_state(tries, expected, monkeypatch):
    loaded = worlds.loaded("llama")
    task = worlds.task(loaded)
    found = [_score(value) for value in tries]
    monkeypatch.setattr(tasks, "scored", lambda *_: found.pop(0))
    with Deltas(loaded.model, worlds.selection(loaded.model, "rows")) as deltas:
        scale, score = within(task, deltas, [], _score(0.02), 0.01)
    assert scale < 1
    assert not found
    assert (score and score.mean_kl) == expected


@pytest.fixture
def moved():
    """A task, deltas that cost a lot, and the outcome that has them for its best state."""
    loaded = worlds.loaded("llama")
    task = worlds.task(loaded)
    with Deltas(loaded.model, worlds.selection(loaded.model, "rows")) as deltas:
        before = scored(task, task.prompts.batches(task.dev))
        generator = torch.Generator().manual_seed(0)
        deltas.set_(
            {n: 0.1 * torch.randn(v.shape, generator=generator) for n, v in deltas.values.items()}
        )
        score = scored(task, task.prompts.batches(task.dev))
        task.config = replace(task.config, max_kl=score.mean_kl / 3)
        yield task, deltas, Outcome(deltas.state(), before.fb, score.fb, score.kl[:5], 3, "")


def test_a_best_state_that_costs_too_much_after_all_is_drawn_back(moved):
    task, deltas, outcome = moved
    outcome.dev_before = 1e3  # so that the state helps
    whole = outcome.state
    kept_within(task, deltas, outcome)
    found = scored(task, task.prompts.batches(task.dev))
    assert 0.5 * task.config.allowed_kl < found.mean_kl <= task.config.allowed_kl
    assert (outcome.dev_after, outcome.kl.tolist()) == (found.fb, found.kl.tolist())
    name = next(iter(whole))
    scale = float(outcome.state[name].sum() / whole[name].sum())
    assert 0.3 < scale < 0.7
    for name, value in deltas.state().items():
        torch.testing.assert_close(value, scale * whole[name])


def test_what_helps_no_more_once_it_is_drawn_back_is_no_edit(moved):
    task, deltas, outcome = moved
    outcome.dev_before = 0.0
    kept_within(task, deltas, outcome)
    assert outcome.state is None
    assert outcome.dev_after == outcome.dev_before
    assert float(outcome.kl.max()) == pytest.approx(0, abs=1e-6)
    assert not any(value.any() for value in deltas.state().values())
