import json

import pytest

from hfbiasedit.documents import runs
from hfbiasedit.errors import BiasEditError
from hfbiasedit.files import write_json
from tests.reports import fixtures


@pytest.fixture
def made():
    return fixtures.documents(12)


def test_a_run_reads_its_documents(tmp_path, made):
    path = fixtures.write_run(tmp_path / "run", made)
    run = runs.Run.open(path)
    assert run.edit == made["edit"]
    assert (run.audit_before, run.audit_after) == (made["before"], made["after"])
    assert run.ability == made["ability"]
    assert run.figures == []
    (path / runs.ABILITY).unlink()
    assert run.ability is None


def test_open_says_what_is_missing(tmp_path, made):
    with pytest.raises(BiasEditError, match="not a directory"):
        runs.Run.open(tmp_path / "nowhere")
    path = fixtures.write_run(tmp_path / "run", made)
    (path / runs.EDIT).unlink()
    with pytest.raises(BiasEditError, match=r"edit\.json missing"):
        runs.Run.open(path)
    assert not runs.is_run(path)


@pytest.mark.parametrize("content", [[1], {}, {"schema": "hfbiasedit.audit/1"}])
def test_a_document_of_another_kind_is_named(tmp_path, made, content):
    path = fixtures.write_run(tmp_path / "run", made)
    write_json(path / runs.EDIT, content)
    with pytest.raises(BiasEditError, match=r"edit\.json is not the document of an edit"):
        _ = runs.Run.open(path).edit


def test_the_first_wrong_place_is_named(tmp_path, made):
    path = fixtures.write_run(tmp_path / "run", made)
    made["edit"]["splits"]["test"]["fb_before"] = "high"
    write_json(path / runs.EDIT, made["edit"])
    words = r"edit\.json is damaged: splits\.test\.fb_before should be a number and is 'high'$"
    with pytest.raises(BiasEditError, match=words):
        _ = runs.Run.open(path).edit


def test_another_version_is_said(tmp_path, made):
    path = fixtures.write_run(tmp_path / "run", made)
    made["ability"]["schema"] = "hfbiasedit.ability/2"
    write_json(path / runs.ABILITY, made["ability"])
    with pytest.raises(BiasEditError, match=r"another version \(hfbiasedit\.ability/2\)"):
        _ = runs.Run.open(path).ability


def test_numbers_that_are_not_finite_are_damage(tmp_path, made):
    path = fixtures.write_run(tmp_path / "run", made)
    made["edit"]["kl"]["mean"] = float("nan")
    (path / runs.EDIT).write_text(json.dumps(made["edit"]))
    with pytest.raises(BiasEditError, match=r"kl\.mean should be a number and is nan"):
        _ = runs.Run.open(path).edit
