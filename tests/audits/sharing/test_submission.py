"""Adding an audit to a dataset of audits."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from hfbiasedit.audits.sharing.submission import Submission, place_of
from hfbiasedit.cli.app import app
from hfbiasedit.errors import BiasEditError
from tests.audits.sharing import made
from tests.hub_server import BOB_TOKEN
from tests.scoring.worlds import save
from tests.tiny import tiny_model

DATASET = "acme/audits"
COMMIT = "1" * 40


@pytest.fixture
def repository(hub_client):
    files = {"README.md": b"# Audits", "audits/other/quick-all-1.json": b"{}"}
    return hub_client.create_repo(DATASET, files, kind="dataset")


def test_one_commit_that_touches_nothing_else(repository):
    audit = made.audit(COMMIT)
    result = Submission(DATASET).send(audit)
    assert result.outcome.commit == repository.head
    files = repository.files()
    assert json.loads(files[place_of(audit)]) == audit
    assert files["audits/other/quick-all-1.json"] == b"{}"
    assert place_of(audit).startswith("audits/acme--tiny-coder/quick-test-")
    # The same measurement again replaces itself, whatever its score.
    Submission(DATASET).send(audit | {"seconds": 1.0})
    assert set(repository.files()) == set(files)
    Submission(DATASET).send(audit | {"patch": "ab" * 32})
    assert len(repository.files()) == len(files) + 1


def test_every_way_of_asking_has_a_place_of_its_own():
    backend = {"name": "lm-eval", "model": "vllm", "arguments": {}, "version": "1", "missing": []}
    ways = {
        "plain": made.audit(COMMIT, chat=None),
        "chat": made.audit(COMMIT, chat={"request": "", "opening": ""}),
        "served": made.audit(COMMIT, backend=backend),
        "otherwise": made.audit(COMMIT, backend=backend | {"arguments": {"dtype": "float16"}}),
    }
    assert len({place_of(audit) for audit in ways.values()}) == len(ways)
    assert place_of(ways["plain"]) == place_of(made.audit(COMMIT))
    first = made.audit(COMMIT, prompts_digest="00" * 32)  # as the first version named it
    assert place_of(first) == "audits/acme--tiny-coder/quick-test-9d341b9017c6.json"
    assert place_of(made.audit(COMMIT, backend=backend | {"version": "2"})) == place_of(
        ways["served"]
    )


def test_a_stranger_opens_a_pull_request(repository, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", BOB_TOKEN)
    head = repository.head
    assert Submission(DATASET).send(made.audit(COMMIT)).outcome.pr_url
    assert repository.head == head
    assert place_of(made.audit(COMMIT)) in repository.files("refs/pr/1")


def test_paths_of_this_machine_stay_here(repository):
    audit = made.audit(None)
    audit["model"]["id"] = "/home/ada/models/coder"
    Submission(DATASET).send(audit)
    assert all(b"/home/ada" not in data for data in repository.files().values())
    assert any(path.startswith("audits/coder/") for path in repository.files())


def test_what_is_not_comparable_or_has_no_place_is_refused(repository, hub_client):
    with pytest.raises(BiasEditError, match="cannot be submitted: it is not of all prompts"):
        Submission(DATASET).send(made.audit(COMMIT, prompts_digest="00" * 32))
    with pytest.raises(BiasEditError, match="hf repos create acme/none --repo-type dataset"):
        Submission("acme/none")


def test_the_command_asks_first_and_submits_last(repository, tmp_path):
    model = str(save(tmp_path / "model", tiny_model("llama")))
    call = ["audit", model, "--split", "test_modifiers", "--submit"]
    done = CliRunner().invoke(app, [*call, "acme/none"])
    assert "does not exist" in str(done.exception)
    assert CliRunner().invoke(app, [*call, DATASET, "--limit", "5"]).exception.exit_code == 2
    before = set(repository.files())
    done = CliRunner().invoke(app, [*call, DATASET, "--json"])
    assert done.exit_code == 0, done.exception
    (path,) = set(repository.files()) - before
    assert path.startswith("audits/model/quick-test_modifiers-")
    assert json.loads(repository.files()[path])["fb_score"] == json.loads(done.stdout)["fb_score"]


def test_names_cannot_leave_the_folder():
    audit = made.audit(COMMIT)
    audit["model"]["id"] = "../../etc/passwd"
    assert place_of(audit).startswith("audits/etc--passwd/")
