"""Selections that are too wide move in the directions of what their prompts say."""

import pytest
import torch

from hfbiasedit.editing.solving import directions, gauss_newton
from hfbiasedit.editing.solving.gauss_newton import solve
from hfbiasedit.editing.weights.deltas import Deltas
from hfbiasedit.editing.weights.selection import Selection, rows_in
from hfbiasedit.models.architecture import projections
from tests.editing import worlds


@pytest.mark.parametrize("most", [3 * 16 * 16, 10])
def test_wide_selections_move_within_few_directions(most, monkeypatch):
    """So cut down that nothing else fits, the edit still helps, and moves are of that rank."""
    loaded = worlds.loaded("llama")
    items = projections(loaded.model)[-3:]
    monkeypatch.setattr(directions, "widest", lambda _: most)
    monkeypatch.setattr(gauss_newton, "ROUNDS", 1)
    rank = 16 if most > 10 else 8
    with Deltas(loaded.model, worlds.whole_selection(loaded.model, items, "module")) as deltas:
        outcome = solve(worlds.task(loaded, granularity="module", max_kl=0.05), deltas)
        moved = {name: value.detach().clone() for name, value in deltas.values.items()}
    assert outcome.dev_after < 0.9 * outcome.dev_before
    for value in moved.values():
        singular = torch.linalg.svdvals(value)
        assert int((singular > 1e-5 * singular[0]).sum()) <= rank


def test_rows_of_experts_move_within_few_directions(monkeypatch):
    """Each within those of what its own expert was given."""
    loaded = worlds.loaded("mixtral")
    item = projections(loaded.model)[-1]
    chosen = Selection("row", {item.name: rows_in(item, torch.arange(0, item.rows, 2))}, "")
    monkeypatch.setattr(directions, "widest", lambda _: item.rows // 2 * 8)
    monkeypatch.setattr(gauss_newton, "ROUNDS", 1)
    with Deltas(loaded.model, chosen) as deltas:
        outcome = solve(worlds.task(loaded, max_kl=0.05), deltas)
        moved = deltas.values[item.name].detach().view(item.experts, -1, item.columns)
    assert outcome.dev_after < 0.9 * outcome.dev_before
    ranks = [int(torch.linalg.matrix_rank(part, rtol=1e-5)) for part in moved]
    assert max(ranks) == 8
    assert int(torch.linalg.matrix_rank(moved.flatten(0, 1), rtol=1e-5)) > 8


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [(10**6, 1 << 19), (512 * 700_000, 700_000), (7 * 10**9, 1 << 21)],
)
def test_coordinates_grow_with_the_model_within_bounds(parameters, expected):
    assert directions.widest(parameters) == expected
