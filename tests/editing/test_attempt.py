"""From prompts to an edit in memory: nested budgets, the lowest block, who solves."""

import json
from dataclasses import replace

import pytest
import torch

from hfbiasedit.editing import attempt as attempts
from hfbiasedit.editing.attempt import attempt
from hfbiasedit.editing.config import EditConfig
from hfbiasedit.editing.material import gathering
from hfbiasedit.editing.selecting.ladder import ladder_of
from hfbiasedit.editing.solving import gauss_newton
from hfbiasedit.editing.solving.task import Outcome
from hfbiasedit.editing.weights.selection import Selection
from hfbiasedit.levels import LEVELS
from tests.editing import worlds


def _with_ladder(level, rungs):
    return replace(LEVELS[level], ladder=rungs)


def test_auto_tries_its_ladder_and_edits_the_smallest_that_is_enough(monkeypatch):
    loaded = worlds.loaded("llama")
    monkeypatch.setitem(LEVELS, "row", _with_ladder("row", ("10% of weights", "3% of weights")))
    before = {name: p.clone() for name, p in loaded.model.named_parameters()}
    config = EditConfig(granularity="row", max_kl=0.05)
    found = attempt(loaded, config, worlds.material(loaded), location=worlds.location(loaded))
    assert [point["weights"] for point in found.curve] == [
        selection.weights for selection in ladder_of(loaded, config, worlds.location(loaded))
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
    material = worlds.material(loaded)
    first = attempt(loaded, config, material, location=worlds.location(loaded))
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
    found = attempt(loaded, config, worlds.material(loaded))  # located as well
    assert found.location.ranking.saliency == "joint"
    assert any("experts" in name for name in found.selection.slices)
    assert len(found.curve) == 2
    # Adam would have tried no budgets and taken steps by the dozen.
    assert 1 <= max(entry["step"] for entry in found.outcome.history) <= gauss_newton.ROUNDS


def test_whole_stacks_of_experts_are_left_to_adam():
    loaded = worlds.loaded("mixtral")
    config = EditConfig(granularity="module", budget=3, steps=3, max_kl=0.05)
    found = attempt(loaded, config, worlds.material(loaded), location=worlds.location(loaded))
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
    monkeypatch.setattr(gathering, "load_anchor", lambda _: worlds.anchor())
    material = gathering.gather(loaded, config)
    split = [record.split for record in material.prompts.records]
    assert {split[number] for number in material.train} == {"edit"}
    assert {split[number] for number in material.dev} == {"dev"}
    assert sorted(material.train + material.dev) == list(range(len(split)))

    seen = {}

    def locating(loaded, prompts, config, *kept):
        seen["located"] = prompts
        return worlds.location(loaded)

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


@pytest.mark.parametrize("part", [2.0, 0.5])
def test_what_a_solver_says_is_allowed_is_measured(monkeypatch, part):
    """A solver may have seen a part of the windows, or be somebody else's."""
    loaded = worlds.loaded("llama")
    material = worlds.material(loaded)
    chosen = worlds.selection(loaded.model, "rows")

    class Careless:
        def fits(self, task, slices):
            return None

        def solve(self, task, deltas):
            generator = torch.Generator().manual_seed(0)
            values = deltas.values.items()
            state = {n: 0.1 * torch.randn(v.shape, generator=generator) for n, v in values}
            deltas.set_(state)
            return Outcome(state, 1e3, 1.0, torch.zeros(4).double(), 1, "")

    monkeypatch.setattr(attempts, "solver_of", lambda name: Careless())

    def edited(limit):
        return attempt(loaded, EditConfig(max_kl=limit), material, selection=chosen)

    free = edited(1e3)
    cost = float(free.kl.mean())
    assert cost > 1e-3
    found = edited(cost * part)
    assert float(found.kl.mean()) <= cost * part
    same = {n: torch.equal(v, free.values[n]) for n, v in found.values.items()}
    assert all(same.values()) is (part > 1)
    assert (found.outcome.dev_after == 1.0) is (part > 1)
