"""The board that ships as an example is what its audits give."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pyarrow.parquet

from hfbiasedit.leaderboards.naming import shown_name
from hfbiasedit.leaderboards.writing import leaderboard
from tests.reports import fixtures

EXAMPLE = Path(__file__).parents[2] / "examples" / "leaderboard"


def test_the_board_is_made_of_the_audits():
    board = leaderboard([EXAMPLE / "audits"])
    assert all(row["reason"] is None for row in board["rows"])
    kept = pyarrow.parquet.read_table(EXAMPLE / "board" / "leaderboard.parquet").to_pylist()
    assert [(row["name"], row["patch"], row["fb_score"]) for row in kept] == [
        (row["name"], row["patch"], row["fb_score"]) for row in board["rows"]
    ]
    page = (EXAMPLE / "board" / "index.html").read_text()
    for row in board["rows"]:
        assert row["name"] in page
        assert f"<strong>{row['fb_score']:.1f}</strong>" in page


def test_every_model_without_a_commit_says_where_it_came_from():
    rows = leaderboard([EXAMPLE / "audits"])["rows"]
    assert all(row["note"] for row in rows if row["model"]["revision"] is None)
    published = [row for row in rows if "/" in row["name"]]
    assert published
    for row in published:
        assert "GGUF" in row["note"]
        assert "nobody at the publisher" in row["note"]
    assert all("/" not in row["model"]["id"] for row in rows if row["model"]["revision"] is None)


def test_edits_stand_beside_their_bases():
    rows = leaderboard([EXAMPLE / "audits"])["rows"]
    edited = [row for row in rows if row["patch"]]
    assert len(edited) >= 3
    for row in edited:
        assert row["base"] == row["name"]
        assert shown_name(row) == f"{row['name']} ({row['edit']['granularity']} edit)"
        assert row["change"]["difference"] < 0
        assert row["change"]["clear"]


def test_scores_of_parts_have_intervals():
    for row in leaderboard([EXAMPLE / "audits"])["rows"]:
        for key in ("by_group", "by_surface", "by_language"):
            assert row[key]
            assert all(part["ci95"] for part in row[key])


def test_what_is_shared_names_no_folder_and_no_prompts():
    for path in (EXAMPLE / "audits").rglob("*.json"):
        text = path.read_text()
        assert not re.search(r'"[^"]*(^|[" ])(/|~/|[A-Z]:\\\\)\w', text), path
        assert ("audit" not in path.stem) or '"examples"' not in text


def test_collecting_takes_abilities_beside_a_run_and_names_published_models(tmp_path):
    documents = fixtures.documents(30)
    for side in ("before", "after"):
        documents[side]["model"] |= {"id": "/home/ada/models/smollm2-135m", "revision": None}
    measured = tmp_path / "measured"
    run = fixtures.write_run(measured / "one", documents)
    ability = json.loads((run / "ability.json").read_text())
    ability["model"] = documents["before"]["model"]
    problems = {"humaneval": ability.pop("humaneval")}
    (run / "ability.json").unlink()
    (measured / "one.corpus.json").write_text(json.dumps(ability))
    solved = {key: ability[key] for key in ("schema", "version", "model", "patch", "seconds")}
    (measured / "one.humaneval.json").write_text(json.dumps(solved | problems))
    runpy.run_path(str(EXAMPLE / "collect.py"))["collect"](measured, tmp_path / "audits")
    texts = [path.read_text() for path in (tmp_path / "audits").rglob("*.json")]
    assert not any("/home/ada" in text for text in texts)
    for row in leaderboard([tmp_path / "audits"])["rows"]:
        assert row["name"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
        assert "Q4_1" in row["note"]
        assert row["ability"]["pass_at_1"] is not None
        assert row["ability"]["bits_per_byte"] is not None
