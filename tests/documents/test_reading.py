from __future__ import annotations

import json

import pytest

from hfbiasedit.documents.reading import open_documents, read_audit
from hfbiasedit.errors import BiasEditError
from tests.reports import fixtures


def test_a_run_has_both_audits_edit_and_ability(tmp_path):
    made = fixtures.documents(20)
    found = open_documents(fixtures.write_run(tmp_path / "run", made))
    assert (found.before, found.after, found.edit, found.ability) == tuple(made.values())
    assert [title for title, _ in found.audits] == ["before", "after"]


def test_an_audit_has_itself_alone(tmp_path):
    audit = fixtures.documents(20)["before"]
    found = open_documents(fixtures.write_audit(tmp_path / "audit", audit))
    assert found.before == audit
    assert (found.after, found.edit, found.ability) == (None, None, None)


def test_what_is_neither_is_refused(tmp_path):
    with pytest.raises(BiasEditError, match="neither a run nor an audit"):
        open_documents(tmp_path)
    path = tmp_path / "audit.json"
    path.write_text("[]")
    with pytest.raises(BiasEditError, match="not an audit report"):
        read_audit(path)
    path.write_text(json.dumps({"schema": "hfbiasedit.audit/1", "model": {}}))
    with pytest.raises(BiasEditError, match=r"audit\.json is damaged: fb_score is missing"):
        read_audit(path)
    path.write_text("{")
    with pytest.raises(BiasEditError, match="not valid JSON"):
        read_audit(path)
