"""Gauss-Newton rounds: what they reach, where they begin, what they keep and refuse."""

import math
from dataclasses import replace

import pytest
import torch

from hfbiasedit.editing.keeping import Kept
from hfbiasedit.editing.material import gathering
from hfbiasedit.editing.material.prompts import Prompts, measure_original
from hfbiasedit.editing.solving import bench, gauss_newton
from hfbiasedit.editing.solving.candidates import State, best_of
from hfbiasedit.editing.solving.gauss_newton import solve
from hfbiasedit.editing.solving.linearisation import Linear
from hfbiasedit.editing.solving.solver import require_fit, solver_of
from hfbiasedit.editing.solving.task import Score, Task, scored
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
    assert outcome.dev_after < 0.45 * outcome.dev_before
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
        own = bench.bench_of(task, deltas)
        linear = own.linear()
        prepared = bench.Prepared(own.coordinates, linear, linear.gram())
        multiplied, product = [], Linear.gram
        monkeypatch.setattr(Linear, "gram", lambda *a: multiplied.append(a) or product(*a))
        calls, real = [], bench.linearised
        monkeypatch.setattr(bench, "linearised", lambda *a: calls.append(a) or real(*a))
        again = solve(task, deltas, prepared)
        rounds = max(entry["step"] for entry in again.history)
        assert len(calls) == len(multiplied) == rounds - 1
        assert all(given[1] is own.coordinates for given in calls)
        assert again.history == plain.history
    # Where the first round is behind there is none: then all are made.
    calls.clear()
    with Deltas(loaded.model, chosen) as deltas:
        known = bench.Prepared(own.coordinates, None)
        assert solve(task, deltas, known).history == plain.history
        assert len(calls) == rounds


def _state(fb, kl, price=1.0, move=None):
    score = Score(fb, torch.tensor([kl], dtype=torch.float64))
    return State(torch.zeros(1) if move is None else move, 0.01, price, score)


def test_the_best_state_is_allowed_or_the_closest_to_it():
    good, better, wild = _state(9.0, 0.01), _state(8.0, 0.02), _state(1.0, 0.9)
    assert best_of([good, better, wild], 0.02) is better
    assert best_of([wild, good, better], 0.001) is good


@pytest.fixture
def lessons(planted, monkeypatch):
    """A task in which prompts of several rounds are left, and the ids that each one learnt from."""
    loaded, chosen = planted
    task = worlds.task(loaded, max_kl=0.01)
    numbers = task.train
    rows = tuple(task.prompts.records[n] for n in numbers[8:])
    task = replace(task, train=numbers[:8], more=Prompts(rows, encode(loaded.tokenizer, rows)))
    monkeypatch.setattr(gathering, "EDIT_PROMPTS", 8)
    seen = []
    real = bench.linearised

    def linearised(*given):
        found = real(*given)
        count = int(found.targets.share.sum())
        seen.append(({r.id for r in found.records[:count]}, found.targets.start[:count].clone()))
        return found

    monkeypatch.setattr(bench, "linearised", linearised)
    return task, chosen, seen


def _scripted(monkeypatch, rounds):
    """Each round measures the given pairs of dev and divergence, for moves of its own."""
    left = iter(rounds)

    def trials(bench, linear, hold, gram):
        assert hold
        scores = next(left)
        generator = torch.Generator().manual_seed(len(scores))
        move = 1e-2 * torch.randn(bench.coordinates.total, generator=generator)
        return None, iter(
            [_state(fb, kl, move=(n + 1) * move) for n, (fb, kl) in enumerate(scores)]
        )

    monkeypatch.setattr(gauss_newton, "candidates", trials)
    monkeypatch.setattr(Task, "before", lambda self, dev: Score(10.0, torch.zeros(1)))
    return left


def test_every_round_learns_from_prompts_that_none_had_seen(lessons, monkeypatch):
    task, chosen, seen = lessons
    _scripted(monkeypatch, [[(9.0 - n, 0.001)] for n in range(9)])
    with Deltas(task.loaded.model, chosen) as deltas:
        outcome = solve(task, deltas)
    assert len(seen) == gauss_newton.ROUNDS == outcome.steps
    sets = [ids for ids, _ in seen]
    assert sets[0] == {task.prompts.records[n].id for n in task.train}
    assert sets[1] | sets[2] == {record.id for record in task.more.records}
    assert sum(len(ids) for ids in sets[:3]) == len(task.prompts.records)
    assert sets[3] == sets[0]  # there are no others: they come round again
    assert outcome.stopped == "all rounds done"


def test_what_the_original_says_where_the_mass_is_held_is_asked_before_anything_moves(
    lessons, monkeypatch, tmp_path
):
    """And known to a run that goes on where another has moved the model."""
    task = lessons[0]
    whole = Prompts(task.more.records, list(task.more.encoded))
    measure_original(task.loaded, whole)
    wanted = dict(zip((record.id for record in whole.records), whole.log_mass, strict=True))
    kept = Kept(tmp_path / "work")
    kept.begin()
    task = replace(task, kept=kept)
    found = gauss_newton._lessons(task)
    assert len(found) == 3
    for prompts, numbers in found[1:]:
        held = set(bench.held_of(numbers))
        for number in numbers:
            mass = prompts.log_mass[number]
            if number in held:
                assert mass == pytest.approx(wanted[prompts.records[number].id], abs=1e-5)
            else:
                assert math.isnan(mass)
    monkeypatch.setattr(gauss_newton, "measure_original", lambda *_: pytest.fail("asked again"))
    again = gauss_newton._lessons(replace(task, kept=Kept(tmp_path / "work", resumed=True)))
    assert [p.log_mass[0] for p, _ in again[1:]] == [p.log_mass[0] for p, _ in found[1:]]


def test_a_round_begins_at_the_best_state_so_far(lessons, monkeypatch):
    """The second of the first round's moves is the best; the third one is not allowed."""
    task, chosen, seen = lessons
    _scripted(monkeypatch, [[(9.0, 0.001), (8.0, 0.002), (7.0, 0.5)], [(6.0, 0.003)], [(6.0, 0.0)]])
    judged = Score(8.5, torch.tensor([0.009]))  # of the third one, drawn back
    monkeypatch.setattr("hfbiasedit.editing.solving.task.scored", lambda *_: judged)
    starts = []
    real = gauss_newton.bench_at

    def further(first, prompts, numbers, outcome, number):
        found = real(first, prompts, numbers, outcome, number)
        starts.append((first.deltas.state(), found.spent))
        return found

    monkeypatch.setattr(gauss_newton, "bench_at", further)
    with Deltas(task.loaded.model, chosen) as deltas:
        first = bench.bench_of(task, deltas)
        generator = torch.Generator().manual_seed(3)
        move = 1e-2 * torch.randn(first.coordinates.total, generator=generator)
        wanted = first.coordinates.to_weights(2 * move)
        outcome = solve(task, deltas)
    state, spent = starts[0]
    for name, value in wanted.items():
        torch.testing.assert_close(state[name], value)
    assert spent == pytest.approx(0.002)
    assert starts[1][1] == pytest.approx(0.003)
    # What the further round says of its prompts is what the model says there.
    assert not torch.equal(seen[1][1], seen[0][1])
    assert (outcome.steps, outcome.dev_after) == (2, 6.0)
    assert outcome.stopped == "dev got no better"


@pytest.mark.parametrize(("second", "rounds"), [(8.95, 2), (8.88, gauss_newton.ROUNDS)])
def test_a_round_that_hardly_gains_is_the_last(lessons, monkeypatch, second, rounds):
    """By a hundredth of what was left."""
    task, chosen, seen = lessons
    script = [[(9.0, 0.001)], [(second, 0.001)]]
    script += [[(8.0 - n, 0.001)] for n in range(gauss_newton.ROUNDS - 2)]
    left = _scripted(monkeypatch, script)
    with Deltas(task.loaded.model, chosen) as deltas:
        outcome = solve(task, deltas)
    assert len(seen) == rounds
    assert len(list(left)) == gauss_newton.ROUNDS - rounds
    assert outcome.dev_after == min(fb for script in script[:rounds] for fb, _ in script)


@pytest.mark.parametrize(("kl", "rounds"), [(0.5, 2), (0.99, 3)])
def test_a_round_that_its_limit_held_back_is_not_the_last(lessons, monkeypatch, kl, rounds):
    """By how much of the second round's limit a try of it would have used."""
    task, chosen, seen = lessons
    limit = 0.01 * math.sqrt(2 / gauss_newton.ROUNDS)
    second = [(9.1, kl * limit), (8.95, 0.001)]
    _scripted(monkeypatch, [[(9.0, 0.001)], second, [(8.94, 0.001)]])
    with Deltas(task.loaded.model, chosen) as deltas:
        outcome = solve(task, deltas)
    assert len(seen) == rounds
    assert outcome.stopped == "dev got no better"


def test_a_state_over_the_limit_of_its_round_is_drawn_back(lessons, monkeypatch):
    """Unless it is no better anyway."""
    task, chosen, _ = lessons
    limit, asked = 1.15 * 0.01 / math.sqrt(gauss_newton.ROUNDS), []
    _scripted(monkeypatch, [[(9.0, 0.9 * limit), (9.1, 0.009), (8.0, 0.009)], [(8.59, 0.0)]])

    def within(task, deltas, dev, score, given):
        asked.append((score.fb, given))
        return (1.0, score) if score.mean_kl <= given else (0.5, Score(8.6, 0.3 * score.kl))

    monkeypatch.setattr(gauss_newton, "within", within)
    with Deltas(task.loaded.model, chosen) as deltas:
        outcome = solve(task, deltas)
    assert [fb for fb, _ in asked] == [9.0, 8.0, 8.59]
    assert asked[1][1] == pytest.approx(limit)
    assert (outcome.steps, outcome.dev_after) == (2, 8.59)


@pytest.mark.parametrize("drawn", [None, 10.5])
@pytest.mark.parametrize(("kl", "dev"), [(0.009, 8.0), (0.011, 10.0)])
def test_what_cannot_be_drawn_back_counts_if_the_edit_may_cost_that_much(
    lessons, monkeypatch, kl, dev, drawn
):
    """Where there is nothing else: also where it helps no more once it is drawn back."""
    task, chosen, _ = lessons
    monkeypatch.setattr(gauss_newton, "ROUNDS", 1)
    _scripted(monkeypatch, [[(8.0, kl)]])
    found = drawn and Score(drawn, torch.tensor([0.001]))
    monkeypatch.setattr(gauss_newton, "within", lambda *given: (0.1, found))
    with Deltas(task.loaded.model, chosen) as deltas:
        outcome = solve(task, deltas)
        assert (outcome.dev_after, _zero(deltas)) == (dev, dev == 10.0)


def test_where_the_first_round_helps_nothing_none_follows(lessons, monkeypatch):
    task, chosen, seen = lessons
    _scripted(monkeypatch, [[(11.0, 0.001)]])
    with Deltas(task.loaded.model, chosen) as deltas:
        outcome = solve(task, deltas)
        assert _zero(deltas)
    assert outcome.state is None
    assert len(seen) == 1


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
