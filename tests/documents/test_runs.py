import pytest

from hfbiasedit.documents import runs
from hfbiasedit.errors import BiasEditError
from hfbiasedit.files import write_json


def _make(path):
    for name in (runs.AUDIT_BEFORE, runs.AUDIT_AFTER, runs.EDIT):
        write_json(path / name, {"file": name})
    (path / runs.PATCH).write_bytes(b"")
    return path


def test_a_run_reads_its_documents(tmp_path):
    run = runs.Run.open(_make(tmp_path))
    assert run.edit == {"file": "edit.json"}
    assert run.audit_before == {"file": "audit.before.json"}
    assert run.audit_after == {"file": "audit.after.json"}
    assert run.ability is None
    assert run.figures == []
    write_json(tmp_path / runs.ABILITY, {"n": 1})
    assert run.ability == {"n": 1}


def test_open_says_what_is_missing(tmp_path):
    with pytest.raises(BiasEditError, match="not a directory"):
        runs.Run.open(tmp_path / "nowhere")
    _make(tmp_path)
    (tmp_path / runs.EDIT).unlink()
    with pytest.raises(BiasEditError, match=r"edit\.json missing"):
        runs.Run.open(tmp_path)
    assert not runs.is_run(tmp_path)


def test_a_document_that_is_no_object_is_named(tmp_path):
    write_json(_make(tmp_path) / runs.EDIT, [1])
    with pytest.raises(BiasEditError, match=r"edit\.json"):
        _ = runs.Run.open(tmp_path).edit
