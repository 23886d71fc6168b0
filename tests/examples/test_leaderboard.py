"""The board that ships as an example is what its audits give."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet

from hfbiasedit.leaderboards.writing import leaderboard

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


def test_the_edited_model_stands_beside_its_base():
    rows = leaderboard([EXAMPLE / "audits"])["rows"]
    (edited,) = [row for row in rows if row["name"] == "hfbiasedit demo model" and row["patch"]]
    assert edited["base"] == edited["name"]
    assert edited["change"]["ci95"][1] < 0
    assert json.dumps(edited)
