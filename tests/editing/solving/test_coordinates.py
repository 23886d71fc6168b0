"""Coordinates against explicit gradients of whole weights, and what moves cost."""

import pytest
import torch

from hfbiasedit.editing.material.price import Price
from hfbiasedit.editing.solving.coordinates import Coordinates, leading, rank_for
from hfbiasedit.editing.weights import partial
from hfbiasedit.editing.weights.selection import Selection, fingerprint
from hfbiasedit.editing.weights.slices import row_slice
from hfbiasedit.models.architecture import projections
from tests.editing import worlds
from tests.tiny import tiny_model

MODES = ["rows", "columns", "entries", "whole"]


def _selection(model, mode):
    if mode == "whole":
        return worlds.whole_selection(model, projections(model)[-3:], "module")
    return worlds.selection(model, mode, 5)


def _prices(model, selection, generator):
    items = {item.name: item for item in projections(model)}
    return {
        name: Price(
            torch.rand(items[name].columns, generator=generator) + 0.1,
            torch.rand(items[name].rows, generator=generator) + 0.1,
        )
        for name in selection.slices
    }


def _made(family, mode):
    """A model, a selection, prices, coordinates and random x, g of three sequences."""
    model, generator = tiny_model(family), torch.Generator().manual_seed(1)
    selection = _selection(model, mode)
    known = _prices(model, selection, generator)
    items = {item.name: item for item in projections(model)}
    sides = {
        name: (
            torch.randn(3, 7, items[name].columns, generator=generator),
            torch.randn(3, 7, items[name].rows, generator=generator),
        )
        for name in selection.slices
    }
    return items, selection, known, Coordinates.of(model, selection.slices, known), sides


def _stored(item, matrix):
    """A [rows, columns] matrix in the layout in which the tensor is stored."""
    return matrix.T if item.row_axis else matrix


@pytest.mark.parametrize("cost", [0, 1 << 40], ids=["sampled", "dense"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_gradients_and_moves_are_adjoint_and_every_unit_costs_the_same(
    family, mode, cost, monkeypatch
):
    monkeypatch.setattr(partial, "_SAMPLED_COST", cost)
    items, selection, known, coordinates, sides = _made(family, mode)
    assert coordinates.names == list(selection.slices)
    assert coordinates.total == selection.weights
    move = torch.randn(coordinates.total, generator=torch.Generator().manual_seed(2))
    weights, start = coordinates.to_weights(move), 0
    for name, part in selection.slices.items():
        count = coordinates.count(name)
        piece = move[start : start + count]
        start += count
        x, g = sides[name]
        found = coordinates.per_sequence(name, x, g)
        for number in range(3):
            gradient = part.take(_stored(items[name], g[number].T @ x[number]).contiguous())
            assert gradient.shape == weights[name].shape
            direct = float((gradient * weights[name]).sum())
            assert float(found[number] @ piece) == pytest.approx(direct, rel=1e-3, abs=1e-3)
        torch.testing.assert_close(
            coordinates.summed(name, x, g), found.sum(0), rtol=1e-4, atol=1e-3
        )
        fisher = known[name].outputs[:, None] * known[name].inputs
        cost = (weights[name].square() * part.take(_stored(items[name], fisher).contiguous())).sum()
        torch.testing.assert_close(cost, piece.square().sum(), rtol=1e-4, atol=1e-4)
    assert start == len(move)


@pytest.mark.parametrize("mode", ["rows", "columns", "whole"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_narrowed_moves_are_still_adjoint_and_cost_the_same(family, mode):
    items, selection, known, coordinates, sides = _made(family, mode)
    directions = {}
    for name in selection.slices:
        pair = [
            leading([torch.randn(9, side.count)], 3) if number or mode == "whole" else None
            for number, side in enumerate(coordinates.sides[name])
        ]
        for found in pair:
            if found is not None:
                torch.testing.assert_close(found.T @ found, torch.eye(3), rtol=0, atol=1e-5)
        directions[name] = (pair[0], pair[1])
    coordinates.narrowed(directions)
    assert coordinates.total == len(selection.slices) * 3 * (3 if mode == "whole" else 5)
    move = torch.randn(coordinates.total, generator=torch.Generator().manual_seed(2))
    weights, start = coordinates.to_weights(move), 0
    for name, part in selection.slices.items():
        count = coordinates.count(name)
        piece = move[start : start + count]
        start += count
        x, g = sides[name]
        gradient = part.take(_stored(items[name], g[0].T @ x[0]).contiguous())
        direct = float((gradient * weights[name]).sum())
        assert float(coordinates.per_sequence(name, x, g)[0] @ piece) == pytest.approx(
            direct, rel=1e-3, abs=1e-3
        )
        assert torch.linalg.matrix_rank(weights[name], atol=1e-4) <= 3
        fisher = known[name].outputs[:, None] * known[name].inputs
        cost = (weights[name].square() * part.take(_stored(items[name], fisher).contiguous())).sum()
        torch.testing.assert_close(cost, piece.square().sum(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("count", [6, 40])
def test_leading_directions_are_those_of_the_singular_vectors(count):
    generator = torch.Generator().manual_seed(3)
    samples = torch.randn(count, 12, generator=generator) * torch.logspace(1, -1, 12)
    found = leading(samples.split(4), 3)
    assert found.shape == (12, 3)
    expected = torch.linalg.svd(samples, full_matrices=False)[2][:3]
    # The same space: all of each is in the other.
    torch.testing.assert_close(
        (expected @ found).square().sum(), torch.tensor(3.0), atol=1e-3, rtol=0
    )
    assert leading([samples], 12) is None
    samples[0, 0] = float("nan")
    assert torch.isfinite(leading([samples], 3)).all()


def test_the_rank_is_the_largest_that_fits():
    """Two whole matrices [32, 64] and [64, 32], and ten rows of [64, 32]."""
    model = tiny_model("llama")
    items = {item.role: item for item in projections(model) if item.block == 1}
    parts = [worlds.whole(items[r].name, items[r].shape) for r in ("down_proj", "up_proj")]
    gate = items["gate_proj"]
    parts.append(row_slice(gate.name, gate.shape, 0, torch.arange(10)))
    selection = Selection("row", {part.name: part for part in parts}, fingerprint(model))
    known = _prices(model, selection, torch.Generator().manual_seed(0))
    coordinates = Coordinates.of(model, selection.slices, known)
    assert coordinates.total == 2 * 32 * 64 + 320

    def rank(most):
        return rank_for(coordinates, selection.slices, most)

    assert rank(4416) is None
    assert rank(4415) == 48  # 2 * 32 * 48 + 320 = 3392
    assert rank(3391) == 32  # 2 * 32 * 32 + 320 = 2368
    assert rank(2367) == 24  # 2 * 24 * 24 + 240 = 1392
    assert rank(1391) == 16
    assert rank(1) == 8
