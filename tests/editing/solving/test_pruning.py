"""From a pool to the budget: what is kept, against brute force."""

import math
from dataclasses import replace

import pytest
import torch
from hfbiasedit.editing.solving.jacobian import gradients_of_share, recorded
from hfbiasedit.editing.solving.linear import LOGIT, solved
from hfbiasedit.editing.solving.pruning import prune

from hfbiasedit.editing import attempt as attempts
from hfbiasedit.editing.config import EditConfig
from hfbiasedit.editing.selecting.budget import Budget
from hfbiasedit.editing.selecting.choosing import select
from hfbiasedit.editing.selecting.items import items_of
from hfbiasedit.editing.selecting.units import unit_slices
from hfbiasedit.editing.solving import linear, newton
from hfbiasedit.editing.weights.deltas import Deltas
from hfbiasedit.models.architecture import projections
from tests.editing import worlds


@pytest.mark.parametrize("mode", ["rows", "entries"])
def test_pruning_keeps_a_part_of_the_pool_within_the_budget(mode):
    loaded = worlds.loaded("llama")
    task = worlds.task(loaded)
    pool = worlds.selection(loaded.model, mode, count=8)
    items = items_of(pool, worlds.ranking(loaded.model))
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
    ranking = worlds.ranking(loaded.model)
    pool = select(loaded.model, ranking, level, "100%")
    task = worlds.task(loaded, granularity=level)
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
    ranking = worlds.ranking(loaded.model)
    pool = select(loaded.model, ranking, "layer", "100%")
    task = worlds.task(loaded, granularity="layer")
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


@pytest.mark.parametrize("level", ["layer", "module"])
def test_a_single_template_cannot_foretell_others_and_is_pruned_by_use(level):
    loaded = worlds.loaded("llama")
    ranking = worlds.ranking(loaded.model)
    pool = select(loaded.model, ranking, level, "100%")
    task = worlds.task(loaded, granularity=level)
    task.train = [n for n in task.train if task.prompts.records[n].template == "record"]
    with Deltas(loaded.model, pool) as deltas:
        kept, found = prune(task, deltas, pool, items_of(pool, ranking), Budget(1, 9, math.inf))
    assert kept.items == 1
    assert found.prompts.finite


def test_a_share_limits_the_weights_of_matrices_too():
    """Two matrices are allowed but only the weights of the smallest one are."""
    loaded = worlds.loaded("llama")
    ranking = worlds.ranking(loaded.model)
    pool = select(loaded.model, ranking, "module", "100%")
    smallest = min(part.count for part in pool.slices.values())
    task = worlds.task(loaded, granularity="module")
    with Deltas(loaded.model, pool) as deltas:
        kept, _ = prune(task, deltas, pool, items_of(pool, ranking), Budget(2, 99, smallest))
    assert kept.items == 1


@pytest.mark.parametrize(
    ("pool_fits", "expected"), [(6, 6), (3, 3), (1, None)], ids=["widest", "narrower", "none"]
)
def test_the_widest_pool_that_can_be_solved_is_pruned(pool_fits, expected, monkeypatch):
    """Also with `--solver newton`, for which a pool that is too wide is no reason to refuse."""
    loaded = worlds.loaded("llama")
    config = EditConfig(granularity="row", budget="4", limit=24, solver="newton")
    material = attempts.gather(loaded, config)
    sizes, whole = [], newton.prune

    def fits(model, slices, prompts):
        return sum(len(part.index) for part in slices.values()) <= pool_fits * 4

    def noted(task, deltas, pool, items, budget):
        sizes.append(pool.items)
        return whole(task, deltas, pool, items, budget)

    monkeypatch.setattr(newton, "can_solve", fits)
    monkeypatch.setattr(newton, "prune", noted)
    found = attempts.attempt(loaded, config, material)
    assert found.selection.items <= 4
    assert sizes == ([] if expected is None else [expected * 4])
