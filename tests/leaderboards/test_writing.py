"""The page, the Parquet file, the Space and the dataset."""

from __future__ import annotations

import json
import re

import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from hfbiasedit.cli.app import app
from hfbiasedit.errors import BiasEditError, UsageError
from hfbiasedit.leaderboards.writing import leaderboard, push_leaderboard
from tests.hub_server.fixtures import hub, hub_client, short_waits  # noqa: F401
from tests.hub_server.yaml_check import front_matter
from tests.leaderboards import made

HOSTILE = "<img src=x onerror=alert(1)>"
SPACE = "alice/board"


@pytest.fixture
def audits(tmp_path):
    folder = tmp_path / "audits"
    for number, name in enumerate(("acme/a", "acme/b", HOSTILE)):
        audit = made.audit(name, 0.1 + number / 20)
        audit["by_group"][0]["group"] = HOSTILE
        audit["model"]["parameters"] *= number + 1
        ability = made.ability(audit, 1.6 + number / 10, number / 10)
        made.write(folder / str(number), audit, ability)
    parity = made.audit("acme/p", dataset=made.audit("x")["dataset"] | {"reference": "parity"})
    made.write(folder / "p", parity)
    return folder


def test_the_page_needs_nothing_and_lets_nothing_in(audits, tmp_path):
    board = leaderboard([audits], out=tmp_path / "board", title="A & B")
    assert {p.name for p in (tmp_path / "board").iterdir()} == {"index.html", "leaderboard.parquet"}
    page = (tmp_path / "board" / "index.html").read_text()
    assert "<title>A &amp; B</title>" in page
    assert HOSTILE not in page
    assert "&lt;img src=x" in page
    assert "default-src 'none'" in page
    assert "style=" not in re.sub(r"<style>.*?</style>|<script>.*?</script>", "", page, flags=re.S)
    assert not re.search(r"\b(None|nan|Undefined)\b", page)
    for row in board["rows"]:
        assert f"{row['fb_score']:.1f}" in page
    assert "against the reference parity instead of bls-2022" in page
    assert "not clear" not in re.sub(r"<p class.*?</p>", "", page, flags=re.S)
    assert page.count("<circle") == 3 * 3  # bits per byte, HumanEval, size


def test_the_parquet_file_holds_every_number(audits, tmp_path):
    board = leaderboard([audits], out=tmp_path / "board")
    rows = pyarrow.parquet.read_table(tmp_path / "board" / "leaderboard.parquet").to_pylist()
    assert [row["rank"] for row in rows] == [1, 2, 3, None]
    assert [row["comparable"] for row in rows] == [True, True, True, False]
    for row, wanted in zip(rows, board["rows"], strict=True):
        assert row["fb_score"] == wanted["fb_score"]
        assert [row["fb_low"], row["fb_high"]] == wanted["ci95"]
        assert row["bits_per_byte"] == wanted["ability"]["bits_per_byte"]
        assert row["coin"] == wanted["coin"]["difference"]
        assert row["parameters"] == wanted["model"]["parameters"]
        for key in ("by_group", "by_surface", "by_language"):
            names = [part["name"] for part in wanted[key]]
            assert [part["name"] for part in row[key]] == names != []
    assert rows[0]["ahead"] == board["rows"][0]["ahead"]["difference"]
    assert rows[0]["ahead_clear"] is True


def test_other_peoples_directories_are_left_alone(audits, tmp_path):
    leaderboard([audits], out=tmp_path / "board")
    leaderboard([audits], out=tmp_path / "board")
    (tmp_path / "board" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="more than a leaderboard .notes.txt"):
        leaderboard([audits], out=tmp_path / "board")


def test_a_space_in_one_commit(hub_client, audits):  # noqa: F811
    board = leaderboard([audits], title="Board")
    push_leaderboard(board, SPACE, private=True)
    repository = hub_client.repo(SPACE, "space")
    assert repository.private
    files = repository.files()
    assert {"index.html", "leaderboard.parquet", "README.md"} <= set(files)
    header = front_matter(files["README.md"].decode())
    assert (header["sdk"], header["title"], header["app_file"]) == ("static", "Board", "index.html")
    head = repository.head
    assert not push_leaderboard(board, SPACE).changed
    assert repository.head == head
    assert push_leaderboard(leaderboard([audits], title="New"), SPACE).changed


def test_a_space_of_something_else_stays(hub_client, audits):  # noqa: F811
    hub_client.create_repo(SPACE, {"app.py": b"mine"}, kind="space")
    with pytest.raises(BiasEditError, match="did not write"):
        push_leaderboard(leaderboard([audits]), SPACE)
    assert hub_client.repo(SPACE, "space").files()["app.py"] == b"mine"


def test_a_dataset_of_audits_becomes_a_board(hub_client, audits, tmp_path):  # noqa: F811
    files = {
        f"audits/m{number}/quick.json": (audits / number / "audit.json").read_bytes()
        for number in ("0", "1", "p")
    }
    hub_client.create_repo("acme/audits", {"README.md": b"# Audits", **files}, kind="dataset")
    done = CliRunner().invoke(
        app, ["leaderboard", "acme/audits", "--out", str(tmp_path / "board"), "--json"]
    )
    assert done.exit_code == 0, done.exception
    board = json.loads(done.stdout)
    assert [row["name"] for row in board["rows"]] == ["acme/a", "acme/b", "acme/p"]
    hub_client.create_repo("acme/empty", {"README.md": b"#"}, kind="dataset")
    with pytest.raises(BiasEditError, match="holds no audits/"):
        leaderboard(["acme/empty"])
    hub_client.create_repo("acme/bad", {"audits/a.json": b"{}"}, kind="dataset")
    with pytest.raises(BiasEditError, match="is not an audit report"):
        leaderboard(["acme/bad"])


def test_the_command_shows_the_order_and_publishes(hub_client, audits, tmp_path):  # noqa: F811
    out = ["--out", str(tmp_path / "board")]
    done = CliRunner().invoke(app, ["leaderboard", str(audits), *out, "--push", SPACE, "--dry-run"])
    assert done.exit_code == 0, done.exception
    assert "instead of bls-2022" in done.stdout
    assert "leaderboard.parquet" in done.stdout
    assert ("space", SPACE) not in hub_client.repositories
    done = CliRunner().invoke(app, ["leaderboard", str(audits), *out, "--push", SPACE])
    assert "/alice/board/commit/" in done.stdout
    assert (
        CliRunner().invoke(app, ["leaderboard", str(audits), *out, "--private"]).exception.exit_code
        == 2
    )
