"""Windows that are trained on are not those that the divergence is measured on."""

from __future__ import annotations

import pytest
import torch

from hfbiasedit.editing.material import windows as module
from hfbiasedit.editing.material.forward import remember_original
from hfbiasedit.editing.material.windows import prepare_windows, split_windows, windows_at_once
from hfbiasedit.editing.running import activations
from hfbiasedit.editing.solving.task import watched_divergence
from tests.editing import worlds


def rows(windows):
    """The tokens of each window, without what pads them."""
    return [
        tuple(ids[:length].tolist())
        for ids, length in zip(windows.input_ids, windows.lengths, strict=True)
    ]


@pytest.mark.parametrize("count", [4, 9, 24])
def test_every_window_is_kept_or_watched_and_none_is_both(count):
    windows = prepare_windows(worlds.loaded(), worlds.anchor(), count, 0)
    keep, watch = split_windows(windows)
    assert len(set(rows(windows))) == len(windows)
    assert not set(rows(keep)) & set(rows(watch))
    assert sorted(rows(keep) + rows(watch)) == sorted(rows(windows))
    assert 0 < len(watch) < len(keep)


def test_the_divergence_is_that_of_the_watched_windows():
    model = worlds.loaded()
    task = worlds.task(model)
    weight = model.model.lm_head.weight
    weight.data[7] += 0.5
    found = watched_divergence(task)
    # The definition, on windows of their own: the watched ones and nothing else.
    fresh = worlds.loaded()
    watch = remember_original(fresh, task.watch, None)
    fresh.model.lm_head.weight.data[7] += 0.5
    again = watched_divergence(worlds_task(fresh, watch))
    assert found.shape == again.shape
    assert found.tolist() == pytest.approx(again.tolist(), abs=1e-6)
    assert float(found.mean()) > 0
    task.keep = None  # nothing that was trained on is looked at
    assert watched_divergence(task).tolist() == found.tolist()


def worlds_task(model, watch):
    task = worlds.task(model)
    task.watch = watch
    return task


@pytest.mark.parametrize(("tokens", "expected"), [(512, 8), (1100, 17), (4096, 32)])
def test_a_gpu_is_given_as_many_windows_as_tokens(tokens, expected, monkeypatch):
    model, device = worlds.loaded().model, torch.device("cuda")
    room = activations._SHARE_GPU * 10**12
    monkeypatch.setattr(activations, "bytes_per_token", lambda *_: room / (tokens + 0.5))
    for where in (activations, module):
        monkeypatch.setattr(where, "device_memory", lambda _: 10**12)
    assert windows_at_once(model, device) == expected


def test_a_processor_is_given_eight_windows():
    assert windows_at_once(worlds.loaded().model, torch.device("cpu")) == 8
