"""Gauss-Newton steps: what they reach, keep, take back, refuse."""

from dataclasses import replace

import pytest
import torch

from hfbiasedit.editing.material.prompts import Prompts
from hfbiasedit.editing.solving import bench, gauss_newton
from hfbiasedit.editing.solving.candidates import State, best_of
from hfbiasedit.editing.solving.gauss_newton import solve
from hfbiasedit.editing.solving.solver import require_fit, solver_of
from hfbiasedit.editing.solving.task import Score, scored
from hfbiasedit.editing.weights.deltas import Deltas
from hfbiasedit.editing.weights.selection import Selection, fingerprint, rows_in
from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.architecture import projections
from hfbiasedit.scoring.continuations import encode
from tests.editing import worlds


def _dev(task):
    return task.prompts.batches(task.dev)


def _planted(family):
    """The planted model, and the rows around its planted one."""
    loaded, item = worlds.planted(family)
    part = rows_in(item, worlds.planted_rows(item, 2))
    return loaded, Selection("row", {item.name: part}, fingerprint(loaded.model))


@pytest.fixture(scope="module")
def planted():
    return _planted("llama")


def _zero(deltas):
    return not any(value.any() for value in deltas.values.values())


@pytest.mark.parametrize("family", ["llama", "mixtral"])
def test_planted_bias_falls_a_lot_within_the_divergence(family):
    loaded, chosen = _planted(family)
    task = worlds.task(loaded, max_kl=0.05)
    before = {name: p.clone() for name, p in loaded.model.named_parameters()}
    with Deltas(loaded.model, chosen) as deltas:
        outcome = solve(task, deltas)
        after = scored(task, _dev(task))
        state = {name: value.clone() for name, value in deltas.values.items()}
    assert outcome.dev_after < 0.4 * outcome.dev_before
    assert after.fb == pytest.approx(outcome.dev_after, abs=1e-4)
    assert after.mean_kl == pytest.approx(float(outcome.kl.mean()), abs=1e-6)
    assert after.mean_kl <= 0.05
    assert all(torch.equal(state[name], outcome.state[name]) for name in state)
    assert all(torch.equal(p, before[name]) for name, p in loaded.model.named_parameters())
    assert {entry["step"] for entry in outcome.history} >= {1, 2}
    first, last = outcome.history[0], outcome.history[-1]
    assert last["loss_bias"] < first["loss_bias"] + 1


@pytest.mark.parametrize("mode", ["rows", "columns", "entries"])
@pytest.mark.parametrize("family", ["gpt2", "qwen2_moe"])
def test_all_kinds_of_selections_are_solved(family, mode):
    loaded = worlds.loaded(family)
    task = worlds.task(loaded, max_kl=0.05)
    with Deltas(loaded.model, worlds.selection(loaded.model, mode, 12)) as deltas:
        outcome = solve(task, deltas)
    assert outcome.dev_after < 0.95 * outcome.dev_before
    assert float(outcome.kl.mean()) <= 0.05


@pytest.mark.parametrize("limit", [1e-6, 1e-4, 1e-2])
def test_no_state_over_the_allowed_divergence_is_taken(planted, limit):
    """Candidates go over it, and the best on dev are among them."""
    loaded, chosen = planted
    task = worlds.task(loaded, max_kl=limit)
    with Deltas(loaded.model, chosen) as deltas:
        outcome = solve(task, deltas)
        after = scored(task, _dev(task))
    assert after.mean_kl <= limit
    assert float(outcome.kl.mean()) <= limit
    wild = [entry for entry in outcome.history if entry["kl"] > limit]
    if wild:
        assert min(entry["dev_fb"] for entry in wild) < outcome.dev_after + 1e-6


def test_more_divergence_buys_more(planted):
    loaded, chosen = planted
    gains = []
    for limit in (1e-30, 1e-4, 1e-2):
        with Deltas(loaded.model, chosen) as deltas:
            outcome = solve(worlds.task(loaded, max_kl=limit), deltas)
        gains.append(outcome.dev_before - outcome.dev_after)
    # Even at nothing at all a move is found that is smaller than what is measured exactly.
    assert 0 <= gains[0] < 0.01 < gains[1] < gains[2]


def test_the_same_seed_gives_the_same_edit(planted):
    loaded, chosen = planted
    states = []
    for seed in (0, 0, 1):
        with Deltas(loaded.model, chosen) as deltas:
            outcome = solve(worlds.task(loaded, max_kl=0.01, seed=seed), deltas)
        states.append(torch.cat([value.flatten() for value in outcome.state.values()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_a_linear_model_made_before_is_used(planted, monkeypatch):
    loaded, chosen = planted
    task = worlds.task(loaded, max_kl=0.01)
    with Deltas(loaded.model, chosen) as deltas:
        plain = solve(task, deltas)
    with Deltas(loaded.model, chosen) as deltas:
        first = bench.bench_of(task, deltas).linear(None)
        calls, real = [], bench.linearised
        monkeypatch.setattr(bench, "linearised", lambda *a: calls.append(a[-1]) or real(*a))
        again = solve(task, deltas, first)
        assert all(now is not None for now in calls)
        assert again.history == plain.history
    # One of another selection is not.
    calls.clear()
    other = replace(first, rows=first.rows[:, :-1])
    with Deltas(loaded.model, chosen) as deltas:
        assert solve(task, deltas, other).history == plain.history
        assert calls[0] is None


def _state(fb, kl, price=1.0):
    score = Score(fb, torch.tensor([kl], dtype=torch.float64), 1.0)
    return State(torch.zeros(1), 0.01, price, score)


def test_the_best_state_is_allowed_or_the_closest_to_it():
    good, better, wild = _state(9.0, 0.01), _state(8.0, 0.02), _state(1.0, 0.9)
    assert best_of([good, better, wild], 0.02) is better
    assert best_of([wild, good, better], 0.001) is good


def test_a_step_that_makes_things_worse_is_taken_back():
    state, worse = _state(9.0, 0.01, 2.0), _state(10.0, 0.01, 3.0)
    back = gauss_newton._next(state, worse, 0.02)
    assert back.move is state.move
    assert back.score is state.score
    assert back.price == 3.0 * gauss_newton._STEEPEST
    onward = gauss_newton._next(state, _state(8.0, 0.01), 0.02)
    assert onward.score.fb == 8.0
    # From a state over the limit every step leads on.
    assert gauss_newton._next(_state(5.0, 0.5), worse, 0.02).score is worse.score


@pytest.mark.parametrize(
    ("divergence", "expected"),
    [(-1e-9, 0.25), (0.0, 0.25), (0.0095, 1.0), (0.0114, 1.44), (1.0, 4.0), (float("nan"), 0.25)],
)
def test_the_price_follows_what_is_left_of_the_allowed_divergence(divergence, expected):
    found = gauss_newton._next(None, _state(10.0, divergence, 0.2), 0.01)
    assert found.price == pytest.approx(0.2 * expected)


def test_further_steps_pay_what_was_measured(planted, monkeypatch):
    """The first step's price, for as much divergence as it had foretold: now for what came of it."""
    loaded, chosen = planted
    task = worlds.task(loaded, max_kl=0.02)
    seen = []

    def stay(task, coordinates, write, linear, now, price, seed, bends):
        seen.append(price)
        return now, bends[0]

    def measured(move, kl):
        return State(move, 0.001, 3.0, Score(1.0, torch.full((4,), kl, dtype=torch.float64), 1.0))

    def trials(bench, linear, hold):
        move = torch.zeros(bench.coordinates.total)
        return None, iter([measured(move, 0.5), measured(move, 0.019)])

    monkeypatch.setattr(gauss_newton, "descend", stay)
    monkeypatch.setattr(gauss_newton, "candidates", trials)
    with Deltas(loaded.model, chosen) as deltas:
        solve(task, deltas)
    assert seen[0] == pytest.approx(3.0 * 0.001 / 0.019, rel=1e-6)


def test_every_step_learns_from_the_further_prompts_too(planted, monkeypatch):
    loaded, chosen = planted
    task = worlds.task(loaded, max_kl=0.02)
    numbers = task.train
    half = numbers[: len(numbers) // 2]
    rows = tuple(task.prompts.records[n] for n in numbers[len(half) :])
    task = replace(task, train=half, more=Prompts(rows, encode(loaded.tokenizer, rows)))
    seen = []

    def stay(task, coordinates, write, linear, now, price, seed, bends):
        seen.append({record.id for record in linear.records})
        return now, bends[0]

    monkeypatch.setattr(gauss_newton, "descend", stay)
    monkeypatch.setattr(gauss_newton, "best_of", lambda found, limit: found[-1])
    with Deltas(loaded.model, chosen) as deltas:
        solve(task, deltas)
    everything = {task.prompts.records[n].id for n in half} | {row.id for row in rows}
    assert seen
    assert all(ids == everything for ids in seen)


def test_steps_that_help_nothing_are_not_kept(planted, monkeypatch):
    """After the first one every step throws the model somewhere else."""
    loaded, chosen = planted
    task = worlds.task(loaded, max_kl=0.01)

    def wild(task, coordinates, write, linear, now, *rest):
        return -now, gauss_newton.BENDS[0]

    monkeypatch.setattr(gauss_newton, "descend", wild)
    with Deltas(loaded.model, chosen) as deltas:
        outcome = solve(task, deltas)
    assert outcome.steps == 1
    assert outcome.stopped == "dev got no better"


@pytest.mark.parametrize(
    ("first", "second", "further"),
    [
        ((1.0, 0.004), (2.0, 0.009), False),  # dev likes best what prompts left out speak for
        ((1.029, 0.004), (1.0, 0.009), False),  # or hardly anything else
        ((1.04, 0.004), (1.0, 0.009), True),
        ((1.0, 0.011), (2.0, 0.009), True),  # it is not allowed: the divergence binds
    ],
)
def test_further_steps_follow_where_more_divergence_is_worth_it(
    planted, monkeypatch, first, second, further
):
    """Scores on dev and divergences of two candidates, 0.01 being allowed."""
    loaded, chosen = planted

    def trials(bench, linear, hold):
        def tried(fb, kl):
            move = torch.full((bench.coordinates.total,), 1e-3)
            score = Score(fb, torch.full((4,), kl, dtype=torch.float64), 1.0)
            return State(move, 0.001, 3.0, score)

        return None, iter([tried(*first), tried(*second)])

    monkeypatch.setattr(gauss_newton, "candidates", trials)
    with Deltas(loaded.model, chosen) as deltas:
        outcome = solve(worlds.task(loaded, max_kl=0.01), deltas)
    assert (outcome.history[-1]["step"] > 1) == further
    assert (outcome.stopped == "prompts left out speak against more") != further
    if not further:
        assert outcome.dev_after == 1.0  # the better of the two is kept all the same


@pytest.mark.parametrize(
    ("prices", "further"), [((3.0, 9.0), False), ((3.0, 1.0), True), ((3.0, 3.0), True)]
)
def test_where_dev_likes_less_of_a_move_best_none_follows(planted, monkeypatch, prices, further):
    loaded, chosen = planted

    def trials(bench, linear, hold):
        def tried(price, fb):
            move = torch.full((bench.coordinates.total,), 1e-3)
            score = Score(fb, torch.full((4,), 0.004, dtype=torch.float64), 1.0)
            return State(move, 0.001, price, score)

        return None, iter([tried(prices[0], 2.0), tried(prices[1], 1.0)])

    monkeypatch.setattr(gauss_newton, "candidates", trials)
    with Deltas(loaded.model, chosen) as deltas:
        outcome = solve(worlds.task(loaded, max_kl=0.01), deltas)
    assert (outcome.history[-1]["step"] > 1) == further
    assert (outcome.stopped == "dev speaks against more") != further


def test_gradients_that_are_not_finite_end_the_search(planted, monkeypatch):
    loaded, chosen = planted
    real = bench.linearised

    def broken(*arguments):
        linear = real(*arguments)
        linear.rows[0, 0] = float("nan")
        return linear

    monkeypatch.setattr(bench, "linearised", broken)
    with Deltas(loaded.model, chosen) as deltas:
        outcome = solve(worlds.task(loaded), deltas)
        assert _zero(deltas)
    assert outcome.stopped == "the gradients were not finite"
    assert outcome.state is None
    assert outcome.dev_after == outcome.dev_before


def test_where_nothing_helps_the_deltas_end_at_zero(planted):
    """Facts that are what the model says already: there is nothing to gain."""
    loaded, chosen = planted
    task = worlds.task(loaded)
    records = tuple(
        replace(record, share_female=share)
        for record, share in zip(task.prompts.records, task.prompts.share, strict=True)
    )
    task.prompts.records = records
    with Deltas(loaded.model, chosen) as deltas:
        outcome = solve(task, deltas)
        changed = outcome.dev_before - outcome.dev_after
        assert outcome.state is not None or _zero(deltas)
    assert 0 <= changed < 0.5


@pytest.mark.parametrize("most", [3 * 16 * 16, 10])
def test_wide_selections_move_within_few_directions(most, monkeypatch):
    """So cut down that nothing else fits, the edit still helps, and moves are of that rank."""
    loaded = worlds.loaded("llama")
    items = projections(loaded.model)[-3:]
    monkeypatch.setattr(bench, "widest", lambda _: most)
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
    monkeypatch.setattr(bench, "widest", lambda _: item.rows // 2 * 8)
    with Deltas(loaded.model, chosen) as deltas:
        outcome = solve(worlds.task(loaded, max_kl=0.05), deltas)
        moved = deltas.values[item.name].detach().view(item.experts, -1, item.columns)
    assert outcome.dev_after < 0.9 * outcome.dev_before
    ranks = [int(torch.linalg.matrix_rank(part, rtol=1e-5)) for part in moved]
    assert max(ranks) == 8
    assert int(torch.linalg.matrix_rank(moved.flatten(0, 1), rtol=1e-5)) > 8


@pytest.mark.parametrize("family", ["llama", "mixtral"])
def test_solvers_are_refused_where_they_cannot_work(family):
    loaded = worlds.loaded(family)
    if family == "llama":
        name = "model.norm.weight"
        slices = {name: worlds.whole(name, loaded.model.get_parameter(name).shape)}
        chosen = Selection("full", slices, fingerprint(loaded.model))
    else:
        experts = [p for p in projections(loaded.model) if p.experts > 1]
        chosen = worlds.whole_selection(loaded.model, experts, "module")
    task = worlds.task(loaded, granularity=chosen.granularity, steps=2)
    with Deltas(loaded.model, chosen) as deltas:
        with pytest.raises(BiasEditError, match="use adam"):
            require_fit(solver_of("newton"), task, deltas.slices)
        for name in ("adam", "auto"):
            require_fit(solver_of(name), task, deltas.slices)
        automatic = solver_of("auto")
        assert automatic.enough(task, deltas, [chosen]) == (chosen, [])
        found = automatic.solve(task, deltas)
    assert [entry["step"] for entry in found.history] == [1, 2]  # Adam's, not Gauss-Newton's


def test_dev_is_scored_by_distance_where_the_original_writes_genders():
    loaded = worlds.loaded("llama")
    task = worlds.task(loaded)
    masses = [0.5, 0.01] * 12
    task.prompts.log_mass = torch.tensor(masses).log().tolist()
    total = heavy = 0.0
    for record, share, mass in zip(task.prompts.records, task.prompts.share, masses, strict=True):
        weight = min(1.0, mass / 0.05)
        total, heavy = total + weight * abs(share - record.share_female), heavy + weight
    assert scored(task, _dev(task)).fb == pytest.approx(100 * total / heavy, rel=1e-4)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [(10**6, 1 << 19), (512 * 700_000, 700_000), (7 * 10**9, 1 << 21)],
)
def test_coordinates_grow_with_the_model_within_bounds(parameters, expected):
    assert bench.widest(parameters) == expected
