"""Prompts as linear functions of a move, against finite differences and dense matrices."""

from dataclasses import replace

import pytest
import torch

from hfbiasedit.editing.material.dual import Targets
from hfbiasedit.editing.material.forward import run
from hfbiasedit.editing.material.objective import bias_terms
from hfbiasedit.editing.solving import linearisation, storage
from hfbiasedit.editing.solving.linearisation import Linear
from tests.editing import worlds


@torch.no_grad()
def _values(bench):
    """Logits of shares, and changes of log masses of the held prompts, where the model is."""
    task, sample = bench.task, bench.sample
    found = [bias_terms(b, run(task.loaded, b)).logit for b in sample.prompts]
    found += [bias_terms(b, run(task.loaded, b)).mass_change for b in sample.held]
    return torch.cat(found).double()


def _way(bench, seed=1):
    move = torch.randn(bench.coordinates.total, generator=torch.Generator().manual_seed(seed))
    return move / move.norm()


@pytest.mark.parametrize("mode", ["rows", "columns", "entries"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "phi3"])
def test_derivatives_are_finite_differences(family, mode):
    loaded = worlds.loaded(family, dtype="float64")
    with worlds.bench(loaded, worlds.selection(loaded.model, mode)) as bench:
        linear = bench.linear()
        torch.testing.assert_close(linear.targets.start, _values(bench), rtol=1e-5, atol=1e-5)
        way = _way(bench)
        bench.write(1e-3 * way)
        ahead = _values(bench)
        bench.write(-1e-3 * way)
        slope = (ahead - _values(bench)) / 2e-3
    assert linear.finite
    assert slope.abs().max() > 0.01
    # Rows are kept in bfloat16: every inner product is off by a little of all of them.
    error = (linear.pushed(way) - slope).norm() / slope.norm()
    assert error < 0.01


def test_targets_are_those_of_the_prompts():
    loaded = worlds.loaded("llama")
    with worlds.bench(loaded, worlds.selection(loaded.model, "rows"), mass=0.7) as bench:
        linear = bench.linear()
        records = bench.task.prompts.records
    count = len(records)
    held = linear.records[count:]
    assert sorted(r.id for r in linear.records[:count]) == sorted(r.id for r in records)
    assert {r.id for r in held} == {records[number].id for number in bench.task.train[::8]}
    mass = dict(zip((r.id for r in records), bench.task.prompts.log_mass, strict=True))
    wanted = torch.tensor([mass[r.id] for r in linear.records]).exp()
    torch.testing.assert_close(linear.mass, wanted, rtol=1e-3, atol=1e-6)
    facts = torch.tensor([record.share_female for record in linear.records[:count]])
    torch.testing.assert_close(linear.targets.goal[:count].sigmoid().float(), facts)
    assert torch.equal(linear.targets.share, torch.arange(count + len(held)) < count)
    # Nothing has moved yet; half squares count twice.
    assert linear.targets.start[count:].abs().max() < 1e-4
    assert float(linear.targets.weight[count:].sum()) == pytest.approx(2 * 0.7)


def test_a_model_that_has_moved_is_differentiated_where_it_is():
    loaded = worlds.loaded("llama", dtype="float64")
    with worlds.bench(loaded, worlds.selection(loaded.model, "rows")) as bench:
        now = 2 * _way(bench)
        bench.write(now)
        there = _values(bench)
        linear = bench.linear()
        assert (there - _values(bench)).abs().max() == 0
        torch.testing.assert_close(linear.targets.start, there, rtol=1e-4, atol=1e-4)
        way = _way(bench, 2)
        bench.write(now + 1e-3 * way)
        ahead = _values(bench)
        bench.write(now - 1e-3 * way)
        slope = (ahead - _values(bench)) / 2e-3
    assert (linear.pushed(way) - slope).norm() < 0.01 * slope.norm()


def test_blocks_skipped_below_change_nothing(monkeypatch):
    from hfbiasedit.editing.attempt import trunk_for
    from hfbiasedit.editing.material.gathering import Material

    loaded = worlds.loaded("llama")
    chosen = worlds.selection(loaded.model, "rows")
    material = Material(
        worlds.prompts(loaded),
        [0, 1, 2, 3],
        [4, 5],
        worlds.anchor(),
        worlds.task(loaded).keep,
    )
    trunk = trunk_for(loaded, chosen, material)
    assert trunk is not None
    assert trunk.first == 1
    with worlds.bench(loaded, chosen) as bench:
        whole = bench.linear()
        batches = [replace(b, hidden=trunk.capture(b.input_ids)) for b in bench.sample.prompts]
        sample = replace(bench.sample, prompts=batches, held=())
        above = linearisation.linearised(loaded, bench.coordinates, sample, trunk)
    rows = whole.rows[: len(above.rows)].float()
    assert (above.rows.float() - rows).norm() < 0.01 * rows.norm()


def _random(width=37):
    generator = torch.Generator().manual_seed(4)
    rows = torch.randn(6, width, generator=generator).to(torch.bfloat16)
    targets = Targets.of(
        torch.randn(6, generator=generator), torch.rand(6, generator=generator), torch.ones(6)
    )
    return Linear(rows, targets, worlds.records()[:6], torch.ones(6)), generator


@pytest.mark.parametrize("block", [8, 1 << 16])
def test_products_are_those_of_the_dense_matrix(block, monkeypatch):
    monkeypatch.setattr(linearisation, "_FEWEST", block)
    monkeypatch.setattr(linearisation, "_MOST", block)
    linear, generator = _random()
    dense = linear.rows.double()
    y, move = torch.randn(6, generator=generator), torch.randn(37, generator=generator)
    mask = torch.rand(37, generator=generator) < 0.4
    close = dict(rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(linear.gram(), dense @ dense.T, **close)
    torch.testing.assert_close(linear.pushed(move).double(), dense @ move.double(), **close)
    torch.testing.assert_close(linear.pulled(y).double(), y.double() @ dense, **close)
    some = dense * mask
    torch.testing.assert_close(linear.gram(mask), some @ some.T, **close)
    torch.testing.assert_close(linear.pulled(y, mask).double(), y.double() @ some, **close)
    part = linear.columns(mask)
    torch.testing.assert_close(part.gram(), some @ some.T, **close)
    assert part.rows.shape[1] == int(mask.sum())


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_seen(bad):
    linear, _ = _random()
    assert linear.finite
    rows = linear.rows.clone()
    rows[3, 30] = bad
    assert not replace(linear, rows=rows).finite
    start = linear.targets.start.clone()
    start[2] = bad
    assert not replace(linear, targets=replace(linear.targets, start=start)).finite


@pytest.mark.parametrize("height", [6, 1152])
def test_no_product_of_rows_keeps_an_interrupt_waiting(height):
    """Blocks are as wide as a bounded number of operations allows."""
    rows = torch.zeros(1, dtype=torch.bfloat16).expand(height, 1 << 17)
    linear = replace(_random()[0], rows=rows)
    widths = [block.shape[1] for _, block in linear._blocks()]
    assert sum(widths) == 1 << 17
    assert max(widths) * 2 * height**2 <= linearisation._OPERATIONS
    assert min(widths) >= linearisation._FEWEST


def test_an_interrupt_in_the_middle_leaves_the_model_as_it_was(monkeypatch):
    loaded = worlds.loaded("llama")
    calls = []

    def interrupt(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    with worlds.bench(loaded, worlds.selection(loaded.model, "rows")) as bench:
        real = type(bench.coordinates).per_sequence
        monkeypatch.setattr(type(bench.coordinates), "per_sequence", interrupt)
        with pytest.raises(KeyboardInterrupt):
            bench.linear()
    assert len(calls) == 3
    assert not any(module._forward_hooks for module in loaded.model.modules())


def test_rows_on_disk_are_those_in_memory(monkeypatch):
    loaded = worlds.loaded("llama")
    with worlds.bench(loaded, worlds.selection(loaded.model, "rows")) as bench:
        kept = bench.linear()
        monkeypatch.setattr(storage, "IN_MEMORY", 0)
        stored = bench.linear()
    assert torch.equal(stored.rows, kept.rows)
    assert torch.equal(stored.gram(), kept.gram())
    mask = torch.arange(kept.rows.shape[1]) % 3 == 0
    assert torch.equal(stored.columns(mask).rows, kept.rows[:, mask])
