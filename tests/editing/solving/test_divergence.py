"""Divergence on the watched windows: all of them, or as many as a question takes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hfbiasedit.editing.material.forward import remember_original
from hfbiasedit.editing.material.windows import prepare_windows
from hfbiasedit.editing.solving import divergence as module
from hfbiasedit.editing.solving.divergence import mean_divergence
from hfbiasedit.editing.solving.task import watched_divergence
from tests.editing import worlds


def _task(moved=1.5):
    """A task with many windows, whose model was moved: all tokens, so that windows are alike."""
    loaded = worlds.loaded()
    task = worlds.task(loaded)
    windows = prepare_windows(loaded, worlds.anchor(), 96, 0)
    task.watch = remember_original(loaded, windows, None)
    loaded.model.model.norm.weight.data *= moved
    return task


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(module, "_FEWEST", 8)


def test_what_is_far_from_every_limit_is_seen_on_some_windows(few):
    task = _task()
    every = watched_divergence(task)
    mean = float(every.mean())
    assert len(every) == len(task.watch.sequence)
    for limits in ((1000 * mean,), (mean / 1000, 1000 * mean)):
        some = watched_divergence(task, limits)
        seen = len(task.watch.sequence.unique()) // 2
        assert len(some) <= int((task.watch.sequence < seen).sum())
        assert some.tolist() == every[: len(some)].tolist()


def test_what_is_near_a_limit_is_measured_in_full(few):
    task = _task()
    every = watched_divergence(task)
    mean = float(every.mean())
    for limits in ((1000 * mean, mean), (1.2 * mean,), (mean / 1.2, 1000 * mean)):
        assert watched_divergence(task, limits).tolist() == every.tolist()


def test_there_are_enough_windows_to_tell_how_much_they_differ():
    task = _task()
    some = watched_divergence(task, (1e6,))
    assert int(task.watch.sequence[: len(some)].max()) + 1 >= module._FEWEST


def test_what_is_not_a_number_is_never_clear(few):
    task = _task(math.nan)
    found = watched_divergence(task, (1e-3,))
    assert len(found) == len(task.watch.sequence)
    assert math.isnan(mean_divergence(found, 0.0))


@pytest.mark.parametrize("noise", [0.0, 0.4])
def test_clear_is_four_standard_errors_of_window_means(noise):
    """Windows of as many places each: the error is that of the mean of their means."""
    means = np.random.default_rng(3).gamma(0.4, 2.5, size=40) ** 2
    rng = np.random.default_rng(4)
    kl = torch.tensor((means[:, None] + rng.normal(0, 1e-3, (40, 5))).ravel())
    window = torch.arange(40).repeat_interleave(5)
    by_window = kl.view(40, 5).mean(1).numpy()
    error = by_window.std() / math.sqrt(40)
    mean = by_window.mean() - noise
    for sign in (-1, 1):
        near, far = (mean + sign * times * error for times in (3.9, 4.1))
        assert far > 1.5 * mean or far < mean / 1.5  # so that the error decides
        assert not module._clear(kl, window, (near,), noise)
        assert module._clear(kl, window, (far,), noise)
        assert not module._clear(kl, window, (far, near), noise)


def test_clear_is_half_as_much_again_at_least():
    """However alike the windows that were seen are."""
    kl, window = torch.full((40,), 0.3, dtype=torch.float64), torch.arange(40)
    limits = (0.19, 0.21, 0.3, 0.44, 0.46)
    assert [limit for limit in limits if module._clear(kl, window, (limit,), 0)] == [0.19, 0.46]
