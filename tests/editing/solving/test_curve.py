"""How much of a selection is enough: masks by brute force, what is measured, what is chosen."""

import pytest
import torch

from hfbiasedit.editing.solving import bench as bench_module
from hfbiasedit.editing.solving import curve, directions
from hfbiasedit.editing.solving.candidates import State
from hfbiasedit.editing.solving.curve import budget_curve, coordinates_of
from hfbiasedit.editing.solving.leftout import LeftOut
from hfbiasedit.editing.solving.solver import Frugal, solver_of
from hfbiasedit.editing.solving.task import Score, scored
from hfbiasedit.editing.weights.deltas import Deltas
from hfbiasedit.editing.weights.selection import Selection
from hfbiasedit.editing.weights.slices import Slice
from hfbiasedit.models.architecture import projections
from tests.editing import worlds


def _cut(selection, keep):
    """The first `keep` slices of every tensor but the last, which is left out."""
    slices = {
        name: Slice(name, part.kind, part.shape, part.axis, part.index[:keep])
        for name, part in list(selection.slices.items())[:-1]
    }
    return Selection(selection.granularity, slices, selection.model, 3 * keep)


@pytest.mark.parametrize("mode", ["rows", "columns", "entries"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "mixtral"])
def test_masks_mark_the_coordinates_of_the_weights_of_a_part(family, mode):
    loaded = worlds.loaded(family)
    chosen = worlds.selection(loaded.model, mode, 5)
    part = _cut(chosen, 2)
    with worlds.bench(loaded, chosen) as bench:
        mask = coordinates_of(bench, part)
        for place in range(0, len(mask), 7):
            one = torch.zeros(len(mask))
            one[place] = 1.0
            inside = False
            for name, change in bench.coordinates.to_weights(one).items():
                whole = chosen.slices[name]
                moved = torch.zeros(whole.shape)
                whole.put_(moved, change)
                touched = moved.reshape(-1).nonzero().squeeze(1)
                if name in part.slices:
                    inside |= bool(torch.isin(touched, part.slices[name].entries()).any())
            assert bool(mask[place]) == inside
    assert int(mask.sum()) == part.weights


def test_whole_matrices_are_in_or_out():
    loaded = worlds.loaded("llama")
    items = projections(loaded.model)[-2:]
    chosen = worlds.whole_selection(loaded.model, items, "module")
    part = worlds.whole_selection(loaded.model, items[:1], "module")
    with worlds.bench(loaded, chosen) as bench:
        mask = coordinates_of(bench, part)
    assert mask.tolist() == [True] * items[0].weights + [False] * items[1].weights


def _ladder(loaded, mode="rows"):
    widest = worlds.selection(loaded.model, mode, 12)
    return [widest, _cut(widest, 6), _cut(widest, 1)]


def test_every_budget_is_measured_and_the_deltas_end_at_zero():
    loaded = worlds.loaded("llama")
    ladder, task = _ladder(loaded), worlds.task(loaded, max_kl=0.05)
    before = {name: p.clone() for name, p in loaded.model.named_parameters()}
    with Deltas(loaded.model, ladder[0]) as deltas:
        chosen, points, prepared = budget_curve(task, deltas, ladder)
        assert not any(value.any() for value in deltas.values.values())
        assert all(torch.equal(p, before[name]) for name, p in loaded.model.named_parameters())
    assert [point["weights"] for point in points] == [part.weights for part in ladder]
    assert [point["items"] for point in points] == [part.items for part in ladder]
    marked = [n for n, point in enumerate(points) if point["chosen"]]
    assert len(marked) == 1
    assert chosen is ladder[marked[0]]
    # The linear model that comes with it is that of the chosen part alone.
    with worlds.bench(loaded, chosen, max_kl=0.05) as bench:
        own = bench.linear()
    assert prepared.coordinates.total == bench.coordinates.total
    assert _alike(prepared.linear, own)


def _alike(linear, other):
    assert linear.rows.shape == other.rows.shape
    difference = (linear.rows.float() - other.rows.float()).norm()
    return bool(difference < 0.01 * other.rows.float().norm())


@pytest.mark.parametrize("mode", ["rows", "columns"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "mixtral"])
def test_a_part_moves_in_the_leading_directions_of_the_whole(family, mode, monkeypatch):
    """What was made of it is what differentiating it in its own coordinates gives."""
    loaded = worlds.loaded(family)
    widest = worlds.selection(loaded.model, mode, 12)
    ladder, task = [widest, _cut(widest, 6)], worlds.task(loaded, max_kl=0.05)
    monkeypatch.setattr(directions, "widest", lambda _: widest.weights // 2)
    monkeypatch.setattr(curve, "_enough", lambda *given: 1)
    monkeypatch.setattr(curve, "candidates", _nothing)
    with Deltas(loaded.model, widest) as deltas:
        chosen, _, prepared = budget_curve(task, deltas, ladder)
    assert chosen is ladder[1]
    assert prepared.coordinates.total == prepared.linear.rows.shape[1] < chosen.weights
    with Deltas(loaded.model, chosen) as deltas:
        bench = bench_module.bench_of(task, deltas, prepared.coordinates)
        assert _alike(prepared.linear, bench.linear())
        bench.write(torch.ones(bench.coordinates.total))
        assert all(value.any() for value in deltas.values.values())


@pytest.mark.parametrize("number", [0, 1])
def test_inner_products_of_the_widest_are_known_and_those_of_a_part_made_again(number, monkeypatch):
    """As a resumed edit makes them: byte for byte."""
    loaded = worlds.loaded("llama")
    ladder, task = _ladder(loaded)[:2], worlds.task(loaded, max_kl=0.05)
    monkeypatch.setattr(curve, "_enough", lambda *given: number)
    monkeypatch.setattr(curve, "candidates", _nothing)
    with Deltas(loaded.model, ladder[0]) as deltas:
        _, _, prepared = budget_curve(task, deltas, ladder)
    if number:
        assert prepared.gram is None
    else:
        assert torch.equal(prepared.gram, prepared.linear.gram())


def test_another_try_moves_in_the_same_directions():
    """Where memory ran out while solving: the rows are made again, the directions are not."""
    loaded = worlds.loaded("llama")
    ladder, task = _ladder(loaded), worlds.task(loaded, max_kl=0.05)
    solver = solver_of("newton")
    with Deltas(loaded.model, ladder[0]) as deltas:
        solver.enough(task, deltas, ladder)
    first, again, last = (solver._taken() for _ in range(3))
    assert first.linear is not None
    assert again.coordinates is last.coordinates is first.coordinates
    assert again.linear is last.linear is None
    assert again.gram is last.gram is None
    assert solver_of("newton")._taken() is None


def _nothing(bench, linear, columns, tries, gram):
    """One candidate, which moves nothing and is allowed."""
    score = Score(10.0, torch.tensor([0.01], dtype=torch.float64))
    move = torch.zeros(bench.coordinates.total)
    return LeftOut(1.0, 40.0, 20.0), iter([State(move, 0.01, 1.0, score)])


@pytest.mark.parametrize(
    ("scores", "kls", "expected"),
    [
        # Down from 30: 5 % of the best reduction is 1, of the best score it would be 0.5.
        ((10.0, 10.9, 10.9), (0.01, 0.01, 0.01), 2),
        ((10.0, 10.9, 11.1), (0.01, 0.01, 0.01), 1),
        ((10.0, 11.1, 10.9), (0.01, 0.01, 0.01), 2),  # a narrow one may do what a wide one does not
        ((10.0, 10.9, 10.9), (0.01, 0.01, 0.9), 1),
        ((10.0, 12.0, 13.0), (0.01, 0.01, 0.01), 0),
        ((29.0, 29.4, 29.4), (0.01, 0.01, 0.01), 0),  # within 2 % of the score
        ((10.0, 9.0, 9.0), (0.9, 0.9, 0.9), 0),  # none is allowed
    ],
)
def test_the_smallest_that_is_close_to_the_widest_is_enough(scores, kls, expected, monkeypatch):
    loaded = worlds.loaded("llama")
    ladder, task = _ladder(loaded), worlds.task(loaded, max_kl=0.05)
    found = iter(zip(scores, kls, strict=True))

    def candidates(bench, linear, columns, tries, gram):
        fb, kl = next(found)
        score = Score(fb, torch.tensor([kl], dtype=torch.float64))
        # What is foretold and what is measured count alike.
        move = torch.zeros(bench.coordinates.total)
        return LeftOut(1.0, 60.0, 2 * fb), iter([State(move, 0.01, 1.0, score)])

    task._before = Score(30.0, torch.zeros(1, dtype=torch.float64))
    monkeypatch.setattr(curve, "candidates", candidates)
    # Nothing helps those that cost too much.
    monkeypatch.setattr(curve, "within", lambda *given: (0.5, None))
    with Deltas(loaded.model, ladder[0]) as deltas:
        chosen, points, _ = budget_curve(task, deltas, ladder)
    assert chosen is ladder[expected]
    assert [point["dev_fb"] for point in points] == list(scores)
    assert [point["left_out_fb"] for point in points] == [2 * score for score in scores]
    assert [point["chosen"] for point in points] == [n == expected for n in range(3)]


@pytest.mark.parametrize(
    ("dev", "left_out", "expected"),
    [
        # Down from 40 and 50: 5 % of the best reductions are 1.
        ((20.0, 21.0, 21.1), (30.0, 31.0, 31.0), 1),  # the last one is behind on dev
        ((20.0, 21.0, 21.0), (30.0, 31.0, 31.1), 1),  # on prompts left out
        ((20.0, 20.0, 19.0), (30.0, 30.0, 28.0), 2),
        ((20.0, 19.0, 19.9), (30.0, 31.5, 31.0), 2),
        ((20.0, 17.0, 16.0), (30.0, 33.0, 32.0), 0),  # none by both: what is left out decides
    ],
)
def test_both_scores_have_to_be_close(dev, left_out, expected):
    rows = zip(dev, left_out, strict=True)
    points = [
        {"weights": 1, "items": 1, "left_out_fb": b, "dev_fb": a, "kl": 0.01, "chosen": False}
        for a, b in rows
    ]
    before = 40.0, 50.0
    assert curve._enough(points, 0.02, before) == expected
    points[expected]["kl"] = 0.03
    assert curve._enough(points, 0.02, before) != expected


@pytest.mark.parametrize(
    ("first", "second", "expected"), [(0.04, 20.2, 2), (0.04, 15.0, 1), (0.06, 15.0, 0)]
)
def test_where_the_divergence_holds_the_widest_back_it_is_taken(
    first, second, expected, monkeypatch
):
    """Whatever is foretold; the first try is what prompts left out speak for."""
    loaded = worlds.loaded("llama")
    ladder, task = _ladder(loaded), worlds.task(loaded, max_kl=0.05)
    found = iter([(first, 20.0), (0.06, second), (0.04, 20.2)])
    task._before = Score(30.0, torch.zeros(1, dtype=torch.float64))

    def candidates(bench, linear, columns, tries, gram):
        kl, left_out = next(found)
        move = torch.zeros(bench.coordinates.total)
        states = [
            State(move, 0.01, 1.0, Score(fb, torch.tensor([kl], dtype=torch.float64)))
            for fb, kl in ((9.0, kl), (10.0, 0.045))
        ]
        return LeftOut(1.0, 40.0, left_out), iter(states)

    monkeypatch.setattr(curve, "candidates", candidates)
    with Deltas(loaded.model, ladder[0]) as deltas:
        chosen, points, _ = budget_curve(task, deltas, ladder)
    assert chosen is ladder[expected]
    assert points[1]["kl"] == 0.045


def test_a_budget_that_costs_a_little_too_much_is_drawn_back_and_not_lost(monkeypatch):
    loaded = worlds.loaded("llama")
    ladder, task = _ladder(loaded), worlds.task(loaded, max_kl=0.05)
    lengths = iter([3.0, 0.3, 0.3])
    honest = curve.candidates
    seen = []

    def candidates(bench, linear, columns, tries, gram):
        choice, found = honest(bench, linear, columns, 1)
        move = next(lengths) * next(iter(found)).move
        bench.write(move)
        seen.append(scored(task, bench.dev))
        return choice, iter([State(move, 0.01, 1.0, seen[-1])])

    monkeypatch.setattr(curve, "candidates", candidates)
    with Deltas(loaded.model, ladder[0]) as deltas:
        _, points, _ = budget_curve(task, deltas, ladder)
    assert seen[0].mean_kl > 0.05  # else this test says nothing
    assert 0 < points[0]["kl"] <= 0.05
    assert points[0]["dev_fb"] != seen[0].fb
    assert points[1]["kl"] == seen[1].mean_kl


def test_gradients_that_are_not_finite_have_no_curve():
    loaded = worlds.loaded("llama")
    ladder, task = _ladder(loaded), worlds.task(loaded)
    loaded.model.get_parameter("lm_head.weight").data[7, 3] = float("inf")
    # The prices are known: they would say so first.
    from hfbiasedit.editing.material.price import Price

    items = {item.name: item for item in projections(loaded.model)}
    task.prices = {
        name: Price(torch.ones(items[name].columns), torch.ones(items[name].rows))
        for name in ladder[0].slices
    }
    with Deltas(loaded.model, ladder[0]) as deltas:
        chosen, points, _ = budget_curve(task, deltas, ladder)
    assert chosen is ladder[0]
    assert points == []


def test_the_default_solvers_tell_how_much_is_enough():
    for name in ("auto", "newton"):
        assert isinstance(solver_of(name), Frugal)
    assert not isinstance(solver_of("adam"), Frugal)
