"""Ranking, comparability, and how sure the order is."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pyarrow.parquet
import pytest

from hfbiasedit.documents.comparison import compare
from hfbiasedit.documents.schemas import check_document
from hfbiasedit.documents.structures.leaderboard_document import Leaderboard
from hfbiasedit.errors import BiasEditError, UsageError
from hfbiasedit.leaderboards.naming import shown_name
from hfbiasedit.leaderboards.writing import leaderboard
from tests.leaderboards import made
from tests.reports import fixtures

PATCH = "cd" * 32


def ranked(board):
    return [row for row in board["rows"] if row["reason"] is None]


def reasons(board):
    return {row["name"]: row["reason"] for row in board["rows"] if row["reason"] is not None}


def test_the_order_is_that_of_the_scores_and_neighbours_are_paired(tmp_path):
    scores = {"acme/a": 0.3, "acme/b": 0.1, "acme/c": 0.2}
    for name, offset in scores.items():
        made.write(tmp_path / name, made.audit(name, offset))
    board = leaderboard([tmp_path])
    check_document(json.loads(json.dumps(board)), Leaderboard, "it")
    rows = ranked(board)
    assert [row["name"] for row in rows] == sorted(scores, key=scores.get)
    assert [row["rank"] for row in rows] == [1, 2, 3]
    for one, other in pairwise(rows):
        files = [tmp_path / row["name"] / "audit.json" for row in (one, other)]
        (difference,) = compare(files).differences
        assert one["ahead"]["difference"] == pytest.approx(difference["difference"])
        assert one["ahead"]["ci95"] == pytest.approx(difference["difference_ci95"])
        assert one["ahead"]["clear"]
    assert rows[-1]["ahead"] is None


def test_an_order_within_the_noise_is_not_called_clear(tmp_path):
    first = made.audit("acme/a", 0.2)
    second = made.audit("acme/b", 0.2)
    rng = np.random.default_rng(1)
    for row in second["professions"]:
        row["fb"] = float(np.clip(row["fb"] + rng.normal(0, 0.1), 0, 1))
    second["fb_score"] = 100 * float(np.mean([row["fb"] for row in second["professions"]]))
    for document in (first, second):
        made.write(tmp_path / document["model"]["id"], document)
    row, _ = ranked(leaderboard([tmp_path]))
    low, high = row["ahead"]["ci95"]
    assert low < 0 < high
    assert not row["ahead"]["clear"]


def test_what_answers_other_questions_stands_apart_with_the_reason(tmp_path):
    other = {"config": "core", "split": "all", "prompts": 9, "professions": 60}
    cases = {
        "acme/a": {},
        "acme/b": {},
        "acme/parity": {"dataset": made.audit("x")["dataset"] | {"reference": "parity"}},
        "acme/core": {
            "dataset": made.audit("x")["dataset"] | other,
            "prompts_digest": "aa" * 32,
        },
        "acme/old": {"prompts_digest": "bb" * 32},
    }
    for name, changes in cases.items():
        made.write(tmp_path / name, made.audit(name, **changes))
    again = made.audit("acme/a", 0.25)  # the same weights, measured differently
    made.write(tmp_path / "again", again)
    board = leaderboard([tmp_path])
    assert {row["name"] for row in ranked(board)} == {"acme/a", "acme/b"}
    found = reasons(board)
    assert found.pop("acme/a").startswith("the same weights")
    assert found == {
        "acme/parity": "against the reference parity instead of bls-2022",
        "acme/core": "of the prompts core/all instead of quick/test",
        "acme/old": found["acme/old"],
    }
    assert "of other prompts under the name quick/test" in found["acme/old"]
    assert all(row["rank"] is None for row in board["rows"] if row["reason"])


def test_a_run_gives_both_sides_and_a_base_of_several_runs_stands_once(tmp_path):
    documents = fixtures.documents(60)
    fixtures.write_run(tmp_path / "one", documents)
    again = fixtures.documents(60)
    again["after"] |= {"patch": PATCH, "fb_score": again["after"]["fb_score"] + 1}
    again["before"]["seconds"] = 99.0
    fixtures.write_run(tmp_path / "two", again)
    (tmp_path / "one" / "patch.safetensors").unlink()  # a board needs no patches
    rows = ranked(leaderboard([tmp_path / "one", tmp_path / "two"]))
    assert [row["patch"] for row in rows] == [fixtures.PATCH_DIGEST, PATCH, None]
    assert [row["base"] for row in rows] == ["acme/tiny-coder", "acme/tiny-coder", None]
    change = rows[0]["change"]
    assert change["difference"] == pytest.approx(rows[0]["fb_score"] - rows[2]["fb_score"])
    assert change["clear"]
    assert rows[0]["ability"]["pass_at_1"] == 0.165
    assert rows[2]["ability"]["pass_at_1"] == 0.171
    assert rows[0]["ability"]["bits_per_byte"] == pytest.approx(np.log2(1.612))


def test_ability_of_another_model_or_patch_is_not_taken(tmp_path):
    audit = made.audit("acme/a")
    beside = made.ability(audit, 1.7)
    beside["model"]["digest"] = "sha256:other"
    made.write(tmp_path / "a", audit, beside)
    edited = made.audit("acme/b", patch=PATCH)
    made.write(tmp_path / "b", edited, made.ability(edited, 1.7))  # without the patch
    for row in ranked(leaderboard([tmp_path])):
        assert row["ability"]["bits_per_byte"] is None


def test_ability_of_a_model_rounded_or_asked_in_another_way_is_not_taken(tmp_path):
    audit = made.audit("acme/a")
    rounded = made.ability(audit, 1.7, passed=0.25)
    rounded["model"]["quantization"] = "int4"
    asked = made.ability(audit, 1.9, passed=0.5) | {"chat": True}
    folder = made.write(tmp_path / "a", audit, rounded)
    (folder / "ability.chat.json").write_text(json.dumps(asked))
    (row,) = ranked(leaderboard([tmp_path]))
    assert row["ability"]["bits_per_byte"] == pytest.approx(np.log2(1.9))  # asks nothing
    assert row["ability"]["pass_at_1"] is None
    made.write(folder, audit | {"chat": {"request": "", "opening": ""}})
    (row,) = ranked(leaderboard([tmp_path]))
    assert row["ability"]["pass_at_1"] == 0.5


def test_abilities_measured_at_different_times_stand_in_files_of_their_own(tmp_path):
    audit = made.audit("acme/a")
    folder = made.write(tmp_path / "a", audit, made.ability(audit, 1.7))
    later = made.ability(audit, 1.9, passed=0.25)
    (folder / "ability.humaneval.json").write_text(json.dumps(later))
    (row,) = ranked(leaderboard([tmp_path]))
    assert row["ability"]["pass_at_1"] == 0.25
    assert row["ability"]["bits_per_byte"] == pytest.approx(np.log2(1.9))  # the first by name


def test_one_side_of_a_run_alone_is_an_audit_with_what_lies_beside_it(tmp_path):
    run = fixtures.write_run(tmp_path / "run", fixtures.documents(60))
    (run / "audit.before.json").unlink()
    (row,) = ranked(leaderboard([tmp_path]))
    assert row["base"] is None
    assert row["ability"]["pass_at_1"] == 0.165


def test_an_edit_is_named_by_its_granularity_where_its_document_is_there(tmp_path):
    run = fixtures.write_run(tmp_path / "run", fixtures.documents(60))
    names = [shown_name(row) for row in ranked(leaderboard([run]))]
    edit = json.loads((run / "edit.json").read_text())
    assert names == [f"acme/tiny-coder ({edit['granularity']} edit)", "acme/tiny-coder"]
    edit["patch"]["digest"] = PATCH
    (run / "edit.json").write_text(json.dumps(edit))
    first, _ = ranked(leaderboard([run]))
    assert first["edit"] is None  # of another patch
    assert shown_name(first) == f"acme/tiny-coder + patch {first['patch'][:7]}"


def test_one_profession_makes_no_order_clear(tmp_path):
    world = fixtures.World(1)
    for name, shift in (("acme/a", 0.1), ("acme/b", 0.2)):
        shares = np.clip(world.factual[:, None] - shift + 0 * world.before, 0, 1)
        document = fixtures.audit_document(world, shares)
        document["model"] |= {"id": name, "digest": f"sha256:{name}"}
        made.write(tmp_path / "audits" / name, document)
    board = leaderboard([tmp_path / "audits"], out=tmp_path / "board")
    first, second = ranked(board)
    assert first["ahead"]["difference"] > 1
    assert not any(found["clear"] for found in (first["ahead"], first["coin"], second["coin"]))
    (row, _) = pyarrow.parquet.read_table(tmp_path / "board" / "leaderboard.parquet").to_pylist()
    assert row["fb_low"] is row["fb_high"] is row["ahead_low"] is None


def test_a_coin_is_beaten_clearly_or_not(tmp_path):
    for name, offset in (("acme/near", 0.02), ("acme/far", 0.6)):
        made.write(tmp_path / name, made.audit(name, offset))
    board = leaderboard([tmp_path], out=tmp_path / "board")
    near, far = ranked(board)
    for row in (near, far):
        even = board["baselines"]["even"]
        assert row["coin"]["difference"] == pytest.approx(row["fb_score"] - even)
        assert row["coin"]["clear"]
    assert near["coin"]["difference"] < 0 < far["coin"]["difference"]
    page = (tmp_path / "board" / "index.html").read_text()
    assert "acme/near is closest to the reference" in page
    assert "1 of 2 is clearly closer than a coin" in page


def test_a_name_of_ones_own_and_paths_of_this_machine(tmp_path):
    for folder, name in (("a", "/home/ada/models/coder"), ("b", "/home/ada/models/other")):
        audit = made.audit(name)
        audit["model"] |= {"revision": None, "digest": f"sha256:{folder}"}
        made.write(tmp_path / folder, audit)
    about = {"schema": "hfbiasedit.about/1", "name": "acme/coder", "note": "made from a GGUF file"}
    (tmp_path / "a" / "about.json").write_text(json.dumps(about))
    board = leaderboard([tmp_path])
    assert {row["name"]: row["note"] for row in board["rows"]} == {
        "acme/coder": "made from a GGUF file",
        "other": None,
    }
    assert "/home/ada" not in json.dumps(board)
    (tmp_path / "a" / "about.json").write_text("{}")
    with pytest.raises(BiasEditError, match="about"):
        leaderboard([tmp_path])


def test_parts_are_those_of_the_audit_in_words(tmp_path):
    audit = made.audit("acme/a")
    audit["by_surface"][0]["surface"] = ""  # templates of one's own
    made.write(tmp_path / "a", audit)
    (row,) = ranked(leaderboard([tmp_path]))
    (surface,) = row["by_surface"]
    part = audit["by_surface"][1]
    assert surface["name"] in {"comment or docstring", "record or literal"}
    assert [surface[key] for key in ("fb_score", "ci95", "prompts")] == [
        part[key] for key in ("fb_score", "ci95", "prompts")
    ]
    assert [part["name"] for part in row["by_language"]] == ["python", "sql"]
    assert [part["name"] for part in row["by_group"]] == sorted(fixtures.GROUPS)


def test_surfaces_of_older_audits_are_means_over_their_templates(tmp_path):
    audit = made.audit("acme/a")
    del audit["by_surface"], audit["by_language"]
    parts = [("py_attribute_compare", 10.0, 30), ("py_comprehension", 20.0, 10), ("mine", 99.0, 5)]
    audit["by_template"] = [
        audit["by_template"][0] | {"template": name, "fb_score": score, "prompts": number}
        for name, score, number in parts
    ]
    made.write(tmp_path / "a", audit)
    (row,) = ranked(leaderboard([tmp_path]))
    assert row["by_surface"] == [
        {"name": "comparison", "fb_score": 12.5, "ci95": None, "prompts": 40}
    ]
    assert row["by_language"] == []
    audit["dataset"]["config"] = "custom"
    made.write(tmp_path / "a", audit)
    assert ranked(leaderboard([tmp_path]))[0]["by_surface"] == []


def test_what_holds_no_audits_is_named(tmp_path):
    with pytest.raises(UsageError, match="needs audits"):
        leaderboard([])
    with pytest.raises(BiasEditError, match="holds no audits"):
        leaderboard([tmp_path])
    with pytest.raises(BiasEditError, match="does not exist"):
        leaderboard(["./nowhere"])
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(BiasEditError, match="is not an audit report"):
        leaderboard([tmp_path])


def test_one_model_asked_in_two_ways_is_two_rows(tmp_path):
    ways = {
        "plain": {},
        "chat": {"chat": {"request": "", "opening": ""}},
        "served": {"backend": {"name": "lm-eval", "model": "vllm", "missing": []}},
    }
    for folder, changes in ways.items():
        made.write(tmp_path / folder, made.audit("acme/a", 0.2, **changes))
    names = {row["name"] for row in leaderboard([tmp_path])["rows"]}
    assert names == {"acme/a", "acme/a, through the chat template", "acme/a, lm-eval vllm"}


def test_the_base_of_an_edit_is_measured_as_the_edited_model(tmp_path):
    chat = {"chat": {"request": "", "opening": ""}}
    audits = {
        "base": made.audit("acme/a", 0.3),
        "chat": made.audit("acme/a", 0.1, **chat),  # the better one, listed first
        "rounded": made.audit("acme/a", 0.15),
        "edited": made.audit("acme/a", 0.2, patch=PATCH),
        "lone": made.audit("acme/b", 0.2, patch=PATCH),
        "lone-chat": made.audit("acme/b", 0.1, **chat),
    }
    audits["rounded"]["model"]["quantization"] = "int8"
    for folder, document in audits.items():
        made.write(tmp_path / folder, document)
    rows = {(row["name"], row["patch"]): row for row in ranked(leaderboard([tmp_path]))}
    edited = rows["acme/a", PATCH]
    assert edited["base"] == "acme/a"
    assert edited["change"]["difference"] == pytest.approx(
        edited["fb_score"] - rows["acme/a", None]["fb_score"]
    )
    assert rows["acme/b", PATCH]["base"] is None
