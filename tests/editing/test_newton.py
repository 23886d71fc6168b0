"""Per-prompt gradients, the metric, the step and the pruning against direct computations."""

import math
from dataclasses import replace
from itertools import chain

import pytest
import torch

from hfbiasedit.editing import linear
from hfbiasedit.editing.anchor import load_anchor
from hfbiasedit.editing.choosing import Budget, select, unit_slices
from hfbiasedit.editing.config import EditConfig
from hfbiasedit.editing.deltas import Deltas
from hfbiasedit.editing.gradients import checkpointing
from hfbiasedit.editing.jacobian import (
    gradients_of_mass,
    gradients_of_share,
    is_recordable,
    recorded,
)
from hfbiasedit.editing.linear import LOGIT, MASS, Linear, joined, samples, solved
from hfbiasedit.editing.locator import random_ranking
from hfbiasedit.editing.material import prepare_windows, remember_original, run
from hfbiasedit.editing.metric import Metric, _part, code_moments, metric_of
from hfbiasedit.editing.newton import solve, uses_newton
from hfbiasedit.editing.objective import bias_terms
from hfbiasedit.editing.optimisation import Task, scored, split_windows
from hfbiasedit.editing.pruning import items_of, prune, widened
from hfbiasedit.editing.selection import Selection, fingerprint, rows_in
from hfbiasedit.editing.slices import WHOLE, Slice, entry_slice, row_slice
from hfbiasedit.editing.subspace import moments, rank_for, set_bases
from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.architecture import projections
from tests.editing import worlds


def _selection(model, mode, count=4):
    generator = torch.Generator().manual_seed(5)
    found = {}
    for item in projections(model)[-4:]:
        if mode == "rows":
            part = rows_in(item, torch.randperm(item.rows, generator=generator)[:count])
        elif mode == "columns":
            chosen = torch.randperm(item.columns, generator=generator)[:count]
            part = row_slice(item.name, item.shape, 1 - item.row_axis, chosen)
        else:
            chosen = torch.randperm(item.weights, generator=generator)[: 8 * count]
            part = entry_slice(item.name, item.shape, chosen)
        found[item.name] = part
    return Selection("row" if mode == "rows" else "neuron", found, fingerprint(model))


def _task(loaded, selection=None, **options):
    prompts = worlds.prompts(loaded)
    anchor = load_anchor(None)
    windows = remember_original(loaded, prepare_windows(loaded, anchor, 24, 0), None)
    keep, watch = split_windows(windows)
    numbers = list(range(len(prompts)))
    config = EditConfig(**options)
    return Task(loaded, None, prompts, numbers, numbers, keep, watch, config)


@pytest.mark.parametrize("mode", ["rows", "columns", "entries"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "phi3"])
def test_a_row_of_the_jacobian_is_the_gradient_of_that_prompt_alone(family, mode):
    loaded = worlds.loaded(family)
    prompts = worlds.prompts(loaded)
    selection = _selection(loaded.model, mode)
    batches = prompts.batches(range(len(prompts)), 7)
    with Deltas(loaded.model, selection) as deltas:
        with recorded(loaded.model, selection.slices) as tape:
            shares = gradients_of_share(loaded, tape, batches, None)
            masses = gradients_of_mass(loaded, tape, batches, None)
        order = torch.cat([batch.index for batch in batches]).tolist()
        for place in (0, 3, len(order) - 1):
            for rows, score in (
                (shares.rows, lambda t: torch.logit(t.share)),
                (masses.rows, lambda t: t.log_mass),
            ):
                for value in deltas.values.values():
                    value.grad = None
                batch = prompts.batch([order[place]])
                with deltas.attached():
                    score(bias_terms(batch, run(loaded, batch))).sum().backward()
                alone = torch.cat([v.grad.flatten() for v in deltas.values.values()])
                torch.testing.assert_close(rows[place], alone, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_jacobian_is_the_same_with_checkpointing(family):
    loaded = worlds.loaded(family)
    batches = worlds.prompts(loaded).batches(range(6), 3)
    slices = _selection(loaded.model, "rows").slices
    found = []
    for wanted in (False, True):
        with checkpointing(loaded.model, wanted), recorded(loaded.model, slices) as tape:
            found.append(gradients_of_share(loaded, tape, batches, None).rows)
    assert found[0].any()
    torch.testing.assert_close(found[1], found[0])


def _metric(shapes, generator):
    parts, dense = [], []
    for tall, wide in shapes:
        a, b = (torch.randn(n, 2 * n, generator=generator) for n in (wide, tall))
        inputs, outputs = a @ a.T / wide, b @ b.T / tall
        parts.append(_part(outputs, inputs))
        dense.append(torch.kron(outputs, inputs))
    return Metric(tuple(parts)), torch.block_diag(*dense)


def test_the_metric_is_inverted_exactly():
    generator = torch.Generator().manual_seed(0)
    metric, dense = _metric([(3, 5), (4, 2)], generator)
    rows = torch.randn(6, len(dense), generator=generator)
    kappa, rho = 2.0, 0.1
    inverse = torch.linalg.inv(kappa * dense + rho * torch.eye(len(dense)))
    found = torch.stack([metric.inverse(row, kappa, rho) for row in rows])
    torch.testing.assert_close(found, rows @ inverse, rtol=1e-3, atol=1e-4)
    gram = metric.gram((rows[:2], rows[2:]), kappa, rho)
    torch.testing.assert_close(gram, rows @ inverse @ rows.T, rtol=1e-3, atol=1e-4)


def test_the_energy_is_what_every_weight_costs_alone():
    metric, dense = _metric([(3, 5)], torch.Generator().manual_seed(1))
    move = torch.linspace(-1, 1, 15)
    expected = move.square() * (2.0 * dense.diagonal() + 0.1)
    (found,) = metric.energy(move, 2.0, 0.1)
    torch.testing.assert_close(found.flatten(), expected)


def test_the_step_is_the_minimum_of_the_loss_in_the_linear_model():
    generator = torch.Generator().manual_seed(2)
    metric, dense = _metric([(3, 5), (4, 2)], generator)
    size, kappa, rho, mass = len(dense), 0.7, 0.2, 0.1
    rows = torch.randn(6, size, generator=generator)
    start = torch.tensor([-4.0, 0.3, 2.0, 0.1, -0.2, 0.3])
    aim = torch.tensor([0.2, 0.9, 0.5])
    goal = torch.cat([aim.logit(), torch.zeros(3)])
    strength = torch.cat([aim * (1 - aim), torch.full((3,), 2 * mass)])
    kind = torch.tensor([LOGIT] * 3 + [MASS] * 3)
    model = Linear((rows,), start, goal, strength, kind, torch.arange(6) % 3, 0.0)
    found = solved(model, metric, kappa, rho)
    # The same values in two blocks, in another order: the same problem.
    halves = [model.part(torch.arange(6) % 2 == odd) for odd in (0, 1)]
    torch.testing.assert_close(solved(joined(halves), metric, kappa, rho), found)
    # Where the weights start from makes no difference.
    near = torch.randn(size, generator=generator)
    again = solved(model, metric, kappa, rho, near)
    torch.testing.assert_close(again, found, rtol=1e-2, atol=1e-3)

    u = found.double().requires_grad_()
    values = start.double() + rows.double() @ u
    cross = torch.nn.functional.binary_cross_entropy_with_logits(values[:3], aim.double())
    price = u @ (kappa * dense.double() + rho * torch.eye(size, dtype=torch.float64)) @ u
    loss = cross + mass * values[3:].square().mean() + price / 2
    (gradient,) = torch.autograd.grad(loss, u)
    assert gradient.abs().max() < 1e-3


def test_single_weights_have_the_part_of_the_metric_between_them():
    generator = torch.Generator().manual_seed(3)
    a, b = torch.randn(5, 9, generator=generator), torch.randn(3, 9, generator=generator)
    inputs, outputs = a @ a.T, b @ b.T
    chosen = torch.tensor([1, 4, 8, 13])
    part = _part(outputs, inputs, torch.stack([chosen // 5, chosen % 5]))
    expected = torch.kron(outputs, inputs)[chosen][:, chosen]
    torch.testing.assert_close(part.left @ torch.diag(part.values) @ part.left.T, expected)
    torch.testing.assert_close(part.diagonal, expected.diagonal())
    fewer = part.kept(torch.tensor([0, 2]))
    torch.testing.assert_close(fewer.diagonal, expected.diagonal()[[0, 2]])


def test_the_fisher_metric_predicts_the_divergence_of_a_small_move():
    """u^T F u / 2 is KL(original || moved): right within a factor of two for one matrix's rows."""
    loaded = worlds.loaded("llama")
    item = next(
        item for item in projections(loaded.model) if item.name.endswith("1.mlp.down_proj.weight")
    )
    selection = Selection(
        "row", {item.name: rows_in(item, torch.arange(16))}, fingerprint(loaded.model)
    )
    task = _task(loaded)
    with Deltas(loaded.model, selection) as deltas:
        with recorded(loaded.model, selection.slices) as tape:
            metric = metric_of(tape, code_moments(loaded, tape, task.keep, None, 0), [1.0])
        (part,) = metric.parts
        value = deltas.values[item.name]
        move = 0.02 * torch.randn(value.shape, generator=torch.Generator().manual_seed(4))
        turned = part.left.T @ move @ part.right
        predicted = 0.5 * float((turned.square() * part.values).sum())
        deltas.set_({item.name: move})
        measured = _kl(task)
    assert 0.5 < predicted / measured < 2


def _kl(task):
    from hfbiasedit.editing.optimisation import watched_divergence

    return float(watched_divergence(replace(task, watch=task.keep)).mean())


@pytest.mark.parametrize("mode", ["rows", "entries"])
def test_solving_brings_shares_closer_within_the_divergence(mode):
    loaded = worlds.loaded("llama")
    task = _task(loaded, max_kl=0.05)
    selection = _selection(loaded.model, mode, count=12)
    with Deltas(loaded.model, selection) as deltas:
        assert uses_newton(task, deltas)
        outcome = solve(task, deltas)
        after = scored(task, task.prompts.batches(task.dev, 32))
    assert outcome.state is not None
    assert outcome.dev_after < 0.7 * outcome.dev_before
    assert after.fb == pytest.approx(outcome.dev_after, abs=0.05)
    assert after.mean_kl <= 0.05
    base = scored(task, task.prompts.batches(task.dev, 32))
    assert base.fb == pytest.approx(outcome.dev_before, abs=1e-3)  # the model is as it was


def test_a_tight_budget_is_kept_at_the_price_of_the_gain():
    loaded = worlds.loaded("llama")
    selection = _selection(loaded.model, "rows")
    gains = []
    for limit in (1e-6, 1e-2):
        with Deltas(loaded.model, selection) as deltas:
            outcome = solve(_task(loaded, max_kl=limit), deltas)
        assert float(outcome.kl.mean()) <= limit
        gains.append(outcome.dev_before - outcome.dev_after)
    assert 0 <= gains[0] < gains[1]


def test_solver_is_refused_where_it_cannot_work():
    loaded = worlds.loaded("llama")
    norm = loaded.model.model.norm.weight
    whole = Selection(
        "full",
        {"model.norm.weight": _whole("model.norm.weight", norm.shape)},
        fingerprint(loaded.model),
    )
    assert not is_recordable(loaded.model, whole.slices)
    for solver, error in (("newton", True), ("adam", False), ("auto", False)):
        task = _task(loaded, granularity="full", solver=solver)
        with Deltas(loaded.model, whole) as deltas:
            if error:
                with pytest.raises(BiasEditError, match="use adam"):
                    uses_newton(task, deltas)
            else:
                assert not uses_newton(task, deltas)


def _whole(name, shape):
    return Slice(name, WHOLE, tuple(shape))


def test_too_many_weights_are_left_to_adam(monkeypatch):
    loaded = worlds.loaded("llama")
    selection = _selection(loaded.model, "entries")
    monkeypatch.setattr(linear, "LIMIT", 1000)
    with Deltas(loaded.model, selection) as deltas:
        assert not uses_newton(_task(loaded), deltas)
        with pytest.raises(BiasEditError, match="too many weights"):
            uses_newton(_task(loaded, solver="newton"), deltas)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_coordinates_are_the_weights_gradients_in_orthonormal_directions(family):
    loaded = worlds.loaded(family)
    task = _task(loaded)
    items = projections(loaded.model)[-2:]
    slices = {items[0].name: _whole(items[0].name, items[0].shape)}
    slices[items[1].name] = rows_in(items[1], torch.arange(5))
    batches = task.prompts.batches(task.train, 7)
    with recorded(loaded.model, slices) as tape:
        whole = gradients_of_share(loaded, tape, batches, None).rows
        code = code_moments(loaded, tape, task.keep, None, 0)
        set_bases(task, tape, slices, code, batches, 3)
        cut = gradients_of_share(loaded, tape, batches, None).rows
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
    assert moments(_whole("a", (100, 40))) == 100**2 + 40**2
    assert moments(row_slice("b", (50, 60), 0, torch.arange(10))) == 10**2 + 60**2
    assert moments(row_slice("b", (50, 60), 1, torch.arange(10))) == 10**2 + 50**2
    assert moments(entry_slice("c", (50, 60), torch.arange(7))) == 7**2 + 7**2


def test_the_rank_is_the_largest_that_fits():
    whole = {"a": _whole("a", (100, 40)), "b": row_slice("b", (50, 60), 0, torch.arange(10))}
    assert rank_for(whole, 4600) is None
    assert rank_for(whole, 4599) == 96  # 96 * 40 + 10 * 60 = 4440
    assert rank_for(whole, 4439) == 64  # 64 * 40 + 10 * 60 = 3160
    assert rank_for(whole, 3159) == 48
    assert rank_for(whole, 416) == 16  # 16 * 16 + 10 * 16
    assert rank_for(whole, 415) == 0


@pytest.mark.parametrize("level", ["layer", "module", "full"])
def test_whole_matrices_move_within_few_directions(level, monkeypatch):
    """So cut down that nothing else fits, the edit still helps, and moves are of that rank."""
    loaded = worlds.loaded("llama")
    task = _task(loaded, granularity=level, max_kl=0.05)
    items = projections(loaded.model)[-3:]
    selection = Selection(
        level, {i.name: _whole(i.name, i.shape) for i in items}, fingerprint(loaded.model)
    )
    monkeypatch.setattr(linear, "LIMIT", linear.elements(1) * 3 * 16 * 16)
    with Deltas(loaded.model, selection) as deltas:
        outcome = solve(task, deltas)
        moved = {name: value.detach().clone() for name, value in deltas.values.items()}
    assert outcome.dev_after < 0.7 * outcome.dev_before
    for value in moved.values():
        singular = torch.linalg.svdvals(value)
        assert int((singular > 1e-5 * singular[0]).sum()) <= 16


def test_samples_share_out_the_prompts(monkeypatch):
    loaded = worlds.loaded("llama")
    task = _task(loaded)
    monkeypatch.setattr(linear, "SAMPLE", len(task.train) // 3)
    parts = samples(task, 9)
    found = [torch.cat([b.index for b in part.prompts]).tolist() for part in parts]
    assert sorted(chain.from_iterable(found)) == sorted(task.train)
    assert 2 <= len(parts) <= 4
    held = torch.cat([b.index for b in parts[0].held]).tolist()
    assert set(held) < set(found[0])
    assert len(samples(task, 1)) == 1


@pytest.mark.parametrize("mode", ["rows", "entries"])
def test_pruning_keeps_a_part_of_the_pool_within_the_budget(mode):
    loaded = worlds.loaded("llama")
    task = _task(loaded)
    pool = _selection(loaded.model, mode, count=8)
    items = items_of(pool, _ranking(loaded.model))
    with Deltas(loaded.model, pool) as deltas:
        kept, found = prune(task, deltas, pool, items, Budget(5, 100, weights=300))
    assert kept.intersect(pool).weights == kept.weights <= 300
    assert kept.items == (kept.rows if mode == "rows" else kept.weights) <= 5
    assert kept.weights > 0
    # What comes with it is the problem in the weights that are kept.
    with Deltas(loaded.model, kept) as deltas, recorded(loaded.model, kept.slices) as tape:
        fresh = gradients_of_share(loaded, tape, task.prompts.batches(task.train, 32), None)
        number = fresh.rows.shape[0]
        torch.testing.assert_close(
            found.prompts.rows[0][:number], fresh.rows * found.scale, rtol=1e-3, atol=1e-5
        )


@pytest.mark.parametrize(
    ("level", "budget"),
    [("unit", Budget(6, 10**6, 10**9)), ("module", Budget(2, 99, math.inf)),
     ("layer", Budget(1, 9, math.inf))],
)  # fmt: skip
@pytest.mark.parametrize("family", ["llama", "gpt2", "phi3"])
def test_pruning_keeps_whole_items(family, level, budget):
    loaded = worlds.loaded(family)
    ranking = _ranking(loaded.model)
    pool = select(loaded.model, ranking, level, "100%")
    task = _task(loaded, granularity=level)
    with Deltas(loaded.model, pool) as deltas:
        kept, _ = prune(task, deltas, pool, items_of(pool, ranking), budget)
    assert kept.items == budget.items
    names = set(kept.slices)
    if level == "module":
        assert len(names) == 2
    elif level == "layer":
        blocks = {item.block: set() for item in projections(loaded.model)}
        for item in projections(loaded.model):
            blocks[item.block].add(item.name)
        assert names in blocks.values()
    else:
        for group in ranking.units():
            down = kept.slices.get(group.down.name)
            units = down.index if down is not None else torch.tensor([], dtype=torch.int64)
            expected = {part.name: part for part in unit_slices(group, units)} if down else {}
            for item, _ in group.up:
                assert (item.name in names) == (item.name in expected)
                if item.name in expected:
                    assert torch.equal(kept.slices[item.name].index, expected[item.name].index)


def test_blocks_are_chosen_by_what_one_fold_says_about_the_others():
    """By brute force: the single block whose cross-validated loss is least is the first taken."""
    loaded = worlds.loaded("llama")
    ranking = _ranking(loaded.model)
    pool = select(loaded.model, ranking, "layer", "100%")
    task = _task(loaded, granularity="layer")
    items = items_of(pool, ranking)
    with Deltas(loaded.model, pool) as deltas:
        kept, _ = prune(task, deltas, pool, items, Budget(1, 9, math.inf))
    losses = {}
    for block in range(ranking.blocks):
        mine = {item.name for item in projections(loaded.model) if item.block == block}
        slices = {name: part for name, part in pool.slices.items() if name in mine}
        with Deltas(loaded.model, replace(pool, slices=slices)) as deltas:
            with recorded(loaded.model, slices) as tape:
                found, _ = linear.problem(task, tape, deltas, 1)
        with Deltas(loaded.model, pool) as deltas, recorded(loaded.model, pool.slices) as tape:
            rho = linear.problem(task, tape, deltas, 1)[0].prompts.rho
        names = [task.prompts.records[n].template for n in found.prompts.index.tolist()]
        order = {name: number for number, name in enumerate(sorted(set(names)))}
        fold_of = torch.tensor([order[name] % min(3, len(order)) for name in names])
        losses[block] = 0.0
        for fold in range(min(3, len(order))):
            inside = found.prompts.part(fold_of == fold)
            move = solved(inside, found.metric, 3.0, rho)
            other = found.prompts.part((fold_of != fold) & (found.prompts.kind == LOGIT))
            shares = (other.start + other.rows[0] @ move).sigmoid()
            aim = other.goal.sigmoid()
            cross = -(aim * shares.log() + (1 - aim) * (1 - shares).log())
            losses[block] += float(cross.mean())
    best = min(losses, key=losses.get)
    assert {f".{best}." in name for name in kept.slices} == {True}


def _ranking(model):
    return random_ranking(projections(model), 0, {"seed": 0})


@pytest.mark.parametrize(
    ("budget", "of", "expected"),
    [("0.5%", 1000, 3.0), ("50%", 10, 100.0), ("64", 100, 100), ("2", 100, 12)],
)
def test_a_pool_is_a_multiple_of_the_budget_and_at_most_everything(budget, of, expected):
    found = widened(budget, of, 6)
    assert float(found.rstrip("%")) == expected
    assert found.endswith("%") == budget.endswith("%")
