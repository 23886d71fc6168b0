"""From prompts to an edit in memory: nested budgets, the lowest block, who solves."""

import itertools
import json
from dataclasses import replace

import pytest
import torch

from hfbiasedit.editing import attempt as attempts
from hfbiasedit.editing.attempt import attempt
from hfbiasedit.editing.config import EditConfig
from hfbiasedit.editing.locating.drawn import random_ranking
from hfbiasedit.editing.locating.locator import Location
from hfbiasedit.editing.locating.ranking import Ranking
from hfbiasedit.editing.material.windows import prepare_windows
from hfbiasedit.editing.weights.selection import Selection, fingerprint
from hfbiasedit.editing.weights.slices import entry_slice
from hfbiasedit.levels import LEVELS
from hfbiasedit.models.architecture import projections
from tests.editing import worlds


def _material(loaded):
    prompts = worlds.prompts(loaded)
    windows = prepare_windows(loaded, worlds.anchor(), 24, 0)
    numbers = list(range(len(prompts)))
    return attempts.Material(prompts, numbers[::2], numbers[1::2], worlds.anchor(), windows)


def _location(loaded, boost=None):
    """A ranking drawn by seed, but of equal spread between blocks `boost` says otherwise."""
    items = projections(loaded.model)
    drawn = random_ranking(items, 0, {"seed": 0})
    scores = dict(drawn.scores)
    for item in items:
        factor = (boost or {}).get(item.block, 1.0)
        for side in (scores[item.name].rows, scores[item.name].peaks, scores[item.name].columns):
            side *= factor
    ranking = Ranking("made", tuple(items), scores, {"seed": 0})

    def entry_scores(pool):
        by_name = {item.name: item for item in items}
        generator = torch.Generator().manual_seed(3)
        return {
            name: torch.rand(len(rows), by_name[name].columns, generator=generator)
            for name, rows in pool.items()
        }

    return Location(ranking, list(range(ranking.blocks)), entry_scores, 0.0)


@pytest.mark.parametrize("level", ["row", "unit", "neuron"])
def test_the_ladder_of_auto_is_nested_and_its_first_is_the_widest(level, monkeypatch):
    loaded = worlds.loaded("llama")
    rungs = ("20% of weights", "10% of weights", "3% of weights")
    monkeypatch.setitem(LEVELS, level, _with_ladder(level, rungs))
    ladder = attempts._ladder(loaded, EditConfig(granularity=level), _location(loaded))
    sizes = [selection.weights for selection in ladder]
    assert len(ladder) == 3
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 5 * sizes[2]
    for wide, narrow in itertools.pairwise(ladder):
        assert wide.intersect(narrow).weights == narrow.weights


def _with_ladder(level, rungs):
    return replace(LEVELS[level], ladder=rungs)


def test_a_count_is_a_ladder_of_one():
    loaded = worlds.loaded("llama")
    config = EditConfig(granularity="row", budget=8)
    (only,) = attempts._ladder(loaded, config, _location(loaded))
    assert only.items == 8


@pytest.mark.parametrize(
    ("boost", "blocks", "expected"),
    [
        ({0: 1e-3}, "auto", 1),  # block 0 has none of the best rows
        ({0: 1.0}, "auto", 0),
        ({0: 1e-3}, "all", None),  # what was asked for is kept
    ],
)
def test_few_stray_weights_are_given_up_to_leave_blocks_below_alone(boost, blocks, expected):
    loaded = worlds.loaded("llama", num_hidden_layers=3)
    location = _location(loaded, boost)
    # One row of block 0 is the best of all: less than STRAY of what is chosen.
    low = next(item for item in location.ranking.projections if item.block == 0)
    location.ranking.scores[low.name].rows[0] = 1e9
    config = EditConfig(granularity="row", budget=80, blocks=blocks)
    (chosen,) = attempts._ladder(loaded, config, location)
    assert chosen.items == 80
    found = chosen.lowest_block(loaded.model)
    assert found == (0 if expected is None else expected)
    if expected:
        assert low.name not in chosen.slices


@pytest.mark.parametrize(
    ("low", "expected"), [(0, 1), (5, 1), (6, 0), (100, 0)], ids=["none", "few", "many", "all"]
)
def test_the_floor_leaves_at_most_the_allowed_share_below(low, expected):
    """Of a hundred weights, so many are in block 0."""
    loaded = worlds.loaded("llama", num_hidden_layers=3)
    counts = {0: low, 1: 60 if low < 40 else 0}
    counts[2] = 100 - sum(counts.values())
    slices = {}
    for block, count in counts.items():
        item = next(p for p in projections(loaded.model) if p.block == block)
        if count:
            slices[item.name] = entry_slice(item.name, item.shape, torch.arange(count))
    chosen = Selection("neuron", slices, fingerprint(loaded.model))
    assert chosen.weights == 100
    assert attempts._floor(chosen, loaded) == expected


def test_auto_tries_its_ladder_and_edits_the_smallest_that_is_enough(monkeypatch):
    loaded = worlds.loaded("llama")
    monkeypatch.setitem(LEVELS, "row", _with_ladder("row", ("10% of weights", "3% of weights")))
    before = {name: p.clone() for name, p in loaded.model.named_parameters()}
    config = EditConfig(granularity="row", max_kl=0.05)
    found = attempt(loaded, config, _material(loaded), location=_location(loaded))
    assert [point["weights"] for point in found.curve] == [
        selection.weights for selection in attempts._ladder(loaded, config, _location(loaded))
    ]
    (marked,) = (point for point in found.curve if point["chosen"])
    assert found.selection.weights == marked["weights"]
    assert found.helped
    # What is drawn as edited is where the selection lies.
    blocks = {int(name.split(".layers.")[1].split(".")[0]) for name in found.selection.slices}
    assert found.location.blocks == sorted(blocks)
    assert found.outcome.dev_after < found.outcome.dev_before
    assert float(found.kl.mean()) <= 0.05
    assert all(torch.equal(p, before[name]) for name, p in loaded.model.named_parameters())


def test_a_saved_selection_is_edited_as_it_is(tmp_path):
    loaded = worlds.loaded("llama")
    config = EditConfig(granularity="row", budget=12, max_kl=0.05)
    material = _material(loaded)
    first = attempt(loaded, config, material, location=_location(loaded))
    first.selection.save(tmp_path / "selection.json")
    chosen = Selection.load(tmp_path / "selection.json", loaded.model)
    again = attempt(loaded, config, material, selection=chosen)
    assert again.curve == []
    assert again.location is None
    assert first.values.keys() == again.values.keys()
    assert all(torch.equal(again.values[name], value) for name, value in first.values.items())


def test_rows_of_experts_are_edited_with_the_default_solver(monkeypatch):
    loaded = worlds.loaded("mixtral")
    monkeypatch.setitem(LEVELS, "row", _with_ladder("row", ("10% of weights", "3% of weights")))
    config = EditConfig(granularity="row", max_kl=0.05)
    found = attempt(loaded, config, _material(loaded), location=_location(loaded))
    assert any("experts" in name for name in found.selection.slices)
    assert len(found.curve) == 2
    # Adam would have tried no budgets and taken steps by the dozen.
    assert 1 <= max(entry["step"] for entry in found.outcome.history) <= 4


def test_whole_stacks_of_experts_are_left_to_adam():
    loaded = worlds.loaded("mixtral")
    config = EditConfig(granularity="module", budget=3, steps=3, max_kl=0.05)
    found = attempt(loaded, config, _material(loaded), location=_location(loaded))
    assert any("experts" in name for name in found.selection.slices)
    assert found.curve == []
    assert [entry["step"] for entry in found.outcome.history] == [1, 2, 3]


def _own_prompts(path):
    """A file with prompts of every split, told apart by their texts."""
    rows = []
    for split in ("edit", "dev", "test_modifiers", "test_templates", "test_professions"):
        for record in worlds.records(split):
            row = record.to_dict() | {"id": f"{split}/{record.id}"}
            rows.append(row | {"prompt": f"# {split}\n{record.prompt}"})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_an_edit_learns_from_edit_stops_on_dev_and_sees_no_test(tmp_path, monkeypatch):
    loaded = worlds.loaded("llama")
    config = EditConfig(
        granularity="row", budget=4, max_kl=0.05, prompts=_own_prompts(tmp_path / "p.jsonl")
    )
    monkeypatch.setattr(attempts, "load_anchor", lambda _: worlds.anchor())
    material = attempts.gather(loaded, config)
    split = [record.split for record in material.prompts.records]
    assert {split[number] for number in material.train} == {"edit"}
    assert {split[number] for number in material.dev} == {"dev"}
    assert sorted(material.train + material.dev) == list(range(len(split)))

    seen = {}

    def locating(loaded, prompts, config, *kept):
        seen["located"] = prompts
        return _location(loaded)

    class Watching:
        def fits(self, task, slices):
            return None

        def solve(self, task, deltas):
            seen["task"] = task
            raise StopIteration

    monkeypatch.setattr(attempts, "locate_with", locating)
    monkeypatch.setattr(attempts, "solver_of", lambda name: Watching())
    with pytest.raises(StopIteration):
        attempt(loaded, config, material)
    assert {record.split for record in seen["located"].records} == {"edit"}
    assert len(seen["located"].share) == len(seen["located"].records)
    task = seen["task"]
    assert {task.prompts.records[number].split for number in task.train} == {"edit"}
    assert {task.prompts.records[number].split for number in task.dev} == {"dev"}
    keep, watch = ({tuple(row) for row in w.input_ids.tolist()} for w in (task.keep, task.watch))
    assert not keep & watch
