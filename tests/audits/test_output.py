from __future__ import annotations

import json

import pyarrow.parquet
import pytest

from hfbiasedit import audit
from hfbiasedit.audits.output import check_output
from hfbiasedit.errors import BiasEditError
from tests.scoring.worlds import records, save, write_prompts
from tests.tiny import tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save(tmp_path_factory.mktemp("models") / "model", tiny_model("llama"))


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    return write_prompts(tmp_path_factory.mktemp("prompts") / "prompts.jsonl", records())


def test_writes_report_figures_page_and_records(model, own, tmp_path):
    out = tmp_path / "deep" / "out"
    report = audit(model, prompts=own, out=out, records="parquet")
    assert json.loads((out / "audit.json").read_text("utf-8")) == report.to_dict()
    assert {path.suffix for path in (out / "figures").iterdir()} == {".png", ".svg"}
    assert "<html" in (out / "report.html").read_text("utf-8")
    table = pyarrow.parquet.read_table(out / "records.parquet").to_pydict()
    assert table == report.records
    assert table["id"] == [row.id for row in records()]
    assert not list(out.parent.glob("*partial*"))
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_an_earlier_audit_is_replaced_and_nothing_else(model, own, tmp_path):
    out = tmp_path / "out"
    audit(model, prompts=own, out=out, records="parquet")
    audit(model, prompts=own, out=out, records="jsonl")
    assert {p.name for p in out.iterdir()} == {
        "audit.json",
        "figures",
        "report.html",
        "records.jsonl",
    }
    rows = [json.loads(line) for line in (out / "records.jsonl").read_text("utf-8").splitlines()]
    assert [row["id"] for row in rows] == [row.id for row in records()]
    (out / "notes.txt").write_text("mine")
    with pytest.raises(BiasEditError, match=r"more than an audit \(notes\.txt\)"):
        audit(model, prompts=own, out=out)
    assert (out / "notes.txt").read_text() == "mine"
    with pytest.raises(BiasEditError, match="is a file"):
        check_output(out / "notes.txt")


def test_refused_before_anything_is_loaded(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(BiasEditError, match="something else"):
        audit("org/does-not-exist", out=tmp_path)


def test_records_need_a_known_suffix(model, own, tmp_path):
    report = audit(model, prompts=own)
    with pytest.raises(BiasEditError, match="parquet or .jsonl"):
        report.save_records(tmp_path / "records.csv")
    report.save(tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text("utf-8"))["fb_score"] == report.fb_score
