"""`edit --check-quantized`: what is reported is what the quantised checkpoints score."""

from __future__ import annotations

import sys

import pytest

from hfbiasedit.audits import auditor
from hfbiasedit.documents import runs
from hfbiasedit.editing.config import EditConfig
from hfbiasedit.editing.editor import edit
from hfbiasedit.editing.judging import outcome
from hfbiasedit.errors import BiasEditError, UsageError
from hfbiasedit.models.loading import load_model
from hfbiasedit.models.quantising import quantise
from hfbiasedit.patches.loading import with_patch
from hfbiasedit.patches.patch import Patch
from tests.editing.test_editor import FAST, anchor, checkpoint, prompts  # noqa: F401


def test_both_models_are_measured_quantised(checkpoint, prompts, anchor, tmp_path):  # noqa: F811
    pytest.importorskip("torchao", reason="torchao is not installed (the extra `quantize`)")
    methods = ("int8", "int4")
    config = EditConfig(
        budget="10%", prompts=prompts, anchor=anchor, check_quantized=methods, **FAST
    )
    run = edit(checkpoint, config, out=tmp_path / "run")
    document = run.edit
    asked = outcome.questions(config).audit
    assert [row["method"] for row in document["quantized"]] == list(methods)
    for row in document["quantized"]:
        base = quantise(load_model(checkpoint), row["method"])
        edited = quantise(with_patch(load_model(checkpoint), run.patch_path), row["method"])
        assert row["fb_before"] == auditor.measure(base, asked).fb_score
        assert row["fb_after"] == auditor.measure(edited, asked).fb_score
        assert row["quantized"] == base.quantized
        assert row["prompts"] == len(asked)
    plain = document["splits"]["test"]
    assert plain["fb_before"] not in [row["fb_before"] for row in document["quantized"]]
    assert "check_quantized" not in Patch.load(run.patch_path).metadata["edit"]["options"]
    said = "held-out, both models quantised to int4"
    assert said in (run.path / runs.CARD).read_text("utf-8")
    assert said in (run.path / runs.REPORT).read_text("utf-8")
    rows = outcome.table(document).columns[0].cells
    assert "test, int8" in list(rows)


def test_what_cannot_be_checked_in_the_end_is_refused_at_the_start(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="unknown quantisation 'int2'"):
        EditConfig(check_quantized=("int2",))
    with pytest.raises(UsageError, match="whole model on one device"):
        EditConfig(check_quantized=("int4",), device_map="auto")
    monkeypatch.setitem(sys.modules, "torchao", None)
    with pytest.raises(BiasEditError, match=r"pip install 'hfbiasedit\[quantize\]'"):
        edit("acme/none", EditConfig(check_quantized=("int4",)), out=tmp_path / "run")
