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


def test_before_and_after_stay_apart(made):
    """Clients merge results that agree in task, dataset, config and split."""
    data = header(made)
    _, results = model_index_to_eval_results(data["model-index"])
    scores = {row.dataset_config: row for row in results if row.metric_type == "fb-score"}
    assert scores["quick-before"].metric_value == pytest.approx(
        made["before"]["fb_score"], abs=1e-3
    )
    assert scores["quick-after"].metric_value == pytest.approx(made["after"]["fb_score"], abs=1e-3)
    names = [(row.metric_type, row.metric_name) for row in results]
    assert len(set(names)) == len(names)
    assert len(data["model-index"][0]["results"]) == 4


def test_the_client_reads_the_card_back(made, tmp_path):
    card = ModelCard(render_card(fixtures.write_run(tmp_path / "run", made)))
    assert card.data.base_model == ["acme/tiny-coder"]
    assert card.data.model_name == "acme/tiny-coder, gender bias edited"
    assert len(card.data.eval_results) == 8


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
        assert len(header(mine)["model-index"][0]["results"]) == 2


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
