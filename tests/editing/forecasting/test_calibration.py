"""How fast this device is, and the block of a model that says so."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from hfbiasedit.editing.forecasting import block as blocks
from hfbiasedit.editing.forecasting import calibration
from hfbiasedit.editing.forecasting.block import one_block
from hfbiasedit.editing.forecasting.calibration import calibrate
from hfbiasedit.editing.forecasting.widths import Widths
from hfbiasedit.models.architecture import decoder_blocks, projections
from tests.editing.forecasting.test_forecast import PLAIN, meta
from tests.tiny import tiny_model

CPU = torch.device("cpu")


@pytest.mark.parametrize("family", [*PLAIN, "qwen2_moe"])
def test_one_block_is_one_of_the_model_and_nothing_else(family):
    model = meta(family).model
    found = one_block(model, torch.float32, CPU)
    assert found is not None
    assert [type(b) for _, b in decoder_blocks(found.model)] == [type(decoder_blocks(model)[0][1])]
    assert len(decoder_blocks(model)) == 2  # what was asked about is as it was
    assert {p.device.type for p in model.parameters()} == {"meta"}
    own = {item.name: item for item in projections(model) if item.block == 0}
    items = projections(found.model)
    assert {i.name: (i.rows, i.columns) for i in items} == {
        name: (item.rows, item.columns) for name, item in own.items()
    }
    assert {found.model.get_parameter(item.name).device.type for item in items} == {"cpu"}
    # The widest part of a model is not made.
    assert found.model.get_input_embeddings().weight.device.type == "meta"
    out = found.forward()
    assert out.shape == found.inputs.shape
    assert not out.requires_grad
    assert found.tokens == 512


def test_a_pass_back_goes_to_what_entered(monkeypatch):
    found = one_block(meta("llama").model, torch.bfloat16, CPU)
    seen = []
    first = projections(found.model)[0]
    module = found.model.get_submodule(first.module_path)
    module.register_full_backward_hook(lambda *given: seen.append(given[1][0]))
    found.both()
    assert seen[0].dtype == torch.bfloat16
    assert seen[0].abs().max() > 0
    assert all(p.grad is None for p in found.model.parameters())
    assert found.inputs.grad is None


def test_large_blocks_are_given_fewer_tokens_and_larger_ones_are_not_made(monkeypatch):
    model = meta("llama").model
    monkeypatch.setattr(blocks, "_LARGE", 1)
    assert one_block(model, torch.float32, CPU).tokens == 128
    monkeypatch.setattr(blocks, "_LARGEST", 1)
    assert one_block(model, torch.float32, CPU) is None


def test_of_a_class_that_is_unlike_others_there_is_no_block(monkeypatch):
    model = meta("llama").model
    monkeypatch.setattr(type(model), "get_decoder", lambda self: None)
    assert one_block(model, torch.float32, CPU) is None


@pytest.mark.parametrize("made", [True, False])
def test_a_calibration_measures_every_kind(made, monkeypatch):
    monkeypatch.setattr(calibration, "_SECONDS", (0.0, 0.0, 0.0, 0.0))
    if not made:
        monkeypatch.setattr(calibration, "one_block", lambda *_: None)
    model = tiny_model("llama")
    threads = torch.get_num_threads()
    found = calibrate(model, projections(model), torch.float32, CPU)
    for rate in (found.forward, found.both, found.wide, found.rows):
        assert 0 < rate.wall < float("inf")
        assert 0 < rate.processor < float("inf")
    assert torch.get_num_threads() == threads
    assert (found.forward == found.both) is not made


def _clock(monkeypatch, seconds):
    """A clock on which every piece of work takes a while; on one thread, and on two."""
    now = SimpleNamespace(wall=0.0, processor=0.0)
    monkeypatch.setattr(calibration.time, "perf_counter", lambda: now.wall)
    monkeypatch.setattr(calibration.time, "process_time", lambda: now.processor)

    def work():
        now.wall += seconds
        now.processor += 2 * seconds

    return work


def test_rates_are_operations_by_time_and_a_pass_back_counts_twice(monkeypatch):
    model = meta("llama").model
    items = projections(model)
    work = _clock(monkeypatch, 0.5)
    made = one_block(model, torch.float32, CPU)
    widths = Widths.of(made.model, projections(made.model))
    fake = SimpleNamespace(forward=work, both=work, tokens=made.tokens, model=made.model)
    monkeypatch.setattr(calibration, "one_block", lambda *_: fake)
    forward, both = calibration._passes(model, items, torch.float32, CPU)
    operations = 2.0 * made.tokens * widths.weights
    assert forward.wall == pytest.approx(operations / 0.5)
    assert forward.processor == pytest.approx(operations / 1.0)
    assert both.wall == pytest.approx(2 * operations / 0.5)


@pytest.mark.parametrize(("each", "rounds"), [(0.5, 1), (0.1, 1 + 4)])
def test_work_that_takes_long_is_done_once(each, rounds, monkeypatch):
    """What takes less is done for so long, after one round to warm up."""
    work, done = _clock(monkeypatch, each), []
    found = calibration._repeated(lambda: done.append(work()), CPU, 0.4)
    assert len(done) == rounds
    assert found == pytest.approx((2 * each, each))
