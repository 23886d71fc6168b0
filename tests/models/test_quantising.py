"""Weights rounded by torchao against the same arithmetic by hand; what is refused."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from hfbiasedit import audit
from hfbiasedit.errors import BiasEditError, UsageError
from hfbiasedit.models.loading import load_model
from hfbiasedit.models.quantising import METHODS, quantise, rounded_weights
from tests.scoring.worlds import loaded, records, write_prompts
from tests.tiny import save_checkpoint, tiny_model, tiny_tokenizer

STEPS = {"int8": 127.5, "int4": 7.5}  # half the range of the codes: -128 to 127, -8 to 7


def need_torchao():
    pytest.importorskip("torchao", reason="torchao is not installed (the extra `quantize`)")


def by_hand(matrix, name, group):
    """Symmetric rounding to the nearest: one scale per group of a row, codes from -2^(b-1)."""
    half = STEPS[name]
    values = matrix.astype(np.float32).reshape(len(matrix), -1, group or matrix.shape[1])
    scale = np.abs(values).max(-1, keepdims=True) / np.float32(half)
    # The outermost weight lies between two codes: what is multiplied by decides which one it gets.
    codes = np.clip(np.rint(values * (np.float32(1) / scale)), -half - 0.5, half - 0.5)
    return (codes * scale).reshape(matrix.shape)


@pytest.mark.parametrize(
    ("columns", "group"), [(896, 128), (128, 128), (576, 64), (32, 32), (100, None)]
)
def test_the_group_is_the_largest_that_divides_a_row(columns, group):
    assert METHODS["int4"].group(columns) == group
    assert METHODS["int8"].group(columns) is None


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("family", ["llama", "gpt2", "mixtral", "gpt_oss"])
def test_matrices_of_blocks_are_rounded_and_nothing_else(family, name):
    """Linear layers, Conv1D, and stacked experts in both orientations."""
    need_torchao()
    from hfbiasedit.models.architecture import projections

    model = tiny_model(family)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    inside = {item.name: item for item in projections(model)}
    subject = quantise(loaded(model, tiny_tokenizer()), name)
    for key, value in model.state_dict().items():
        if key not in inside:
            assert torch.equal(value, before[key]), key
            continue
        item = inside[key]
        old, new = (item.row_view(tensor).numpy() for tensor in (before[key], value))
        group = METHODS[name].group(item.columns)
        np.testing.assert_allclose(new, by_hand(old, name, group), rtol=1e-5, atol=1e-7)
        assert not np.array_equal(old, new)
    about = subject.describe()
    assert about["quantization"] == name
    assert about["quantized"]["matrices"] == len(inside)
    assert about["quantized"]["weights"] == sum(item.weights for item in inside.values())
    assert sum(about["quantized"]["groups"].values()) == len(inside)


def test_what_weights_would_be_is_what_they_become():
    need_torchao()
    model = loaded(tiny_model("llama", dtype="bfloat16"), tiny_tokenizer())
    names = ["model.layers.1.mlp.up_proj.weight", "model.norm.weight"]
    found = rounded_weights(model, names, "int4")
    assert model.quantization is None
    quantise(model, "int4")
    for name in names:
        assert torch.equal(found[name], model.model.get_parameter(name))


@pytest.fixture
def folders(tmp_path):
    """A checkpoint, and the same one with its matrices rounded by hand."""
    folder = save_checkpoint(tmp_path / "model", dtype="float32", shard_size="1GB")
    other = save_checkpoint(tmp_path / "by-hand", dtype="float32", shard_size="1GB")
    weights = load_file(other / "model.safetensors")
    for name, value in weights.items():
        if "_proj." in name:
            group = 64 if "down" in name else 32  # as wide as the row
            weights[name] = torch.from_numpy(by_hand(value.numpy(), "int4", group))
    save_file(weights, other / "model.safetensors", {"format": "pt"})
    return folder, other, write_prompts(tmp_path / "own.jsonl", records())


def test_an_audit_is_that_of_weights_rounded_by_hand(folders):
    need_torchao()
    folder, other, own = folders
    report = audit(folder, prompts=own, samples=50, quantize="int4")
    plain, by_hand = (audit(path, prompts=own, samples=50) for path in (folder, other))
    assert report.fb_score == pytest.approx(by_hand.fb_score, abs=1e-4)
    assert abs(report.fb_score - plain.fb_score) > 1e-3
    document = report.to_dict()
    assert document["model"]["quantization"] == "int4"
    assert document["model"]["quantized"]["groups"] == {"32": 12, "64": 2}
    assert document["model"]["digest"] == plain.to_dict()["model"]["digest"]
    assert any("quantised to int4" in note and "32 weights in 12" in note for note in report.notes)
    assert ", int4" in report.table()
    assert "quantized" not in plain.to_dict()["model"]


def test_a_partial_result_of_other_weights_is_not_continued(folders, tmp_path):
    need_torchao()
    folder, _, own = folders
    partial = tmp_path / "partial.jsonl"
    options = dict(prompts=own, samples=50, partial=partial, batch_size=8)
    from hfbiasedit.audits import auditor

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hfbiasedit.scoring.exact.Exact.noise", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            auditor.audit(folder, **options)
    assert partial.is_file()
    with pytest.raises(BiasEditError, match="the quantisation changed"):
        audit(folder, resume=True, quantize="int8", **options)


def test_what_was_rounded_is_neither_edited_nor_patched_nor_rounded_again(tmp_path):
    need_torchao()
    from hfbiasedit.models.architecture import refuse_quantised
    from hfbiasedit.patches.building import Change
    from hfbiasedit.patches.patch import Patch

    model = load_model(save_checkpoint(tmp_path / "model"))
    name = "model.layers.0.mlp.up_proj.weight"
    change = Change("rows", torch.tensor([3]), model.model.get_parameter(name)[[3]] * 2)
    patch = Patch.from_changes(model, {name: change})
    quantise(model, "int8")
    with pytest.raises(BiasEditError, match="quantised already"):
        quantise(model, "int4")
    with pytest.raises(BiasEditError, match="apply the patch first"):
        patch.apply_(model)
    with pytest.raises(BiasEditError, match="cannot be edited"):
        refuse_quantised(model.model)
    report = audit(model.model, tokenizer=model.tokenizer, limit=5, samples=20)
    assert report.to_dict()["model"]["quantized"]["method"] == "int8"


def test_without_torchao_one_line_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchao", None)
    with pytest.raises(BiasEditError, match=r"pip install 'hfbiasedit\[quantize\]'"):
        audit(tmp_path / "nothing is looked for", quantize="int4")


def test_wrong_uses_are_refused(tmp_path):
    model = loaded(tiny_model("llama"), tiny_tokenizer())
    with pytest.raises(UsageError, match="unknown quantisation 'int3'"):
        audit(model, quantize="int3")
    with pytest.raises(UsageError, match="loaded already"):
        audit(model, quantize="int4")
    pytest.importorskip("lm_eval")
    with pytest.raises(UsageError, match="let it quantise"):
        audit(tmp_path, backend="lm-eval", backend_args="hf", quantize="int4")


def test_the_command_line_says_nothing_of_torchao_s_own_parts(tmp_path):
    need_torchao()
    folder = save_checkpoint(tmp_path / "model")
    words = ["audit", str(folder), "--limit", "3", "--quantize", "int4", "--json"]
    ran = subprocess.run(
        [sys.executable, "-m", "hfbiasedit", *words], capture_output=True, text=True, check=True
    )
    assert json.loads(ran.stdout)["model"]["quantization"] == "int4"
    assert "torchao/" not in ran.stderr
    assert "pytree" not in ran.stderr
