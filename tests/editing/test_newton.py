"""Per-prompt gradients, the metric, the step and the pruning against direct computations."""

from dataclasses import replace

import pytest
import torch

from hfbiasedit.editing.anchor import load_anchor
from hfbiasedit.editing.choosing import Budget
from hfbiasedit.editing.config import EditConfig
from hfbiasedit.editing.deltas import Deltas
from hfbiasedit.editing.jacobian import is_recordable, jacobian, recorded
from hfbiasedit.editing.material import prepare_windows, remember_original, run
from hfbiasedit.editing.metric import Metric, _part, _part_of, fisher
from hfbiasedit.editing.newton import Linear, solve, solved, uses_newton
from hfbiasedit.editing.objective import bias_terms
from hfbiasedit.editing.optimisation import Task, scored, split_windows
from hfbiasedit.editing.partial import plan_of
from hfbiasedit.editing.pruning import prune, widened
from hfbiasedit.editing.selection import Selection, fingerprint, rows_in
from hfbiasedit.editing.slices import entry_slice, row_slice
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
            found = jacobian(loaded, tape, batches, None)
        order = torch.cat([batch.index for batch in batches]).tolist()
        for place in (0, 3, len(order) - 1):
            for rows, score in (
                (found.share_rows, lambda t: torch.logit(t.share)),
                (found.mass_rows, lambda t: t.log_mass),
            ):
                for value in deltas.values.values():
                    value.grad = None
                batch = prompts.batch([order[place]])
                with deltas.attached():
                    score(bias_terms(batch, run(loaded, batch))).sum().backward()
                alone = torch.cat([v.grad.flatten() for v in deltas.values.values()])
                torch.testing.assert_close(rows[place], alone, rtol=1e-3, atol=1e-5)


def _metric(shapes, generator):
    parts, dense = [], []
    for tall, wide in shapes:
        a, b = (torch.randn(n, 2 * n, generator=generator) for n in (wide, tall))
        inputs, outputs = a @ a.T / wide, b @ b.T / tall
        weight = torch.nn.Linear(wide, tall).weight
        part = row_slice("w", weight.shape, 0, torch.arange(tall))
        parts.append(_part_of(plan_of(part, False, weight.device), inputs, outputs))
        dense.append(torch.kron(outputs, inputs))
    return Metric(tuple(parts)), torch.block_diag(*dense)


def test_the_metric_is_inverted_exactly():
    generator = torch.Generator().manual_seed(0)
    metric, dense = _metric([(3, 5), (4, 2)], generator)
    rows = torch.randn(6, len(dense), generator=generator)
    kappa, rho = 2.0, 0.1
    inverse = torch.linalg.inv(kappa * dense + rho * torch.eye(len(dense)))
    there_and_back = metric.unwhiten(metric.whiten(rows, kappa, rho), kappa, rho)
    torch.testing.assert_close(there_and_back, rows @ inverse, rtol=1e-3, atol=1e-4)


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
    strength = torch.cat([aim * (1 - aim), torch.full((3,), 2 * mass)]) / 3
    found = solved(Linear(rows, start, goal, strength, 0.0), metric, kappa, rho)

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
            metric = fisher(loaded, tape, task.keep, None, [1.0], 0)
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
    item = projections(loaded.model)[0]
    whole = Selection("module", {item.name: _whole(item)}, fingerprint(loaded.model))
    assert not is_recordable(loaded.model, whole.slices)
    for solver, error in (("newton", True), ("adam", False), ("auto", False)):
        task = _task(loaded, granularity="module", solver=solver)
        with Deltas(loaded.model, whole) as deltas:
            if error:
                with pytest.raises(BiasEditError, match="use adam"):
                    uses_newton(task, deltas)
            else:
                assert not uses_newton(task, deltas)


def _whole(item):
    from hfbiasedit.editing.slices import WHOLE, Slice

    return Slice(item.name, WHOLE, item.shape)


@pytest.mark.parametrize("mode", ["rows", "entries"])
def test_pruning_keeps_a_part_of_the_pool_within_the_budget(mode):
    loaded = worlds.loaded("llama")
    task = _task(loaded)
    pool = _selection(loaded.model, mode, count=8)
    with Deltas(loaded.model, pool) as deltas:
        kept = prune(task, deltas, pool, Budget(5, 100, weights=300))
    assert kept.intersect(pool).weights == kept.weights <= 300
    assert (kept.rows if mode == "rows" else kept.weights) <= 5
    assert kept.weights > 0


@pytest.mark.parametrize(
    ("budget", "of", "expected"),
    [("0.5%", 1000, 3.0), ("50%", 10, 100.0), ("64", 100, 100), ("2", 100, 12)],
)
def test_a_pool_is_a_multiple_of_the_budget_and_at_most_everything(budget, of, expected):
    found = widened(budget, of)
    assert float(found.rstrip("%")) == expected
    assert found.endswith("%") == budget.endswith("%")
