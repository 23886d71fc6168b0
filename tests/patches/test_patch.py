"""`Patch` as a value: made from models, applied, scaled, reversed, combined, compared."""

from __future__ import annotations

import copy
import hashlib

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from hfbiasedit.checkpoints.dtypes import bits_of
from hfbiasedit.documents.notebooks import html_table
from hfbiasedit.errors import BiasEditError
from hfbiasedit.patches.building import Change
from hfbiasedit.patches.checkpoint import apply_patch
from hfbiasedit.patches.edits import TensorEdit
from hfbiasedit.patches.patch import Patch
from tests.patches.edits import assert_same_bits, parameters, random_changes, stored_tensors
from tests.patches.small import edit_of, make_checkpoint, sample_edits, save_patch
from tests.tiny import tiny_model

ROW = "model.layers.0.mlp.down_proj.weight"


@pytest.fixture
def model():
    return tiny_model("llama", dtype="bfloat16")


def row_change(model, rows, values=1.0):
    weight = dict(model.named_parameters())[ROW]
    return {
        ROW: Change(
            "rows", torch.tensor(rows), torch.full((len(rows), weight.shape[1]), values).bfloat16()
        )
    }


def test_rows_hold_both_sides(model):
    before = dict(model.named_parameters())[ROW].clone()
    patch = Patch.from_changes(model, row_change(model, [5, 2]), granularity="row", edit=None)
    edit = patch.tensors[ROW]
    assert (edit.kind, edit.axis, edit.dtype, edit.shape) == ("rows", 0, "BF16", (32, 64))
    assert edit.index.tolist() == [2, 5]
    assert torch.equal(edit.old, before[[2, 5]])
    assert torch.equal(edit.new, torch.ones(2, 64).bfloat16())
    assert edit.sha256 == hashlib.sha256(before.view(torch.int16).numpy().tobytes()).hexdigest()
    assert patch.metadata == {"granularity": "row"}
    assert patch.weights == 128
    patch.apply_(model)
    assert torch.equal(edit.old, before[[2, 5]])  # the patch keeps its own copy


def test_slices_that_stay_are_dropped(model):
    weight = dict(model.named_parameters())[ROW].detach()
    new = weight[[1, 2, 3]].clone()
    new[1, 7] += 1
    patch = Patch.from_changes(model, {ROW: Change("rows", [1, 2, 3], new)})
    assert patch.tensors[ROW].index.tolist() == [2]
    flat = weight.flatten()[[4, 8, 9]].clone()
    flat[2] = -3
    patch = Patch.from_changes(model, {ROW: Change("entries", [4, 8, 9], flat)})
    assert patch.tensors[ROW].index.tolist() == [9]
    whole = weight.clone()
    whole[3, 3] = 9
    patch = Patch.from_changes(model, {ROW: Change("whole", None, whole)})
    assert (patch.tensors[ROW].kind, patch.weights) == ("entries", 1)
    with pytest.raises(BiasEditError, match="no stored weight would change"):
        Patch.from_changes(model, {ROW: Change("whole", None, weight.clone())})


def test_zero_and_minus_zero_differ(model):
    weight = dict(model.named_parameters())[ROW]
    weight.data[0, 0] = 0.0
    patch = Patch.from_changes(
        model, {ROW: Change("entries", [0], torch.tensor([-0.0]).bfloat16())}
    )
    patch.apply_(model)
    assert torch.signbit(weight.data[0, 0])
    patch.revert_(model)
    assert not torch.signbit(weight.data[0, 0])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (Change("rows", [0], torch.ones(1, 63).bfloat16()), "have shape"),
        (Change("rows", [0, 0], torch.ones(2, 64).bfloat16()), "repeated"),
        (Change("rows", [32], torch.ones(1, 64).bfloat16()), "out of range"),
        (Change("rows", [-1], torch.ones(1, 64).bfloat16()), "out of range"),
        (Change("rows", [0], torch.ones(1, 32).bfloat16(), 2), "axis"),
        (Change("lines", [0], torch.ones(1, 64).bfloat16()), "kind"),
        (Change("entries", [64 * 32], torch.ones(1).bfloat16()), "out of range"),
        (Change("whole", None, torch.ones(3).bfloat16()), "have shape"),
        (Change("rows", [0], torch.ones(1, 64).to(torch.int8)), "quantise"),
        (Change("rows", [0], torch.full((1, 64), torch.inf).bfloat16()), "finite"),
    ],
)
def test_changes_that_do_not_fit_are_refused(model, change, reason):
    with pytest.raises(BiasEditError, match=reason):
        Patch.from_changes(model, {ROW: change})


def test_unknown_parameters_are_refused(model):
    with pytest.raises(BiasEditError, match="no parameter named nope"):
        Patch.from_changes(model, {"nope": Change("entries", [0], torch.ones(1))})


def test_apply_and_revert_check_first(model):
    patch = Patch.from_changes(model, row_change(model, [1, 4]))
    other = copy.deepcopy(model)
    dict(other.named_parameters())[ROW].data[4, 0] += 1
    before = {name: p.clone() for name, p in parameters(other).items()}
    with pytest.raises(BiasEditError, match=rf"does not fit.*{ROW}"):
        patch.apply_(other)
    with pytest.raises(BiasEditError, match="not applied here"):
        patch.revert_(other)
    assert_same_bits(parameters(other), before)
    patch.apply_(model)
    with pytest.raises(BiasEditError, match="applied already"):
        patch.apply_(model)


def test_applied_takes_back_after_an_error(model):
    before = {name: p.clone() for name, p in parameters(model).items()}
    patch = Patch.from_changes(model, row_change(model, [1, 4]))
    with pytest.raises(KeyError):
        with patch.applied(model) as patched:
            assert patched is model
            assert (dict(model.named_parameters())[ROW].data[1] == 1).all()
            raise KeyError
    assert_same_bits(parameters(model), before)


def test_another_architecture_is_refused(model):
    patch = Patch.from_changes(model, row_change(model, [0]))
    with pytest.raises(BiasEditError, match="for another model"):
        patch.apply_(tiny_model("gpt2", dtype="bfloat16"))
    with pytest.raises(BiasEditError, match="shape"):
        patch.apply_(tiny_model("llama", dtype="bfloat16", intermediate_size=48))


def test_wider_models_take_the_same_values(model):
    patch = Patch.from_changes(model, row_change(model, [0, 9], 0.3))
    wide = copy.deepcopy(model).float()
    with patch.applied(wide), patch.applied(model):
        assert_same_bits(parameters(wide), {n: p.float() for n, p in parameters(model).items()})
    for dtype in (torch.float16, torch.float8_e4m3fn):
        narrow = copy.deepcopy(model)
        weight = dict(narrow.named_parameters())[ROW]
        weight.data = weight.data.to(dtype)
        with pytest.raises(BiasEditError, match="checkpoint's dtype"):
            patch.apply_(narrow)
    # A patch in the checkpoint's dtype can also be made from the wide model.
    assert Patch.from_changes(wide, row_change(model, [0, 9], 0.3)) == patch
    dict(wide.named_parameters())[ROW].data += 1e-6
    with pytest.raises(BiasEditError, match="does not fit torch.bfloat16"):
        Patch.from_changes(wide, row_change(model, [0, 9], 0.3))


def test_tied_weights_are_named_once(tmp_path):
    model = tiny_model("gpt2", dtype="bfloat16")
    name = "transformer.wte.weight"
    for spelled in (name, "lm_head.weight"):
        patch = Patch.from_changes(
            model, {spelled: Change("rows", [3], torch.ones(1, 32).bfloat16())}
        )
        assert list(patch.tensors) == [name]
        assert patch.tensors[name].tied == ("lm_head.weight",)
    with pytest.raises(BiasEditError, match="changed twice"):
        Patch.from_changes(
            model,
            {
                n: Change("rows", [3], torch.ones(1, 32).bfloat16())
                for n in (name, "lm_head.weight")
            },
        )
    with patch.applied(model):
        assert (model.lm_head.weight.data[3] == 1).all()


@pytest.mark.parametrize("kind", ["rows", "entries", "whole"])
def test_from_models_and_checkpoints_agree(model, kind, tmp_path):
    changes, edited = random_changes(model, kind)
    patch = Patch.from_models(model, edited)
    target = copy.deepcopy(model)
    patch.apply_(target)
    assert_same_bits(parameters(target), parameters(edited))
    model.save_pretrained(tmp_path / "a")
    edited.save_pretrained(tmp_path / "b")
    assert Patch.from_checkpoints(tmp_path / "a", tmp_path / "b") == patch
    if kind == "rows":
        assert patch == Patch.from_changes(model, changes)


def test_equal_models_have_no_patch(model, tmp_path):
    with pytest.raises(BiasEditError, match="equal"):
        Patch.from_models(model, copy.deepcopy(model))
    with pytest.raises(BiasEditError, match="parameters"):
        Patch.from_models(model, tiny_model("gpt2"))
    with pytest.raises(BiasEditError, match="shape or dtype"):
        Patch.from_models(model, copy.deepcopy(model).float())


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.int8, torch.bool])
def test_weights_of_one_byte_may_be_there_and_must_not_differ(model, dtype):
    weight = torch.zeros(3, dtype=torch.uint8).view(dtype)
    model.scale = torch.nn.Parameter(weight, requires_grad=False)
    other = copy.deepcopy(model)
    dict(other.named_parameters())[ROW].data[2] += 1
    assert list(Patch.from_models(model, other).tensors) == [ROW]
    other.scale.data.view(torch.uint8)[1] = 1
    with pytest.raises(BiasEditError, match=r"scale has dtype .*, which cannot be patched exactly"):
        Patch.from_models(model, other)


def test_a_buffer_that_is_saved_is_no_part_of_a_patch_and_is_not_passed_over(model):
    model.register_buffer("counted", torch.zeros(2))
    model.register_buffer("scratch", torch.zeros(2), persistent=False)
    other = copy.deepcopy(model)
    dict(other.named_parameters())[ROW].data[2] += 1
    other.scratch += 1
    assert list(Patch.from_models(model, other).tensors) == [ROW]
    other.counted[1] = 1
    with pytest.raises(BiasEditError, match=r"counted is a buffer and differs"):
        Patch.from_models(model, other)
    other.counted = torch.zeros(3)
    with pytest.raises(BiasEditError, match="counted differs in shape"):
        Patch.from_models(model, other)


def test_names_of_the_actual_checkpoint_count(tmp_path):
    from safetensors.torch import save_file

    model = tiny_model("gpt2", dtype="bfloat16")
    model.save_pretrained(tmp_path / "full")
    bare = {
        name.removeprefix("transformer."): tensor
        for name, tensor in stored_tensors(tmp_path / "full").items()
    }
    (tmp_path / "bare").mkdir()
    model.config.save_pretrained(tmp_path / "bare")
    save_file(bare, tmp_path / "bare" / "model.safetensors", {"format": "pt"})
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "bare", dtype=torch.bfloat16)
    change = {
        "transformer.h.0.mlp.c_fc.weight": Change("rows", [1], torch.ones(1, 32).bfloat16(), 1)
    }
    patch = Patch.from_changes(loaded, change, checkpoint=tmp_path / "bare")
    assert list(patch.tensors) == ["h.0.mlp.c_fc.weight"]
    with patch.applied(loaded):
        assert (loaded.transformer.h[0].mlp.c_fc.weight.data[:, 1] == 1).all()


def test_digest_is_of_what_the_patch_does(model, tmp_path):
    change = row_change(model, [1, 4])
    patch = Patch.from_changes(model, change)
    assert patch == Patch.from_changes(model, change, granularity="row", created_by="x")
    assert hash(patch) == hash(Patch.from_changes(model, change))
    assert hash(patch) != hash(patch.reverse())
    assert patch != Patch.from_changes(model, row_change(model, [1, 5]))
    assert patch != Patch.from_changes(model, row_change(model, [1, 4], 2.0))
    assert patch != patch.reverse()
    patch.save(tmp_path / "p.safetensors")
    assert Patch.load(tmp_path / "p.safetensors").digest == patch.digest
    assert patch != "patch"


@pytest.mark.parametrize("factor", [0.5, -1.0, 1.7, 1e-3])
def test_scale_is_old_plus_factor_times_change(model, factor):
    changes, edited = random_changes(model, "rows")
    before = {name: p.clone() for name, p in parameters(model).items()}
    patch = Patch.from_changes(model, changes)
    patch.scale(factor).apply_(model)
    for name, after in parameters(edited).items():
        old = before[name].double()
        expected = (old + factor * (after.double() - old)).to(torch.bfloat16)
        assert torch.equal(parameters(model)[name], expected), name
    patch.scale(factor).revert_(model)
    assert_same_bits(parameters(model), before)


def test_scale_edge_cases(model):
    patch = Patch.from_changes(model, row_change(model, [1, 4]))
    assert patch.scale(1) is patch
    for factor in (float("nan"), float("inf")):
        with pytest.raises(BiasEditError, match="finite"):
            patch.scale(factor)
    with pytest.raises(BiasEditError, match="changes nothing"):
        patch.scale(0)
    with pytest.raises(BiasEditError, match="overflows"):
        patch.scale(1e39)


def test_reverse_is_the_way_back(model):
    patch = Patch.from_changes(model, row_change(model, [1, 4]))
    before = {name: p.clone() for name, p in parameters(model).items()}
    patch.apply_(model)
    patch.reverse().apply_(model)
    assert_same_bits(parameters(model), before)
    assert patch.reverse().reverse() == patch


def test_a_patch_made_from_another_says_only_what_holds_for_it(model):
    made = {"granularity": "row", "edit": {"seed": 1, "scores": {"test": {"fb_after": 9.0}}}}
    base = {"base_model": "org/name", "base_revision": "a" * 40}
    patch = Patch.from_changes(model, row_change(model, [1, 4]), **made, **base)
    kept = {"granularity": "row", "edit": {"seed": 1}}
    half = patch.scale(0.5)
    assert half.metadata == {**kept, **base, "scale": 0.5}
    assert half.scale(0.5).metadata == {**kept, **base, "scale": 0.25}
    assert patch.reverse().metadata == kept
    assert half.reverse().metadata == {**kept, "scale": 0.5}
    assert patch.metadata == made | base


def test_combine_agreeing_and_disjoint_patches(model):
    first = Patch.from_changes(model, row_change(model, [1, 4]), granularity="row", edit={"a": 1})
    second = Patch.from_changes(model, row_change(model, [4, 7]), granularity="row", edit={"a": 2})
    weight = dict(model.named_parameters())[ROW]
    third = Patch.from_changes(
        model, {ROW: Change("entries", [3, 64 * 4], torch.tensor([5.0, 1.0]).bfloat16())}
    )
    elsewhere = "model.layers.1.mlp.up_proj.weight"
    fourth = Patch.from_changes(
        model, {elsewhere: Change("rows", [0], torch.ones(1, 32).bfloat16())}
    )
    both = first.combine(second)
    assert both == Patch.from_changes(model, row_change(model, [1, 4, 7]))
    assert both.metadata == {"granularity": "row"}
    assert both.tensors[ROW].sha256 == first.tensors[ROW].sha256
    whole = first.combine(second, third, fourth)
    assert whole == fourth.combine(third, second, first)
    expected = weight.detach().clone()
    expected[[1, 4, 7]] = 1
    expected.view(-1)[3] = 5
    whole.apply_(model)
    assert torch.equal(weight.data, expected)
    assert (dict(model.named_parameters())[elsewhere].data[0] == 1).all()


def test_conflicts_are_named(model):
    first = Patch.from_changes(model, row_change(model, [1, 4]))
    with pytest.raises(BiasEditError, match=f"different values in {ROW}"):
        first.combine(Patch.from_changes(model, row_change(model, [4], 2.0)))
    with pytest.raises(BiasEditError, match="different values"):
        first.combine(first.reverse())
    assert first.combine(first) == first


def test_summary_counts(model, tmp_path):
    changes = row_change(model, [1, 4]) | {
        "model.layers.1.self_attn.q_proj.weight": Change(
            "entries", [0, 5], torch.ones(2).bfloat16()
        ),
        "model.norm.weight": Change("whole", None, torch.full((32,), 2.0).bfloat16()),
    }
    patch = Patch.from_changes(model, changes, granularity="row")
    summary = patch.summary(parameters=1000)
    assert summary["tensors"] == 3
    assert summary["weights"] == summary["changed"] == 128 + 2 + 32
    assert (summary["rows"], summary["entries"], summary["whole"]) == (2, 2, 1)
    assert summary["layers"] == {"": 32, "0": 128, "1": 2}
    assert summary["modules"] == {"mlp.down_proj": 128, "model.norm": 32, "self_attn.q_proj": 2}
    assert summary["share"] == pytest.approx(0.162)
    assert summary["bytes"] == 2 * 8 + 2 * 8 + 4 * (128 + 2 + 32)
    patch.save(tmp_path / "p.safetensors")
    assert Patch.load(tmp_path / "p.safetensors").summary(1000) == summary


def test_edited_weights_are_those_whose_bits_change(tmp_path):
    """A row is held whole: what stays in it is a value of the patch, and no edited weight."""
    bits = make_checkpoint(tmp_path / "base")
    name = "model.embed.weight"
    stored = bits[name]
    old = stored[[0, 1]].copy()
    new = old.copy()
    new[0, 1] ^= 1
    new[1] ^= 3
    edit = TensorEdit(name, "rows", 0, stored.shape, "BF16", np.array([0, 1]), old, new)
    patch = Patch({name: edit})
    edited, held = 1 + stored.shape[1], 2 * stored.shape[1]
    assert (patch.changed, patch.weights) == (edited, held)
    summary = patch.summary(parameters=100)
    assert (summary["changed"], summary["weights"]) == (edited, held)
    for of in ("layers", "modules", "dtypes"):
        assert sum(summary[of].values()) == edited
    assert summary["share"] == edited / 100
    assert summary["details"][0]["changed"] == edited
    assert summary["details"][0]["share"] == edited / stored.size
    told = patch.described(base_model="org/base", granularity="row", base_revision=None)
    assert told._repr_html_() == html_table(
        f"Patch: {edited} edited weights in 1 tensors",
        ("", ""),
        [("base model", "org/base"), ("granularity", "row"), ("digest", patch.digest)],
    )
    patch.save(tmp_path / "p.safetensors")
    assert Patch.load(tmp_path / "p.safetensors").changed == edited
    for where in ({"out": tmp_path / "out"}, {"in_place": True}):
        report = apply_patch(tmp_path / "base", tmp_path / "p.safetensors", **where)
        assert (report.changed, report.weights) == (edited, held)


def test_saved_size_is_what_the_weights_need(model, tmp_path):
    changes, _ = random_changes(model, "whole")
    patch = Patch.from_changes(model, changes)
    patch.save(tmp_path / "p.safetensors")
    assert (tmp_path / "p.safetensors").stat().st_size < 1.05 * patch.summary()["bytes"]


def test_lazy_patches_read_what_is_asked_for(tmp_path):
    edits = sample_edits(make_checkpoint(tmp_path / "base"))
    file = save_patch(tmp_path / "p.safetensors", edits)
    patch = Patch.load(file)
    assert len(patch.tensors) == 5
    assert patch.weights == sum(edit.weights for edit in edits.values())
    for name, edit in edits.items():
        assert np.array_equal(patch.tensors[name].new_bits, edit.new_bits)
    assert repr(patch) == f"Patch(5 tensors, {patch.weights} values)"
    with pytest.raises(BiasEditError, match="at least one"):
        Patch({})


def test_bits_of_strided_tensors():
    tensor = torch.arange(12.0).view(3, 4)
    assert np.array_equal(bits_of(tensor.T).view("<f4"), tensor.T.numpy())
    old = bits_of(tensor)
    assert edit_of("t", "F32", old, "rows", [1], 1).old.tolist() == [[1.0, 5.0, 9.0]]


def test_the_stored_dtype_counts(tmp_path):
    tiny_model("llama").save_pretrained(tmp_path)  # float32 on disk
    model = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16)
    with pytest.raises(BiasEditError, match="stored as F32"):
        Patch.from_changes(model, row_change(model, [0]), checkpoint=tmp_path)
    wide = {ROW: Change("rows", [0], torch.ones(1, 64))}
    with pytest.raises(BiasEditError, match="does not fit"):
        Patch.from_changes(model, wide, checkpoint=tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    Patch.from_changes(model, wide, checkpoint=tmp_path)


def test_a_loaded_model_brings_its_checkpoint(tmp_path):
    from hfbiasedit.models.loading import load_model
    from tests.tiny import save_checkpoint

    loaded = load_model(
        save_checkpoint(tmp_path / "base", "gpt2", shard_size="1GB", dtype="float32")
    )
    name = "transformer.h.0.mlp.c_fc.weight"
    change = {name: Change("rows", [1], torch.ones(1, 32), 1)}
    patch = Patch.from_changes(loaded, change)
    with patch.applied(loaded):
        assert (loaded.model.transformer.h[0].mlp.c_fc.weight.data[:, 1] == 1).all()
    weights = tmp_path / "base" / "model.safetensors"
    torch.save(stored_tensors(tmp_path / "base"), tmp_path / "base" / "pytorch_model.bin")
    weights.unlink()
    assert Patch.from_changes(loaded, change) == patch


def test_other_metadata_make_the_same_patch_without_a_second_hash(tmp_path, monkeypatch):
    path = save_patch(
        tmp_path / "p.safetensors",
        sample_edits(make_checkpoint(tmp_path / "base")),
        granularity="row",
    )
    first = Patch.load(path)
    digest = first.digest
    second = first.described(granularity="neuron", edit={"seed": 1})
    assert second.metadata["granularity"] == "neuron"
    said = Patch(first.tensors, {}, ("old",)).described(granularity="row")
    assert said.warnings == ("old",)
    assert first.metadata["granularity"] == "row"
    second.save(tmp_path / "q.safetensors")
    again = Patch.load(tmp_path / "q.safetensors")
    assert again.metadata == second.metadata
    metadata = {"granularity": "neuron", "edit": {"seed": 1}}
    made = save_patch(tmp_path / "r.safetensors", first.tensors, **metadata)
    assert made.read_bytes() == (tmp_path / "q.safetensors").read_bytes()
    assert again.digest == digest
    monkeypatch.setattr(TensorEdit, "pieces", None)  # what hashing needs
    assert second.digest == digest
