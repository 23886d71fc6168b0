"""Scores of a state, and drawing it back until its divergence is allowed."""

import pytest
import torch

from hfbiasedit.editing.solving import task as tasks
from hfbiasedit.editing.solving.task import Score, scored, within
from hfbiasedit.editing.weights.deltas import Deltas
from tests.editing import worlds


def _score(divergence):
    return Score(5.0, torch.tensor([divergence], dtype=torch.float64), 1.0)


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
