"""The header of a card, as huggingface_hub and the Hub's own checks read it."""

from __future__ import annotations

import copy

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results

from hfbiasedit.cards.eval_results import render_eval_results, write_eval_results
from hfbiasedit.cards.licence import Licence
from hfbiasedit.cards.metadata import card_metadata
from hfbiasedit.cards.model_card import render_card
from tests.hub_server.yaml_check import problems
from tests.reports import fixtures


@pytest.fixture(scope="module")
def made():
    return fixtures.documents(30)


def header(made, what="model", licence=None):
    return yaml.safe_load(
        card_metadata(what, made["before"], made["after"], made.get("ability"), licence)
    )


@pytest.mark.parametrize(
    ("what", "relation", "library"),
    [("model", "finetune", "transformers"), ("patch", "adapter", "hfbiasedit")],
)
def test_the_hub_accepts_it(made, what, relation, library):
    data = header(made, what, Licence("apache-2.0"))
    assert problems(data) == []
    assert data["base_model"] == ["acme/tiny-coder"]
    assert data["base_model_relation"] == relation
    assert data["library_name"] == library
    assert data["license"] == "apache-2.0"
    assert {"hfbiasedit", "gender-bias", "model-editing"} <= set(data["tags"])


@pytest.mark.parametrize("what", ["model", "patch"])
def test_results_are_those_of_the_edited_model_alone(made, tmp_path, what):
    """No leaderboard takes what the base scored for a result of this repository."""
    path = tmp_path / "README.md"
    path.write_text(render_card(fixtures.write_run(tmp_path / "run", made), what=what))
    card = ModelCard.load(path)
    assert card.data.base_model == ["acme/tiny-coder"]
    assert card.data.model_name == "acme/tiny-coder, gender bias edited"
    found = {row.metric_type: row.metric_value for row in card.data.eval_results}
    after = made["after"]
    assert found == {
        "fb-score": pytest.approx(after["fb_score"], abs=1e-3),
        "lean": pytest.approx(after["lean"], abs=1e-3),
        "parity-gap": pytest.approx(after["parity_gap"], abs=1e-3),
        "pass@1": pytest.approx(made["ability"]["humaneval"]["after"]["pass@1"]),
    }
    assert len(card.data.eval_results) == len(found)
    for row in card.data.eval_results:
        for value in (row.dataset_config, row.dataset_name, row.metric_name):
            assert "before" not in value
    assert (
        model_index_to_eval_results(header(made, what)["model-index"])[1] == card.data.eval_results
    )


def test_a_licence_other_carries_name_and_link(made):
    data = header(made, licence=Licence("other", "acme-1.0", "https://acme.example/licence"))
    assert problems(data) == []
    assert (data["license_name"], data["license_link"]) == (
        "acme-1.0",
        "https://acme.example/licence",
    )
    assert "license" not in header(made)


def test_own_problems_are_no_benchmark(made):
    mine = copy.deepcopy(made)
    for change in ({"name": "tasks.jsonl"}, {"count": 20}):
        mine["ability"]["humaneval"]["problems"] = made["ability"]["humaneval"]["problems"] | change
        assert len(header(mine)["model-index"][0]["results"]) == 1


def test_eval_results_hold_the_edited_models_scores(made, tmp_path):
    run = fixtures.write_run(tmp_path / "run", made)
    paths = write_eval_results(run, dataset_id="me/codegenbias")
    assert [path.relative_to(run).as_posix() for path in paths] == [
        ".eval_results/codegenbias.yaml", ".eval_results/humaneval.yaml",
    ]  # fmt: skip
    (entry,) = yaml.safe_load(paths[0].read_text())
    assert entry["dataset"] == {"id": "me/codegenbias", "task_id": "quick"}
    assert entry["value"] == pytest.approx(made["after"]["fb_score"], abs=1e-3)
    assert "base model" in entry["notes"]
    (entry,) = yaml.safe_load(paths[1].read_text())
    assert entry["dataset"]["id"] == "openai/openai_humaneval"
    assert entry["value"] == 0.165


def test_eval_results_without_ability(made, tmp_path):
    mine = {key: value for key, value in made.items() if key != "ability"}
    run = fixtures.write_run(tmp_path / "run", mine)
    assert list(render_eval_results(run)) == ["codegenbias.yaml"]
