"""Coordinates in leading directions, and how many fit."""

import pytest
import torch
from hfbiasedit.editing.solving.jacobian import gradients_of_share, recorded
from hfbiasedit.editing.solving.metric import code_moments
from hfbiasedit.editing.solving.subspace import moments, rank_for, set_bases

from hfbiasedit.editing.weights.selection import rows_in
from hfbiasedit.editing.weights.slices import WHOLE, entry_slice, row_slice
from hfbiasedit.models.architecture import projections
from tests.editing import worlds


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_coordinates_are_the_weights_gradients_in_orthonormal_directions(family):
    loaded = worlds.loaded(family)
    task = worlds.task(loaded)
    items = projections(loaded.model)[-2:]
    slices = {items[0].name: worlds.whole(items[0].name, items[0].shape)}
    slices[items[1].name] = rows_in(items[1], torch.arange(5))
    batches = task.prompts.batches(task.train, 7)
    with recorded(loaded.model, slices) as tape:
        whole = gradients_of_share(loaded, tape, batches, None).rows
        code = code_moments(loaded, tape, task.keep, None, 0)
        set_bases(task, tape, slices, code, batches, 3)
        cut = gradients_of_share(loaded, tape, batches, None).rows
        for name in slices:
            together = tape.per_sequence(name).sum(0)
            torch.testing.assert_close(tape.total(name), together, rtol=1e-4, atol=1e-6)
    start = cut_start = 0
    for name, part in slices.items():
        bases, count = tape.bases[name], tape.count(name)
        for basis in (bases.first, bases.second):
            if basis is not None:
                torch.testing.assert_close(basis.T @ basis, torch.eye(3), rtol=0, atol=1e-5)
        assert (bases.first is None) == (part.kind != WHOLE)
        full = whole[:, start : start + part.count]
        shape = part.shape if part.kind == WHOLE else (5, part.count // 5)
        for number in (0, len(full) - 1):
            here = cut[number, cut_start : cut_start + count]
            here = here.view(-1, 3)
            # <J, U A V^T> = <U^T J V, A> for any A: moves are expanded as gradients are reduced.
            move = torch.randn(here.shape, generator=torch.Generator().manual_seed(number))
            weights = bases.expand(move)
            assert weights.shape == tuple(shape)
            direct = float((weights.flatten() * full[number]).sum())
            assert float((here * move).sum()) == pytest.approx(direct, rel=1e-3, abs=1e-5)
        start, cut_start = start + part.count, cut_start + count


def test_the_moments_of_both_sides_count():
    assert moments(worlds.whole("a", (100, 40))) == 100**2 + 40**2
    assert moments(row_slice("b", (50, 60), 0, torch.arange(10))) == 10**2 + 60**2
    assert moments(row_slice("b", (50, 60), 1, torch.arange(10))) == 10**2 + 50**2
    assert moments(entry_slice("c", (50, 60), torch.arange(7))) == 7**2 + 7**2


def test_the_rank_is_the_largest_that_fits():
    whole = {"a": worlds.whole("a", (100, 40)), "b": row_slice("b", (50, 60), 0, torch.arange(10))}
    assert rank_for(whole, 4600) is None
    assert rank_for(whole, 4599) == 96  # 96 * 40 + 10 * 60 = 4440
    assert rank_for(whole, 4439) == 64  # 64 * 40 + 10 * 60 = 3160
    assert rank_for(whole, 3159) == 48
    assert rank_for(whole, 416) == 16  # 16 * 16 + 10 * 16
    assert rank_for(whole, 415) == 0
