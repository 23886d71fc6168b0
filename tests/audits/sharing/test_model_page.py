"""An audit on the page of its model, on the local Hub with the real client."""

from __future__ import annotations

import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries
from typer.testing import CliRunner

from hfbiasedit.audits.sharing.model_page import push_audit
from hfbiasedit.cards.audit_section import BEGIN, END
from hfbiasedit.cli.app import app
from hfbiasedit.errors import BiasEditError
from tests.audits.sharing import made
from tests.hub_server import ALICE_READ_TOKEN, BOB_TOKEN
from tests.reports import fixtures

CARD = b"---\r\nlicense: mit\r\n---\r\n# Tiny coder\r\n\r\nMy words.  \r\n"
FILES = {"README.md": CARD, "model.safetensors": b"weights", "config.json": b"{}"}
ENTRY = ".eval_results/codegenbias.yaml"


@pytest.fixture
def repository(hub_client):
    return hub_client.create_repo(made.MODEL, FILES)


def written(tmp_path, document):
    return fixtures.write_audit(tmp_path / "audit", document)


def test_section_and_evaluation_file_in_one_commit_and_the_rest_untouched(repository, tmp_path):
    audit = made.audit(repository.head)
    directory, before = written(tmp_path, audit), repository.head
    result = push_audit(directory, made.MODEL)
    assert result.outcome.pr_url is None
    assert [c.title for c in repository.history("main")][1:] == ["add files", "initial commit"]
    files = repository.files()
    assert {path: files[path] for path in FILES if path != "README.md"} == {
        path: data for path, data in FILES.items() if path != "README.md"
    }
    card = files["README.md"]
    assert card.startswith(CARD + b"\r\n" + BEGIN.encode())
    assert b"\n" not in card.replace(b"\r\n", b"")
    assert f"**{audit['fb_score']:.1f}**" in card.decode()
    assert before in card.decode()
    assert ModelCard(card.decode()).data.license == "mit"
    (entry,) = parse_eval_result_entries(yaml.safe_load(files[ENTRY]))
    assert entry.value == pytest.approx(audit["fb_score"], abs=1e-3)
    assert (entry.dataset_id, entry.task_id) == ("hfbiasedit/codegenbias", "quick")
    assert before[:12] in entry.notes


def test_a_later_audit_replaces_its_section_and_its_entry_only(repository, tmp_path):
    push_audit(written(tmp_path, made.audit(repository.head)), made.MODEL)
    card = repository.files()["README.md"] + b"\r\nMore words.\r\n"
    other = {"dataset": {"id": "cais/hle", "task_id": "default"}, "value": 20.9}
    known = yaml.safe_load(repository.files()[ENTRY])
    repository.write({"README.md": card, ENTRY: yaml.safe_dump([other, *known]).encode()})
    directory = written(tmp_path / "later", made.audit(repository.head, fb_score=31.25))
    push_audit(directory, made.MODEL)
    text = repository.files()["README.md"].decode()
    assert text.startswith(CARD.decode())
    assert text.endswith(f"{END}\r\n\r\nMore words.\r\n")
    assert text.count(BEGIN) == text.count(END) == 1
    assert "**31.2**" in text
    rows = yaml.safe_load(repository.files()[ENTRY])
    assert rows[0] == other
    assert [row["value"] for row in rows] == [20.9, 31.25]
    head = repository.head
    assert not push_audit(directory, made.MODEL).changed
    assert repository.head == head


def test_where_one_may_not_write_it_is_a_pull_request_and_only_one(
    repository, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("HF_TOKEN", BOB_TOKEN)
    head = repository.head
    directory = written(tmp_path, made.audit(head))
    result = push_audit(directory, made.MODEL)
    assert "becomes a pull request" in capsys.readouterr().err
    assert result.outcome.pr_url
    assert repository.head == head
    assert ENTRY in repository.files("refs/pr/1")
    assert push_audit(directory, made.MODEL).outcome.pr_url == result.outcome.pr_url
    assert len(repository.discussions) == 1


def test_a_repository_without_a_card_gets_one(hub_client, tmp_path):
    repository = hub_client.create_repo(made.MODEL, {"config.json": b"{}"})
    push_audit(written(tmp_path, made.audit(repository.head)), made.MODEL)
    assert repository.files()["README.md"].decode().startswith(BEGIN)


def test_what_is_not_of_this_model_is_refused(repository, tmp_path, hub_client):
    head = repository.head
    cases = {
        "(a local directory), not of": made.audit(None),
        "hfbiasedit push": made.audit(head, patch="ab" * 32),
        "is of acme/other, not of": made.audit(head)
        | {"model": made.audit(head)["model"] | {"id": "acme/other"}},
    }
    for number, (words, document) in enumerate(cases.items()):
        with pytest.raises(BiasEditError) as refusal:
            push_audit(written(tmp_path / str(number), document), made.MODEL)
        assert words in str(refusal.value)
    measured = written(tmp_path, made.audit(head))
    repository.write({"notes.md": b"new words"})
    push_audit(measured, made.MODEL, dry_run=True)  # other files may change
    repository.write({"model.safetensors": b"new weights"})
    with pytest.raises(BiasEditError, match="has changed since commit"):
        push_audit(measured, made.MODEL)
    with pytest.raises(BiasEditError, match="does not exist"):
        push_audit(measured, "acme/nothing")
    assert repository.files()["README.md"] == CARD


def test_own_prompts_give_a_section_and_no_evaluation_file(repository, tmp_path, capsys):
    document = made.audit(repository.head, prompts_digest="00" * 32)
    push_audit(written(tmp_path, document), made.MODEL)
    assert ENTRY not in repository.files()
    assert BEGIN in repository.files()["README.md"].decode()
    assert "not of all prompts of quick/test" in capsys.readouterr().err


def test_an_unusual_measurement_says_so_in_both_places(repository, tmp_path):
    backend = {"name": "lm-eval", "model": "vllm", "missing": []}
    audit = made.audit(repository.head, chat={"request": "", "opening": ""}, backend=backend)
    push_audit(written(tmp_path, audit), made.MODEL)
    (entry,) = yaml.safe_load(repository.files()[ENTRY])
    for text in (entry["notes"], repository.files()["README.md"].decode()):
        assert f"{audit['model']['dtype']}, through the chat template, lm-eval vllm" in text


def test_markers_that_somebody_broke_are_left_alone(repository, tmp_path):
    repository.write({"README.md": CARD + BEGIN.encode()})
    with pytest.raises(BiasEditError, match="once each"):
        push_audit(written(tmp_path, made.audit(repository.head)), made.MODEL)
    for broken, words in ((b"\xff", "no UTF-8"), (b"a: 1", "no list of results")):
        repository.write({"README.md": CARD, ENTRY: broken})
        with pytest.raises(BiasEditError, match=words):
            push_audit(written(tmp_path, made.audit(repository.head)), made.MODEL)


def test_the_command_prints_the_section_or_publishes_it(repository, tmp_path, monkeypatch):
    directory = written(tmp_path, made.audit(repository.head))
    done = CliRunner().invoke(app, ["card", str(directory)])
    assert done.exit_code == 0
    assert done.stdout.startswith(BEGIN)
    assert done.stdout.endswith(END + "\n")
    assert f"hfbiasedit audit {made.MODEL} --config quick --split test" in done.stdout
    done = CliRunner().invoke(app, ["card", str(directory), "--push", made.MODEL, "--dry-run"])
    assert "README.md" in done.stdout
    assert BEGIN not in repository.files()["README.md"].decode()
    done = CliRunner().invoke(app, ["card", str(directory), "--push", made.MODEL])
    assert "/commit/" in done.stdout
    assert f"{made.MODEL} now holds {len(repository.files())} files (" in done.stderr
    run = fixtures.write_run(tmp_path / "run", fixtures.documents(12))
    assert (
        CliRunner().invoke(app, ["card", str(run), "--push", made.MODEL]).exception.exit_code == 2
    )
    template = tmp_path / "own.md"
    template.write_text("x")
    done = CliRunner().invoke(app, ["card", str(directory), "--template", str(template)])
    assert done.exception.exit_code == 2
    monkeypatch.setenv("HF_TOKEN", ALICE_READ_TOKEN)
    with pytest.raises(BiasEditError, match="can only read"):
        push_audit(directory, made.MODEL)
