import json

import pytest
import torch

from hfbiasedit.editing.config import EditConfig
from hfbiasedit.editing.locating.drawn import random_ranking
from hfbiasedit.editing.selecting.choosing import select
from hfbiasedit.editing.weights.selection import Selection, fingerprint
from hfbiasedit.errors import BiasEditError, UsageError
from hfbiasedit.levels import GRANULARITIES
from hfbiasedit.models.architecture import projections
from tests.editing import worlds
from tests.tiny import tiny_model


def ranked(model, seed=0):
    found = random_ranking(projections(model), seed, {"seed": seed})
    return type(found)("taylor", found.projections, found.scores, found.origin)


def scores_of(ranking):
    items = {item.name: item for item in ranking.projections}
    generator = torch.Generator().manual_seed(9)

    def entries(pool):
        return {
            name: torch.rand(len(rows), items[name].columns, generator=generator)
            for name, rows in pool.items()
        }

    return entries


BUDGETS = {"full": "100%", "layer": "1", "module": "3", "row": "5%", "neuron": "1%", "unit": "5%"}


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("family", ["llama", "gpt2", "phi3", "qwen3_moe"])
def test_budgets_are_kept_and_selections_survive_a_file(family, granularity, tmp_path):
    model = tiny_model(family)
    ranking = ranked(model)
    budget = BUDGETS[granularity]
    chosen = select(model, ranking, granularity, budget, entry_scores=scores_of(ranking))
    everything = sum(item.weights for item in ranking.projections)
    assert 0 < chosen.weights <= everything
    if budget.endswith("%"):
        assert chosen.weights <= float(budget[:-1]) / 100 * everything
        assert chosen.items <= float(budget[:-1]) / 100 * chosen.of
    parameters = dict(model.named_parameters())
    assert sum(part.take(parameters[name]).numel() for name, part in chosen.slices.items()) == (
        chosen.weights
    )
    path = tmp_path / "selection.json"
    chosen.save(path)
    again = Selection.load(path, model)
    assert again.granularity == granularity
    assert again.slices.keys() == chosen.slices.keys()
    for name, part in chosen.slices.items():
        assert torch.equal(again.slices[name].entries(), part.entries())
    common = chosen.intersect(again)
    assert common.weights == chosen.weights
    summary = chosen.summary(model)
    assert summary["weights"] == sum(row["weights"] for row in summary["by_layer"])
    assert sum(row["share"] for row in summary["by_module"]) == pytest.approx(1)


def test_the_best_rows_are_chosen():
    model = tiny_model("llama")
    ranking = ranked(model)
    chosen = select(model, ranking, "row", "10")
    density = [
        (float(score) / item.columns, item.name, row)
        for item in ranking.projections
        for row, score in enumerate(ranking.scores[item.name].rows)
    ]
    expected = {(name, row) for _, name, row in sorted(density, reverse=True)[:10]}
    found = {(n, row) for n, part in chosen.slices.items() for row in part.index.tolist()}
    assert found == expected


def test_only_allowed_blocks():
    model = tiny_model("llama")
    chosen = select(model, ranked(model), "row", "5%", blocks=[1])
    assert chosen.lowest_block(model) == 1


@pytest.mark.parametrize("random", [False, True])
@pytest.mark.parametrize("granularity", ["layer", "module", "row", "neuron", "unit"])
def test_only_items_that_the_blocks_hold_are_counted(granularity, random):
    model = tiny_model("llama")
    ranking = random_ranking(projections(model), 0, {"seed": 0}) if random else ranked(model)
    all_of_it = {"layer": "2", "module": str(len(ranking.projections))}.get(granularity, "100%")
    scores = scores_of(ranking)
    held, both = (
        select(model, ranking, granularity, all_of_it, blocks=blocks, entry_scores=scores)
        for blocks in ([1], [0, 1])
    )
    assert both.items == both.of
    assert held.items == held.of / 2  # the blocks are alike
    assert held.weights == both.weights / 2


def test_a_unit_is_its_rows_and_its_column():
    model = tiny_model("llama")
    chosen = select(model, ranked(model), "unit", "1")
    assert {part.axis for part in chosen.slices.values()} == {0, 1}
    numbers = {tuple(part.index.tolist()) for part in chosen.slices.values()}
    assert len(chosen.slices) == 3
    assert len(numbers) == 1
    assert chosen.weights == 3 * 32


def test_embeddings_and_the_like_only_when_asked_for():
    model = tiny_model("gpt2")
    plain = select(model, ranked(model), "full", "100%")
    assert all(name.endswith("weight") and ".h." in name for name in plain.slices)
    more = select(model, ranked(model), "full", "100%", include=("norms", "biases"))
    assert {name for name in more.slices if "wte" in name or "wpe" in name} == set()
    everything = ("embeddings", "head", "norms", "biases")
    full = select(model, ranked(model), "full", "100%", include=everything)
    assert full.weights == sum(parameter.numel() for parameter in model.parameters())
    assert full.lowest_block(model) == -1
    with pytest.raises(UsageError, match="include"):
        select(model, ranked(model), "row", "5", include=("norms",))


def test_random_entries_are_spread_evenly():
    model = tiny_model("llama")
    ranking = random_ranking(projections(model), 3, {"seed": 3})
    chosen = select(model, ranking, "neuron", "2000")
    assert chosen.weights == 2000
    assert len(chosen.slices) == len(ranking.projections)


def test_selections_of_other_models_are_refused(tmp_path):
    model, other = tiny_model("llama"), tiny_model("gpt2")
    chosen = select(model, ranked(model), "row", "3")
    path = tmp_path / "selection.json"
    chosen.save(path)
    with pytest.raises(BiasEditError, match="another model"):
        Selection.load(path, other)
    with pytest.raises(BiasEditError, match="different models"):
        chosen.intersect(select(other, ranked(other), "row", "3"))
    assert chosen.model == fingerprint(model)


def _broken(change):
    def apply(document):
        name = next(iter(document["slices"]))
        change(document, document["slices"][name])

    return apply


@pytest.mark.parametrize(
    "damage",
    [
        _broken(lambda d, s: s.update(index="!!")),
        _broken(lambda d, s: s.update(index="AAAA")),
        _broken(lambda d, s: s.update(shape=[1, 1])),
        _broken(lambda d, s: s.update(count=99)),
        _broken(lambda d, s: s.update(kind="diagonal")),
        _broken(lambda d, s: s.update(axis=7)),
        _broken(lambda d, s: d.pop("model")),
        _broken(lambda d, s: d.update(slices=[])),
        _broken(lambda d, s: d.update(slices={})),
        _broken(lambda d, s: d.update(schema="other")),
    ],
)
def test_damaged_selection_files_are_refused(tmp_path, damage):
    model = tiny_model("llama")
    path = tmp_path / "selection.json"
    select(model, ranked(model), "row", "3").save(path)
    document = json.loads(path.read_text())
    damage(document)
    path.write_text(json.dumps(document))
    with pytest.raises(BiasEditError):
        Selection.load(path, model)


@pytest.mark.parametrize(
    "options",
    [
        {"granularity": "tensor"},
        {"saliency": "magic"},
        {"include": ("everything",)},
        {"max_kl": -1},
        {"max_kl": 0.0},
        {"max_kl": float("nan")},
        {"steps": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"probe_prompts": 0},
    ],
)
def test_senseless_options_are_refused(options):
    with pytest.raises(UsageError):
        EditConfig(**options)


def test_worlds_have_what_the_tests_need():
    assert len(worlds.records()) == 24
