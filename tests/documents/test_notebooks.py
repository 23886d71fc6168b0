"""What a notebook shows, and how short the plain forms are."""

from __future__ import annotations

import copy
import shutil
from xml.etree import ElementTree

import pytest
import torch

from hfbiasedit.audits.report import AuditReport
from hfbiasedit.documents.comparison import compare
from hfbiasedit.documents.runs import Run
from hfbiasedit.patches.building import Change
from hfbiasedit.patches.patch import Patch
from tests.reports import fixtures
from tests.tiny import tiny_model

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def made():
    return fixtures.documents(60)


def cells(shown):
    """Rows of text; the markup must be well-formed."""
    html = shown._repr_html_()
    assert HOSTILE not in html
    assert len(repr(shown)) < 300
    return [[cell.text or "" for cell in row] for row in ElementTree.fromstring(html).iter("tr")]


def test_a_comparison(made):
    other = copy.deepcopy(made["after"])
    other["model"]["id"] = HOSTILE
    head, first, second = cells(compare([made["before"], other]))
    assert head == ["model", "FB-Score", "difference", "lean"]
    assert first[1].startswith(f"{made['before']['fb_score']:.2f} (")
    assert first[2] == ""
    assert second[2].startswith("−16.")


def test_an_audit(made):
    rows = {row[0]: row[1:] for row in cells(AuditReport(made["before"], None))}
    assert rows["FB-Score"][0] == f"{made['before']['fb_score']:.2f}"
    assert rows["a coin"][0] == "23.10"
    flat = made["before"] | {"amplification": None, "amplification_ci95": None}
    assert "amplification" not in {row[0] for row in cells(AuditReport(flat, None))}


def test_a_run_and_one_that_is_gone(made, tmp_path):
    directory = fixtures.write_run(tmp_path / "run", made)
    run = Run.open(directory)
    rows = cells(run)
    assert len(rows) == 1 + len(made["edit"]["splits"])
    assert rows[1][2] == f"{made['edit']['splits']['edit']['fb_before']:.1f}"
    shutil.rmtree(directory)
    assert "cannot read" in run._repr_html_()


def test_a_patch():
    model = tiny_model("llama", dtype="bfloat16")
    name = "model.layers.1.mlp.down_proj.weight"
    new = dict(model.named_parameters())[name].detach()[[1, 5]] * 1.5 + 0.25
    change = Change("rows", torch.tensor([1, 5]), new.to(torch.bfloat16), 0)
    patch = Patch.from_changes(model, {name: change}, base_model=HOSTILE, granularity="row")
    rows = {row[0]: row[1] for row in cells(patch)}
    assert rows["digest"] == patch.digest
    assert rows["granularity"] == "row"
    assert rows["base model"] == HOSTILE
