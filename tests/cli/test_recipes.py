"""Recipes: what is refused before anything begins, what is run, what is written."""

from __future__ import annotations

import json

import pytest
import yaml
from typer.testing import CliRunner

from hfbiasedit.audits import auditor
from hfbiasedit.cli.app import app
from hfbiasedit.cli.failures import explain
from hfbiasedit.cli.recipes import read_recipe
from hfbiasedit.errors import BiasEditError, UsageError
from hfbiasedit.publishing import publication
from tests.publishing.runs import make_run
from tests.tiny import save_checkpoint


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def invoke(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def recipe(tmp_path, **content):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_sections_become_commands_in_the_order_of_work(tmp_path):
    path = recipe(
        tmp_path,
        model="org/name",
        out="here",
        push={"repo": "me/x", "what": "patch", "create-pr": True},
        ability={"tasks": ["syntax", "perplexity"]},
        edit={"granularity": "neuron", "include": ["norms", "head"], "ability": False},
        audit={"config": "core", "fail-above": 20},
        card=None,
    )
    words = {step.name: list(step.words) for step in read_recipe(path)}
    assert list(words) == ["audit", "edit", "ability", "card", "push"]
    assert words["audit"] == ["org/name", "--config", "core", "--fail-above", "20"]
    assert words["edit"][:3] == ["org/name", "--out", "here"]
    assert words["edit"].count("--include") == 2
    assert words["ability"][1:5] == ["--out", "here", "--patch", "here"]
    assert "syntax,perplexity" in words["ability"]
    assert words["card"] == ["here"]
    assert words["push"] == ["here", "me/x", "--create-pr", "--what", "patch"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"modell": "x", "audit": {}}, "did you mean model"),
        ({"model": "x", "audit": {"confg": "quick"}}, "unknown key in audit 'confg'; did you mean"),
        ({"model": "x", "edit": {"granularity": "rows"}}, "unknown granularity 'rows'"),
        ({"model": "x", "push": {"repo": "me/x", "what": "all"}}, "unknown what 'all'"),
        ({"model": "x", "push": {}}, "push needs the key repo"),
        ({"audit": {}}, "audit needs the key model"),
        ({"model": "x"}, "has no section"),
        ({"model": "x", "edit": ["row"]}, "no list of keys and values"),
        ({"model": "x", "edit": {"ability": "yes"}}, "ability cannot be 'yes'"),
    ],
)
def test_what_cannot_be_run_is_refused_by_name(tmp_path, content, words):
    with pytest.raises(UsageError, match=words):
        read_recipe(recipe(tmp_path, **content))


def test_a_number_that_is_none_is_wrong_usage(tmp_path):
    result = invoke("run", recipe(tmp_path, model="x", edit={"steps": "many"}))
    assert result.exit_code == 2
    assert "Invalid value for '--steps'" in result.output


def test_files_that_are_no_recipes(tmp_path):
    with pytest.raises(BiasEditError, match="cannot read"):
        read_recipe(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(BiasEditError, match=r"is no YAML: line 1: expected the node content"):
        read_recipe(tmp_path / "bad.yaml")
    (tmp_path / "bad.yaml").write_text("model: x\nout: y\nedit: {budget: 64\naudit: {}\n")
    with pytest.raises(BiasEditError, match=r"bad\.yaml is no YAML: line 4: "):
        read_recipe(tmp_path / "bad.yaml")


def test_a_dry_run_prints_the_commands_and_runs_nothing(tmp_path):
    path = recipe(tmp_path, model="org/none", edit={"max_kl": 0.01}, card={})
    result = invoke("run", path, "--dry-run")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "hfbiasedit edit org/none --out hfbiasedit-run --max-kl 0.01",
        "hfbiasedit card hfbiasedit-run",
    ]
    document = json.loads(invoke("run", path, "--dry-run", "--json").stdout)
    assert [step["result"] for step in document["steps"]] == [None, None]


UNUSABLE = [
    ("edit", {"budget": "foo"}, "budget 'foo' is not a count"),
    ("edit", {"include": ["norms"]}, "include works with granularity full and layer only"),
    ("edit", {"prompts": "nope.jsonl"}, "nope.jsonl"),
    ("edit", {"reference": "nope"}, "nope"),
    ("edit", {"anchor": "nope.jsonl"}, "anchor nope.jsonl does not exist"),
    ("edit", {"out": "file"}, "is a file"),
    ("ability", {"stubs": "nope.jsonl"}, "nope.jsonl"),
    ("ability", {"out": "file/ability.json"}, "file"),
    ("ability", {"patch": "nope.safetensors"}, "no patch at nope.safetensors"),
    ("card", {"template": "nope.jinja"}, "there is no template nope.jinja"),
    ("card", {"repo_id": "a b/c"}, "a b/c"),
    ("card", {"license": "apache2"}, "did you mean apache-2.0?"),
    ("push", {"repo": "a b/c"}, "a b/c"),
]


@pytest.mark.parametrize(("section", "content", "words"), UNUSABLE)
@pytest.mark.parametrize("how", [[], ["--dry-run"]])
def test_every_step_is_asked_before_the_first_begins(
    tmp_path, monkeypatch, section, content, words, how
):
    monkeypatch.setattr(auditor, "load_model", lambda *_, **__: pytest.fail("a step has begun"))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "file").write_text("")
    steps = {"audit": {}, "edit": {}, section: content}
    result = invoke("run", recipe(tmp_path, model="model", **steps), *how)
    assert result.exit_code
    assert words in str(result.exception)
    assert result.stdout == ""


@pytest.mark.parametrize("section", ["audit", "edit", "ability"])
def test_a_model_that_is_not_here_is_missed_by_a_dry_run(tmp_path, section):
    result = invoke("run", recipe(tmp_path, model="./nope", **{section: {}}), "--dry-run")
    assert "no such directory: ./nope" in str(result.exception)


def test_a_push_that_cannot_log_in_is_refused_first_but_not_in_a_dry_run(tmp_path, monkeypatch):
    monkeypatch.setattr(publication, "get_token", lambda: None)
    monkeypatch.setattr(publication.constants, "HF_HUB_OFFLINE", False)
    path = recipe(tmp_path, model="org/none", edit={}, push={"repo": "me/x"})
    assert "not logged in" in explain(invoke("run", path).exception)
    assert invoke("run", path, "--dry-run").exit_code == 0


def test_only_what_an_earlier_step_writes_may_be_missing(tmp_path):
    path = recipe(tmp_path, card={}, out="absent")
    assert "absent is not a directory" in str(invoke("run", path, "--dry-run").exception)
    path = recipe(tmp_path, model="org/none", out="absent", edit={}, ability={}, card={})
    assert invoke("run", path, "--dry-run").exit_code == 0


def test_steps_run_and_their_documents_are_collected(tmp_path):
    save_checkpoint(tmp_path / "model")
    make_run(tmp_path / "done")
    path = recipe(tmp_path, model="model", out="done", audit={"limit": 6}, card={})
    result = invoke("run", path, "--json")
    assert result.exit_code == 0, result.output
    audit, card = (step["result"] for step in json.loads(result.stdout)["steps"])
    assert audit["dataset"]["prompts"] == 6
    assert card["card"] == "done/README.md"
    gate = recipe(tmp_path, model="model", out="done", audit={"limit": 6, "fail_above": 0}, card={})
    (tmp_path / "done" / "README.md").unlink()
    failed = invoke("run", gate)
    assert type(failed.exception).__name__ == "GateNotMet"
    assert not (tmp_path / "done" / "README.md").exists()


def test_commands_write_themselves_into_a_recipe_that_runs_as_they_would(tmp_path):
    words = ["edit", "org/name", "--granularity", "neuron", "--max-kl", "0.01", "--out", "here"]
    first = invoke(*words, "--write-recipe", "r.yaml")
    assert first.exit_code == 0, first.output
    invoke("push", "here", "me/x", "--what", "patch", "--private", "--write-recipe", "r.yaml")
    written = yaml.safe_load((tmp_path / "r.yaml").read_text())
    assert written == {
        "model": "org/name",
        "out": "here",
        "edit": {"granularity": "neuron", "max_kl": 0.01},
        "push": {"repo": "me/x", "what": "patch", "private": True},
    }
    edit, push = read_recipe(tmp_path / "r.yaml")
    assert sorted(edit.words) == sorted(words[1:])
    assert sorted(push.words) == sorted(["here", "me/x", "--what", "patch", "--private"])
    other = invoke("audit", "org/other", "--write-recipe", "r.yaml")
    assert "is about the model org/name, not org/other" in str(other.exception)
