"""`hfbiasedit push` and Hub ids on the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from hfbiasedit.cli.app import app
from hfbiasedit.errors import UsageError
from hfbiasedit.hub.layout import MANIFEST
from tests.hub_server import ALICE_READ_TOKEN, ALICE_TOKEN
from tests.publishing.runs import BASE, checkpoint_files, make_base, make_run

REPO = "alice/edited"


@pytest.fixture
def run(hub_client, tmp_path):
    return make_run(tmp_path / "run", BASE, make_base(hub_client).head)


def invoke(*arguments):
    return CliRunner().invoke(app, ["push", *map(str, arguments)])


def test_dry_run_push_and_push_again(hub_client, run):
    plan = invoke(run, REPO, "--dry-run")
    assert plan.exit_code == 0
    lines = plan.stdout.splitlines()
    assert any(line.startswith("copy") and f"(from {BASE})" in line for line in lines)
    assert any(line.startswith("upload") and MANIFEST in line for line in lines)
    assert "new repository" in lines[0]
    assert ("model", REPO) not in hub_client.repositories
    done = invoke(run, REPO)
    assert done.exit_code == 0
    assert done.stdout.strip() == f"{hub_client.url}/{REPO}/commit/{hub_client.repo(REPO).head}"
    assert "copied on the Hub" in done.stderr
    files = hub_client.repo(REPO).files()
    assert f"{REPO} now holds {len(files)} files (" in done.stderr
    again = invoke(run, REPO)
    assert again.stdout.strip() == f"{hub_client.url}/{REPO}"
    assert "nothing to commit" in again.stderr


def test_json_is_one_document(hub_client, run):
    result = invoke(run, REPO, "--what", "patch", "--message", "My patch", "--json")
    document = json.loads(result.stdout)
    assert document["repository"] == REPO
    assert document["message"] == "My patch"
    assert document["commit"] == hub_client.repo(REPO).head
    assert {file["action"] for file in document["files"]} == {"upload"}
    assert document["dry_run"] is False
    files = hub_client.repo(REPO).files()
    assert document["held"] == {path: len(content) for path, content in files.items()}


def test_a_pull_request_prints_its_address(hub_client, run):
    hub_client.create_repo("bob/theirs", {"a.txt": b"1"})
    result = invoke(run, "bob/theirs", "--what", "patch", "--create-pr")
    assert result.stdout.strip() == f"{hub_client.url}/bob/theirs/discussions/1"


def test_a_published_patch_applies_to_the_published_base_and_comes_off(hub_client, run, tmp_path):
    assert invoke(run, "alice/model").exit_code == 0
    assert invoke(run, "alice/patch", "--what", "patch").exit_code == 0
    published, original = hub_client.repo("alice/model").files(), checkpoint_files()
    runner, edited, reverted = CliRunner(), tmp_path / "edited", tmp_path / "reverted"
    applied = runner.invoke(app, ["patch", "apply", BASE, "alice/patch", "--out", str(edited)])
    assert applied.exit_code == 0, applied.output
    taken = ["patch", "revert", str(edited), "alice/model", "--out", str(reverted)]
    assert runner.invoke(app, taken).exit_code == 0
    for name in original:
        if name.endswith((".safetensors", ".json")):
            assert (edited / name).read_bytes() == published[name]
            assert (reverted / name).read_bytes() == original[name]


def test_wrong_usage(run):
    refused = invoke(run, REPO, "--what", "everything").exception
    assert isinstance(refused, UsageError)
    assert "use one of model, patch" in str(refused)
    assert invoke().exit_code == 2


def command(hub, home, *arguments, token=ALICE_TOKEN, **variables):
    """Run the program in a process of its own; HF_HOME and the like are read at its start."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    environment |= hub.environment(home, token) | variables
    return subprocess.run(
        [sys.executable, "-m", "hfbiasedit", *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_failures_are_one_line_without_a_token(hub, tmp_path):
    base = make_base(hub)
    run = make_run(tmp_path / "run", BASE, base.head)
    home = tmp_path / "home"
    # What the server says contains the token: the worst case for every message.
    hub.fault("/api/repos/create", status=400, body={"error": f"bad request by {ALICE_TOKEN}"})
    refused = command(hub, home, "push", run, REPO, "--what", "patch")
    read_only = command(hub, home, "push", run, REPO, token=ALICE_READ_TOKEN)
    anonymous = command(hub, home, "push", run, REPO, token=None)
    offline = command(hub, home, "patch", "show", "alice/nothing", HF_HUB_OFFLINE="1")
    debug = command(hub, home, "--debug", "patch", "show", "alice/nothing")
    for result, text in (
        (refused, "the Hub refused (400): bad request by hf_***"),
        (read_only, "your token can only read"),
        (anonymous, "not logged in to"),
        (offline, "offline mode is on"),
        (debug, "alice/nothing is not on"),
    ):
        assert result.returncode == 1, result.stderr
        assert result.stdout == ""
        lines = result.stderr.strip().splitlines()
        assert text in lines[-1]
        if result is not debug:
            assert len(lines) == 1
    for result in (refused, read_only, anonymous, offline, debug):
        everything = result.stdout + result.stderr
        assert ALICE_TOKEN not in everything
        assert ALICE_READ_TOKEN not in everything


def test_no_token_in_anything_that_is_published(hub, tmp_path):
    base = make_base(hub, private=True)
    run = make_run(tmp_path / "run", BASE, base.head)
    for what in ("model", "patch"):
        result = command(hub, tmp_path / "home", "push", run, f"alice/{what}", "--what", what)
        assert result.returncode == 0, result.stderr
        assert ALICE_TOKEN not in result.stdout + result.stderr
    published = [hub.repo(f"alice/{what}") for what in ("model", "patch")]
    stored = [data for repository in published for data in repository.files().values()]
    stored += [c.message.encode() + c.title.encode() for r in published for c in r.commits.values()]
    stored += [p.read_bytes() for p in (tmp_path / "home").rglob("*") if p.is_file()]
    assert not any(ALICE_TOKEN.encode() in data for data in stored)
    assert hub.leaks == []
