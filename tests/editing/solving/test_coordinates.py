"""Coordinates against explicit gradients of whole weights, and what moves cost."""

import pytest
import torch

from hfbiasedit.editing.material.price import Price
from hfbiasedit.editing.running.recording import Passed
from hfbiasedit.editing.solving.coordinates import Coordinates, leading, own_slices, rank_for
from hfbiasedit.editing.weights.selection import Selection, fingerprint
from hfbiasedit.editing.weights.slices import row_slice
from hfbiasedit.models.architecture import projections
from tests.editing import worlds
from tests.tiny import tiny_model

# Experts are stored upright and transposed, and never selected as whole stacks.
CASES = [
    (family, mode)
    for family in ("llama", "gpt2", "mixtral", "gpt_oss")
    for mode in ("rows", "columns", "entries", "whole")
    if mode != "whole" or family in ("llama", "gpt2")
]


def _selection(model, mode):
    if mode == "whole":
        return worlds.whole_selection(model, projections(model)[-3:], "module")
    return worlds.selection(model, mode, 5)


def _prices(model, selection, generator):
    items = {item.name: item for item in projections(model)}
    return {
        name: Price(
            torch.rand(items[name].experts * items[name].columns, generator=generator) + 0.1,
            torch.rand(items[name].rows, generator=generator) + 0.1,
            items[name].experts,
        )
        for name in selection.slices
    }


def _made(family, mode):
    """A model, a selection, prices, coordinates, and random x, g of three sequences by matrix."""
    model, generator = tiny_model(family), torch.Generator().manual_seed(1)
    selection = _selection(model, mode)
    known = _prices(model, selection, generator)
    items = {item.name: item for item in projections(model)}
    sides = {
        (name, expert): Passed(
            name,
            torch.randn(3, 7, items[name].columns, generator=generator),
            torch.randn(3, 7, items[name].rows // items[name].experts, generator=generator),
            expert,
        )
        for name in selection.slices
        for expert in range(items[name].experts)
    }
    return items, selection, known, Coordinates.of(model, selection.slices, known), sides


def _stored(item, matrix, expert):
    """A tensor as it is stored, zero but for a [rows, columns] matrix of one expert."""
    found = torch.zeros(item.shape)
    found.view(item.experts, *item.shape[-2:])[expert] = matrix.T if item.row_axis else matrix
    return found


def _fisher(item, price):
    parts = [price.of(expert) for expert in range(item.experts)]
    return sum(_stored(item, g[:, None] * x, expert) for expert, (x, g) in enumerate(parts))


def _pieces(coordinates, move):
    """The part [count] of a move that is of each matrix."""
    counts = [coordinates.count(key) for key in coordinates.keys]
    return dict(zip(coordinates.keys, move.split(counts), strict=True))


@pytest.mark.parametrize(("family", "mode"), CASES)
def test_gradients_and_moves_are_adjoint_and_every_unit_costs_the_same(family, mode):
    items, selection, known, coordinates, sides = _made(family, mode)
    assert coordinates.names == list(selection.slices)
    assert coordinates.total == selection.weights
    move = torch.randn(coordinates.total, generator=torch.Generator().manual_seed(2))
    weights, pieces = coordinates.to_weights(move), _pieces(coordinates, move)
    for key, piece in pieces.items():
        (name, expert), passed = key, sides[key]
        part, item = selection.slices[name], items[name]
        found = coordinates.per_sequence(passed)
        for number in range(3):
            product = passed.g[number].T @ passed.x[number]
            gradient = part.take(_stored(item, product, expert))
            assert gradient.shape == weights[name].shape
            direct = float((gradient * weights[name]).sum())
            assert float(found[number] @ piece) == pytest.approx(direct, rel=1e-3, abs=1e-3)
    cost = sum(
        (weights[name].square() * part.take(_fisher(items[name], known[name]))).sum()
        for name, part in selection.slices.items()
    )
    torch.testing.assert_close(cost, move.square().sum(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("family", "mode"), [case for case in CASES if case[1] != "entries"])
def test_narrowed_moves_are_still_adjoint_and_cost_the_same(family, mode):
    items, selection, known, coordinates, sides = _made(family, mode)
    directions = {}
    wide = [coordinates.sides[key][0].count for key in coordinates.keys]
    for key in coordinates.keys:
        pair = [
            leading([torch.randn(9, side.count)], 3) if number or mode == "whole" else None
            for number, side in enumerate(coordinates.sides[key])
        ]
        for found in pair:
            if found is not None:
                torch.testing.assert_close(found.T @ found, torch.eye(3), rtol=0, atol=1e-5)
        directions[key] = (pair[0], pair[1])
    coordinates.narrowed(directions)
    assert coordinates.total == sum(3 * (3 if mode == "whole" else count) for count in wide)
    move = torch.randn(coordinates.total, generator=torch.Generator().manual_seed(2))
    weights = coordinates.to_weights(move)
    for key, piece in _pieces(coordinates, move).items():
        (name, expert), passed = key, sides[key]
        part = selection.slices[name]
        gradient = part.take(_stored(items[name], passed.g[0].T @ passed.x[0], expert))
        direct = float((gradient * weights[name]).sum())
        found = float(coordinates.per_sequence(passed)[0] @ piece)
        assert found == pytest.approx(direct, rel=1e-3, abs=1e-3)
    cost = 0.0
    for name, part in selection.slices.items():
        if items[name].experts == 1:
            assert torch.linalg.matrix_rank(weights[name], atol=1e-4) <= 3
        cost = cost + (weights[name].square() * part.take(_fisher(items[name], known[name]))).sum()
    torch.testing.assert_close(cost, move.square().sum(), rtol=1e-3, atol=1e-3)


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


def test_slices_of_single_experts_ascend_and_cover_the_whole():
    model = tiny_model("mixtral")
    item = next(item for item in projections(model) if item.experts > 1)
    inner = item.rows // item.experts
    rows = torch.tensor([0, 5, 2 * inner, 3 * inner + 1])
    part = row_slice(item.name, item.shape, 0, rows)
    found = dict(own_slices(part))
    assert {expert: own.index.tolist() for expert, own in found.items()} == {
        0: [0, 5],
        2: [0],
        3: [1],
    }
    assert all(own.shape == item.shape[1:] for own in found.values())
    assert not list(own_slices(worlds.whole(item.name, item.shape)))
    plain = row_slice("w", (4, 6), 1, torch.tensor([2]))
    assert list(own_slices(plain)) == [(0, plain)]


def test_directions_of_no_samples_are_none_at_all():
    found = leading([torch.zeros(0, 12)], 3)
    assert found.shape == (12, 0)
