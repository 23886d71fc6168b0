"""The Fisher metric against dense matrices and measured divergences."""

from dataclasses import replace

import pytest
import torch
from hfbiasedit.editing.solving.jacobian import recorded
from hfbiasedit.editing.solving.metric import _part, code_moments, divergence_gradient, metric_of

from hfbiasedit.editing.weights.deltas import Deltas
from hfbiasedit.editing.weights.selection import Selection, fingerprint, rows_in
from hfbiasedit.models.architecture import projections
from tests.editing import worlds


def test_the_metric_is_inverted_exactly():
    generator = torch.Generator().manual_seed(0)
    metric, dense = worlds.metric([(3, 5), (4, 2)], generator)
    rows = torch.randn(6, len(dense), generator=generator)
    kappa, rho = 2.0, 0.1
    inverse = torch.linalg.inv(kappa * dense + rho * torch.eye(len(dense)))
    found = torch.stack([metric.inverse(row, kappa, rho) for row in rows])
    torch.testing.assert_close(found, rows @ inverse, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(metric.times(rows[0]), dense @ rows[0], rtol=1e-3, atol=1e-4)
    gram = metric.gram((rows[:2], rows[2:]), kappa, rho)
    torch.testing.assert_close(gram, rows @ inverse @ rows.T, rtol=1e-3, atol=1e-4)


def test_the_energy_is_what_every_weight_costs_alone():
    metric, dense = worlds.metric([(3, 5)], torch.Generator().manual_seed(1))
    move = torch.linspace(-1, 1, 15)
    expected = move.square() * (2.0 * dense.diagonal() + 0.1)
    (found,) = metric.energy(move, 2.0, 0.1)
    torch.testing.assert_close(found.flatten(), expected)


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
    task = worlds.task(loaded)
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


@pytest.mark.parametrize("mode", ["rows", "columns", "entries", "whole"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_gradient_of_the_divergence_is_that_of_central_differences(family, mode):
    loaded = worlds.loaded(family)
    task = worlds.task(loaded)
    if mode == "whole":
        item = projections(loaded.model)[-1]
        slices = {item.name: worlds.whole(item.name, item.shape)}
        selection = Selection("module", slices, fingerprint(loaded.model))
    else:
        selection = worlds.selection(loaded.model, mode)
    generator = torch.Generator().manual_seed(6)
    with Deltas(loaded.model, selection) as deltas:
        state = {
            n: 0.1 * torch.randn(v.shape, generator=generator) for n, v in deltas.values.items()
        }
        way = {n: torch.randn(v.shape, generator=generator) for n, v in deltas.values.items()}
        deltas.set_(state)
        with recorded(loaded.model, selection.slices) as tape:
            found, mean = divergence_gradient(loaded, tape, task.keep, None)
        assert mean == pytest.approx(_kl(task), rel=1e-4)
        sides = []
        for sign in (1, -1):
            deltas.set_({name: state[name] + sign * 1e-2 * way[name] for name in state})
            sides.append(_kl(task))
    along = float(found @ torch.cat([way[name].flatten() for name in selection.slices]))
    assert along == pytest.approx((sides[0] - sides[1]) / 2e-2, rel=2e-2)


def _kl(task):
    from hfbiasedit.editing.solving.task import watched_divergence

    return float(watched_divergence(replace(task, watch=task.keep)).mean())
