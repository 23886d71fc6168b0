"""Saliency against finite differences, sums that add up, and a model in which bias was planted."""

import pytest
import torch

from hfbiasedit.editing.config import LocateConfig
from hfbiasedit.editing.locating.drawn import random_ranking
from hfbiasedit.editing.locating.locator import choose_blocks, locate_with
from hfbiasedit.editing.locating.method import saliency_of
from hfbiasedit.editing.locating.ranking import Ranking
from hfbiasedit.editing.locating.saliency import collect
from hfbiasedit.editing.material.forward import run
from hfbiasedit.editing.material.objective import bias_loss
from hfbiasedit.editing.material.prompts import bias_probes
from hfbiasedit.editing.running.gradients import streamed
from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.architecture import projections
from tests.editing import worlds


# Norms and attention of some families compute in float32 whatever the model's dtype, so that single
# weights drown in rounding there; the slope along a whole matrix's gradient does not.
@pytest.mark.parametrize("family", ["gpt2", "codegen", "llama", "phi3", "gpt_neox"])
def test_gradients_are_finite_differences(family):
    model = worlds.loaded(family, dtype="float64")
    prompts = worlds.prompts(model)
    batch = prompts.batch([0, 4, 9])

    def loss():
        return bias_loss(batch, run(model, batch), 0.0)

    def slope(weight, direction, step):
        values = []
        for sign in (1, -1):
            weight += sign * step * direction
            with torch.no_grad():
                values.append(float(loss()))
            weight -= sign * step * direction
        return (values[0] - values[1]) / (2 * step)

    found = {}
    items = projections(model.model)
    with streamed(model.model, items, lambda i, w, g: found.__setitem__(i.name, g.clone())):
        loss().backward()
    generator = torch.Generator().manual_seed(5)
    for item in items:
        weight, gradient = model.model.get_parameter(item.name).data, found[item.name]
        size = gradient.norm()
        assert slope(weight, gradient / size, 1e-3) == pytest.approx(
            float(size), rel=0.02, abs=1e-4
        )
        if family == "gpt2":
            place = int(torch.randint(weight.numel(), (), generator=generator))
            single = torch.zeros_like(weight).view(-1)
            single[place] = 1
            exact = float(gradient.view(-1)[place])
            assert slope(weight, single.view_as(weight), 1e-5) == pytest.approx(exact, abs=1e-6)


@pytest.mark.parametrize("saliency", ["taylor", "grad", "fisher"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2_moe"])
def test_sums_over_rows_and_columns_add_up(family, saliency):
    model = worlds.loaded(family)
    prompts = worlds.prompts(model)
    items = projections(model.model)
    parameters = dict(model.model.named_parameters())
    groups = bias_probes(prompts, 4, 0)
    assert len(groups) > 1
    batches = [prompts.batch(group) for group in groups]
    losses = [lambda batch=batch: bias_loss(batch, run(model, batch), 0.0) for batch in batches]
    found = collect(model.model, items, losses, saliency_of(saliency).measure)
    model.model.requires_grad_(True)
    expected = {item.name: torch.zeros(item.rows, item.columns) for item in items}
    for loss in losses:
        model.model.zero_grad()
        loss().backward()
        for item in items:
            weight = parameters[item.name]
            gradient = weight.grad if weight.grad is not None else torch.zeros_like(weight)
            value = {
                "taylor": (gradient * weight).abs(),
                "grad": gradient.abs(),
                "fisher": gradient**2,
            }[saliency]
            expected[item.name] += item.row_view(value.detach()) / len(losses)
    model.model.requires_grad_(False)
    for item in items:
        sums, matrix = found[item.name], expected[item.name].double()
        assert torch.allclose(sums.rows, matrix.sum(1), rtol=1e-3, atol=1e-9)
        columns = matrix.view(item.experts, -1, item.columns).sum(1).reshape(-1)
        assert torch.allclose(sums.columns, columns, rtol=1e-3, atol=1e-9)
        assert (sums.peaks >= matrix.max(1).values * (1 - 1e-4) - 1e-9).all()
    ranking = Ranking(saliency, tuple(items), found)
    total = sum(float(matrix.sum()) for matrix in expected.values())
    assert sum(ranking.block_scores()) == pytest.approx(total, rel=1e-3)
    assert sum(score for _, score in ranking.matrices()) == pytest.approx(total, rel=1e-3)


def test_the_planted_row_is_ranked_first():
    model, item = worlds.planted()
    prompts = worlds.prompts(model)
    assert all(abs(share - 0.5) > 0.4 for share in prompts.share)
    found = locate_with(model, prompts, LocateConfig(saliency="taylor", blocks="all"))
    blocks = found.ranking.block_scores()
    assert blocks[2] > 0.99 * sum(blocks)
    projection, row, _ = found.ranking.top_rows(1)[0]
    assert (projection.name, row) == (item.name, worlds.PLANTED)


def test_a_ranking_is_saved_whole_and_drawn(tmp_path):
    import pyarrow.parquet as parquet

    model = worlds.loaded("phi3")
    found = locate_with(model, worlds.prompts(model), LocateConfig(blocks="1"))
    paths = found.save(tmp_path)
    assert {path.suffix for path in paths} == {".parquet", ".png", ".svg"}
    table = parquet.read_table(tmp_path / "ranking.parquet").to_pylist()
    items = found.ranking.projections
    rows = [row for row in table if row["axis"] == "row"]
    assert len(rows) == sum(item.rows for item in items)
    assert {row["part"] for row in rows if row["module"] == "qkv_proj"} == {"q", "k", "v"}
    scores = [row["score"] for row in table]
    assert scores == sorted(scores, reverse=True)
    assert sum(row["score"] for row in rows) == pytest.approx(sum(found.ranking.block_scores()))


def test_random_rankings_depend_on_the_seed_only():
    items = projections(worlds.loaded().model)
    first, again, other = (random_ranking(items, seed, {"seed": seed}) for seed in (1, 1, 2))
    assert torch.equal(first.flat_rows()[0], again.flat_rows()[0])
    assert not torch.equal(first.flat_rows()[0], other.flat_rows()[0])


@pytest.mark.parametrize("wanted", ["", "1-9", "-1", "two", "3-2"])
def test_blocks_that_are_not_there_are_refused(wanted):
    ranking = random_ranking(projections(worlds.loaded().model), 0, {})
    with pytest.raises(BiasEditError, match="blocks"):
        choose_blocks(ranking, wanted)


def test_gradients_of_nothing_are_refused():
    model = worlds.loaded()
    prompts = worlds.prompts(model)
    for item in projections(model.model):
        model.model.get_parameter(item.name).data.zero_()
    with pytest.raises(BiasEditError, match="zero or not finite"):
        locate_with(model, prompts, LocateConfig(saliency="taylor"))
