"""Memory that runs out in the middle of an edit: half as much at once, and the same result."""

import pytest
import torch

from hfbiasedit import processes
from hfbiasedit.editing.attempt import attempt
from hfbiasedit.editing.config import EditConfig
from hfbiasedit.editing.locating import joint
from hfbiasedit.editing.running.execution import Trunk
from hfbiasedit.editing.running.room import halved, in_room, remembered
from hfbiasedit.errors import BiasEditError
from tests.editing import worlds


def _exhausted(*_):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def test_a_stage_is_repeated_with_half_as_much(capsys):
    seen = []

    def stage():
        seen.append(halved(16))
        return "done" if halved(16) <= 4 else _exhausted()

    with remembered():
        assert in_room(stage) == "done"
        assert seen == [16, 8, 4]
        assert halved(16) == 4  # what was too large is not tried again
        assert halved(3) == 1
    assert halved(16) == 16
    assert capsys.readouterr().err.count("half as many tokens") == 2


def test_where_nothing_is_small_enough_it_is_said_in_one_line():
    with remembered(), pytest.raises(BiasEditError, match="out of memory; use"):
        in_room(_exhausted)


def test_several_processes_do_not_halve_each_for_itself(monkeypatch):
    monkeypatch.setattr(processes, "processes", lambda: 2)
    with remembered(), pytest.raises(BiasEditError, match="out of memory"):
        in_room(_exhausted)
    assert halved(16) == 16


def test_other_errors_are_not_taken_for_it():
    def stage():
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        in_room(stage)


def test_a_model_is_not_called_unfaithful_for_want_of_memory(monkeypatch):
    loaded = worlds.loaded("llama")
    trunk = Trunk(loaded.model, 1)
    monkeypatch.setattr(Trunk, "skipped", _exhausted)
    with pytest.raises(torch.OutOfMemoryError):
        trunk.is_faithful(torch.arange(2, 12)[None])


@pytest.mark.parametrize("solver", ["auto", "adam"])
def test_an_edit_goes_on_with_less_at_once(solver, monkeypatch, capsys):
    """The device takes 130 tokens at a time: two windows, or six prompts of twenty tokens."""
    monkeypatch.setattr(joint, "PRICED", 4)
    monkeypatch.setattr(joint, "load_anchor", lambda _: worlds.anchor())
    config = EditConfig(granularity="row", budget=12, solver=solver, steps=4, max_kl=0.05)
    loaded, _ = worlds.planted()
    material = worlds.material(loaded, 16)
    before = {name: p.clone() for name, p in loaded.model.named_parameters()}
    sizes = []

    def small(module, args, kwargs):
        sizes.append(kwargs["input_ids"].numel())
        if sizes[-1] > 130:
            _exhausted()

    handle = loaded.model.register_forward_pre_hook(small, with_kwargs=True)
    found = attempt(loaded, config, material)
    handle.remove()
    assert "out of memory" in capsys.readouterr().err
    assert sum(size > 130 for size in sizes) <= 3  # once per halving
    assert found.selection.items == 12
    assert found.outcome.dev_after < found.outcome.dev_before
    assert float(found.kl.mean()) <= 0.05
    assert all(torch.equal(p, before[name]) for name, p in loaded.model.named_parameters())
