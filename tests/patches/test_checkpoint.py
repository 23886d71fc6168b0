"""Patches on directories: what is written, shared, carried over, refused."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from hfbiasedit import resources
from hfbiasedit.checkpoints import transfer
from hfbiasedit.checkpoints.storage import Checkpoint
from hfbiasedit.errors import BiasEditError, UsageError
from hfbiasedit.patches import checkpoint
from hfbiasedit.patches.checkpoint import apply_patch
from hfbiasedit.patches.edits import TensorEdit
from hfbiasedit.patches.patch import Patch
from hfbiasedit.patches.verification import verify_patch
from tests.patches.small import (
    SHARDS,
    assert_bits,
    edit_of,
    expected_bits,
    file_bytes,
    fingerprint,
    make_checkpoint,
    sample_edits,
    save_patch,
)

ONE, TWO = SHARDS
EMBED = "model.embed.weight"


@pytest.fixture
def bits(tmp_path):
    return make_checkpoint(tmp_path / "base")


@pytest.fixture
def edits(bits):
    return sample_edits(bits)


@pytest.fixture
def first_shard_only(tmp_path, edits):
    return save_patch(tmp_path / "one.safetensors", {EMBED: edits[EMBED]})


def test_new_directory_and_back(tmp_path, bits, edits):
    base, out, back = (tmp_path / name for name in ("base", "out", "back"))
    before = fingerprint(base)
    report = apply_patch(base, Patch(edits), out)
    assert_bits(out, expected_bits(bits, edits))
    assert (report.tensors, report.weights) == (5, Patch(edits).weights)
    assert report.patch_digest == Patch(edits).digest
    document = report.to_dict()
    assert document.pop("seconds") > 0
    assert document.pop("files").keys() >= set(SHARDS)
    assert document == {
        "path": str(out),
        "direction": "apply",
        "in_place": False,
        "patch_digest": Patch(edits).digest,
        "tensors": 5,
        "weights": Patch(edits).weights,
        "changed": Patch(edits).changed,
        "bytes_written": report.bytes_written,
        "warnings": [],
    }
    for file in ("config.json", "tokenizer.json", "model.safetensors.index.json"):
        assert (out / file).read_bytes() == (base / file).read_bytes()
        assert not (out / file).samefile(base / file)
    apply_patch(out, Patch(edits), back, reverse=True)
    assert fingerprint(back) == fingerprint(base) == before


def test_only_edited_bytes_change(tmp_path, bits, edits):
    apply_patch(tmp_path / "base", Patch(edits), tmp_path / "out")
    for file in SHARDS:
        old = np.frombuffer((tmp_path / "base" / file).read_bytes(), np.uint8)
        new = np.frombuffer((tmp_path / "out" / file).read_bytes(), np.uint8)
        assert old.size == new.size
        # Every edit flips the lowest bit of a little-endian weight: one byte each.
        weights = sum(edit.weights for name, edit in edits.items() if name in SHARDS[file])
        assert (old != new).sum() == weights
        assert set((old ^ new).tolist()) == {0, 1}


def test_untouched_shards_are_linked_and_touched_ones_are_not(tmp_path, bits, first_shard_only):
    base, out = tmp_path / "base", tmp_path / "out"
    report = apply_patch(base, first_shard_only, out)
    assert report.files[TWO] in ("linked", "reflinked")
    if report.files[TWO] == "linked":
        assert (out / TWO).samefile(base / TWO)
    assert not (out / ONE).samefile(base / ONE)
    copied = apply_patch(base, first_shard_only, tmp_path / "copied", copy=True)
    assert copied.files[TWO] == "copied"
    assert not (tmp_path / "copied" / TWO).samefile(base / TWO)


def test_in_place_breaks_hard_links_first(tmp_path, bits, edits):
    base, out = tmp_path / "base", tmp_path / "out"
    before = fingerprint(base)
    only = {EMBED: edits[EMBED]}
    apply_patch(base, Patch(only), out)
    rest = {name: edit for name, edit in edits.items() if name != EMBED}
    report = apply_patch(out, Patch(rest), in_place=True)  # its second shard is the base's
    assert report.in_place
    assert set(report.files.values()) == {"patched"}
    assert fingerprint(base) == before
    assert_bits(out, expected_bits(bits, edits))
    apply_patch(out, Patch(edits), in_place=True, reverse=True)
    assert fingerprint(out) == before


@pytest.mark.parametrize("in_place", [False, True])
def test_mismatch_names_tensors_and_changes_nothing(tmp_path, bits, edits, in_place):
    base = tmp_path / "base"
    where = {"in_place": True} if in_place else {"out": tmp_path / "out"}
    wrong = dict(edits)
    old = edits[EMBED].old_bits ^ 2
    wrong[EMBED] = TensorEdit(
        EMBED, "rows", 0, (12, 6), "BF16", edits[EMBED].positions, old, old ^ 1
    )
    before = fingerprint(tmp_path)
    with pytest.raises(BiasEditError, match=f"does not fit.*nothing was changed: {EMBED} differ"):
        apply_patch(base, Patch(wrong), **where)
    with pytest.raises(BiasEditError, match="not applied here, nothing was changed"):
        apply_patch(base, Patch(edits), reverse=True, **where)
    assert fingerprint(tmp_path) == before


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "model.nope", "CON"])
def test_unknown_names_are_refused_and_never_paths(tmp_path, bits, edits, name):
    edit = edits[EMBED]
    strange = TensorEdit(
        name, "rows", 0, (12, 6), "BF16", edit.positions, edit.old_bits, edit.new_bits
    )
    before = fingerprint(tmp_path)
    with pytest.raises(BiasEditError, match="no tensor"):
        apply_patch(tmp_path / "base", Patch({name: strange, EMBED: edit}), tmp_path / "out")
    assert fingerprint(tmp_path) == before


def test_shape_and_dtype_must_fit(tmp_path, bits):
    for shape, dtype, reason in (((12, 7), "BF16", "shape"), ((12, 6), "F16", "is BF16 here")):
        width = shape[1]
        wrong = TensorEdit(
            EMBED, "rows", 0, shape, dtype, np.array([1]),
            np.zeros((1, width), "<u2"), np.ones((1, width), "<u2"),
        )  # fmt: skip
        with pytest.raises(BiasEditError, match=reason):
            apply_patch(tmp_path / "base", Patch({EMBED: wrong}), tmp_path / "out")


def test_base_model_prefix_is_recognised(tmp_path, bits, edits):
    for changed in (
        {name.removeprefix("model."): edit for name, edit in edits.items()},
        {f"wrapper.{name}": edit for name, edit in edits.items()},
    ):
        renamed = {
            name: TensorEdit(
                name, e.kind, e.axis, e.shape, e.dtype, e.positions, e.old_bits, e.new_bits
            )
            for name, e in changed.items()
        }
        out = tmp_path / f"out{len(next(iter(renamed)))}"
        apply_patch(tmp_path / "base", Patch(renamed), out)
        assert_bits(out, expected_bits(bits, edits))


def test_scale(tmp_path, bits):
    name = "model.layers.0.mlp.up.weight"
    old = bits[name]
    new = (old.view("<f4") + np.float32(1)).view("<u4")
    patch = Patch({name: TensorEdit(name, "whole", None, (8, 5), "F32", None, old, new)})
    apply_patch(tmp_path / "base", patch, tmp_path / "out", scale=0.25)
    wide = old.view("<f4").astype(float)
    expected = (wide + 0.25 * (new.view("<f4").astype(float) - wide)).astype("<f4")
    assert_bits(tmp_path / "out", bits | {name: expected.view("<u4")})
    assert verify_patch(tmp_path / "out", patch, scale=0.25).state == "applied"
    with pytest.raises(BiasEditError, match="not applied"):
        apply_patch(tmp_path / "out", patch, tmp_path / "back", reverse=True)
    apply_patch(tmp_path / "out", patch, tmp_path / "back", reverse=True, scale=0.25)
    assert fingerprint(tmp_path / "back") == fingerprint(tmp_path / "base")


def test_where_the_result_goes(tmp_path, bits, first_shard_only):
    base = tmp_path / "base"
    for arguments in ({}, {"out": tmp_path / "out", "in_place": True}):
        with pytest.raises(UsageError, match="either"):
            apply_patch(base, first_shard_only, **arguments)
    for out in (base, base / "sub", tmp_path):
        with pytest.raises(UsageError, match="outside"):
            apply_patch(base, first_shard_only, out)
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("precious")
    with pytest.raises(BiasEditError, match="not empty; .* with --overwrite"):
        apply_patch(base, first_shard_only, out)
    assert (out / "mine").read_text() == "precious"
    with pytest.raises(BiasEditError, match="no checkpoint directory"):
        apply_patch(tmp_path / "nowhere", first_shard_only, tmp_path / "other")


def test_an_earlier_checkpoint_is_replaced(tmp_path, bits, edits, first_shard_only):
    base, out = tmp_path / "base", tmp_path / "out"
    (base / "assets").mkdir()
    (base / "assets" / "logo.svg").write_text("<svg/>")
    apply_patch(base, first_shard_only, out)
    apply_patch(base, Patch(edits), out, replace=True)
    assert_bits(out, expected_bits(bits, edits))
    assert fingerprint(out).keys() == fingerprint(base).keys()


@pytest.mark.parametrize(
    "mine", ["thesis.txt", "assets/thesis.txt", "pytorch_model.bin", ".git/HEAD", "x.safetensors"]
)
def test_what_the_new_checkpoint_will_not_have_is_not_replaced(
    tmp_path, bits, first_shard_only, mine
):
    base, out = tmp_path / "base", tmp_path / "out"
    shutil.copytree(base, out)
    (base / ".git").mkdir()
    (base / ".git" / "HEAD").write_text("not carried over")
    (out / mine).parent.mkdir(exist_ok=True)
    (out / mine).write_text("precious")
    before = fingerprint(out)
    for reverse in (False, True):
        with pytest.raises(BiasEditError, match=f"more than the new checkpoint will .{mine}"):
            apply_patch(base, first_shard_only, out, reverse=reverse, replace=True)
    assert fingerprint(out) == before


@pytest.mark.parametrize("names", [["thesis.txt"], ["config.json"], ["model.safetensors"]])
def test_what_is_no_checkpoint_is_not_replaced(tmp_path, bits, first_shard_only, names):
    out = tmp_path / "out"
    out.mkdir()
    for name in names:
        (out / name).write_text("precious")
    with pytest.raises(BiasEditError, match="something else than a checkpoint"):
        apply_patch(tmp_path / "base", first_shard_only, out, replace=True)
    assert set(fingerprint(out)) == set(names)


def test_the_directory_of_the_patch_is_not_replaced(tmp_path, bits, first_shard_only):
    home = tmp_path / "home"
    shutil.copytree(tmp_path / "base", home)
    shutil.move(first_shard_only, home / "patch.safetensors")
    (tmp_path / "link.safetensors").symlink_to(home / "patch.safetensors")
    before = fingerprint(home)
    for patch in (home / "patch.safetensors", tmp_path / "link.safetensors"):
        with pytest.raises(UsageError, match="patch lies in"):
            apply_patch(tmp_path / "base", patch, home, replace=True)
    assert fingerprint(home) == before


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A package whose demo model is the base."""
    path = tmp_path / "package" / "demo_model"
    path.parent.mkdir()
    (tmp_path / "base").rename(path)
    monkeypatch.setattr(resources, "PACKAGE", tmp_path / "package")
    (tmp_path / "link").symlink_to(path)
    return path


def test_the_model_of_the_package_is_not_changed(tmp_path, bits, edits, first_shard_only, shipped):
    before = fingerprint(shipped)
    for path in (shipped, tmp_path / "link"):
        with pytest.raises(BiasEditError, match="came with the package"):
            apply_patch(path, first_shard_only, in_place=True)
        with pytest.raises(BiasEditError, match="not applied here, nothing was changed"):
            apply_patch(path, first_shard_only, in_place=True, reverse=True)
    other = shutil.copytree(shipped, tmp_path / "other")
    with pytest.raises(BiasEditError, match="came with the package"):
        apply_patch(other, first_shard_only, shipped, replace=True)
    report = apply_patch(shipped, first_shard_only, tmp_path / "out")
    assert report.files[TWO] in ("copied", "reflinked")
    assert fingerprint(shipped) == before


def test_what_was_done_to_the_package_can_be_taken_back(
    tmp_path, bits, edits, first_shard_only, shipped, monkeypatch
):
    before = fingerprint(shipped)
    with monkeypatch.context() as past:
        past.setattr(checkpoint, "in_package", lambda path: False)
        apply_patch(shipped, first_shard_only, in_place=True)
    assert fingerprint(shipped) != before
    apply_patch(shipped, first_shard_only, in_place=True, reverse=True)
    assert fingerprint(shipped) == before


def hub_cache(tmp_path):
    """The base as it lies in a Hub cache: a snapshot of links to shared blobs."""
    repository = tmp_path / "hub" / "models--org--name"
    snapshot = repository / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    for number, file in enumerate(sorted((tmp_path / "base").iterdir())):
        blob = repository / "blobs" / f"{number:064x}"
        blob.write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(f"../../blobs/{blob.name}")
    return repository, snapshot


def test_the_hub_cache_is_never_written_or_linked(tmp_path, bits, edits, first_shard_only):
    repository, snapshot = hub_cache(tmp_path)
    before = fingerprint(repository)
    report = apply_patch(snapshot, first_shard_only, tmp_path / "out")
    assert report.files[TWO] in ("copied", "reflinked")
    for file in (tmp_path / "out").iterdir():
        assert not file.is_symlink()
        assert file.stat().st_nlink == 1
    assert_bits(tmp_path / "out", expected_bits(bits, {EMBED: edits[EMBED]}))
    with pytest.raises(BiasEditError, match="Hub cache"):
        apply_patch(snapshot, first_shard_only, in_place=True)
    assert fingerprint(repository) == before


def test_linked_shards_are_not_changed_in_place(tmp_path, bits, first_shard_only):
    linked = tmp_path / "linked"
    linked.mkdir()
    for file in (tmp_path / "base").iterdir():
        (linked / file.name).symlink_to(file)
    before = fingerprint(tmp_path / "base")
    with pytest.raises(BiasEditError, match="link to another file"):
        apply_patch(linked, first_shard_only, in_place=True)
    assert fingerprint(tmp_path / "base") == before


def test_other_files_are_carried_and_other_weights_are_not(tmp_path, bits, first_shard_only):
    base, out = tmp_path / "base", tmp_path / "out"
    (base / "assets").mkdir()
    (base / "assets" / "logo.svg").write_text("<svg/>")
    (base / ".gitattributes").write_text("*.safetensors filter=lfs")
    (base / "training_args.bin").write_bytes(b"arguments")
    (base / ".git").mkdir()
    (base / ".git" / "HEAD").write_text("x")
    stale = [
        "pytorch_model.bin",
        "model.fp16.safetensors",
        "flax_model.msgpack",
        "a.gguf",
        "consolidated.00.pth",
    ]
    for name in stale:
        (base / name).write_bytes(b"old weights")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (base / name).write_text("{}")
    (base / "extra").symlink_to(tmp_path)
    report = apply_patch(base, first_shard_only, out)
    assert set(fingerprint(out)) == {
        *SHARDS, "model.safetensors.index.json", "config.json", "tokenizer.json",
        "assets/logo.svg", ".gitattributes", "training_args.bin",
    }  # fmt: skip
    for name in (*stale, "adapter_config.json", "adapter_model.safetensors"):
        assert report.files[name] == "left out"
        assert any(name in warning for warning in report.warnings)
    assert any("extra" in warning for warning in report.warnings)
    report = apply_patch(base, first_shard_only, in_place=True)
    assert sum("may still hold" in warning for warning in report.warnings) == len(stale) + 1


def test_permissions_of_read_only_shards(tmp_path, bits, edits):
    for file in SHARDS:
        (tmp_path / "base" / file).chmod(0o444)
    apply_patch(tmp_path / "base", Patch(edits), tmp_path / "out")
    assert_bits(tmp_path / "out", expected_bits(bits, edits))


def tied_checkpoint(tmp_path, *, equal: bool):
    """A checkpoint that stores a tied embedding under both names."""
    shards = {
        "model.safetensors": {
            "model.embed_tokens.weight": ("BF16", (12, 6)),
            "lm_head.weight": ("BF16", (12, 6)),
        }
    }
    bits = make_checkpoint(tmp_path / "tied", shards, {"tie_word_embeddings": True})
    if equal:
        bits["lm_head.weight"] = bits["model.embed_tokens.weight"]
        content = {name: ("BF16", array) for name, array in bits.items()}
        (tmp_path / "tied" / "model.safetensors").write_bytes(file_bytes(content))
    return bits


def test_tied_weights_stored_twice_are_patched_twice(tmp_path):
    bits = tied_checkpoint(tmp_path, equal=True)
    name = "model.embed_tokens.weight"
    edit = edit_of(name, "BF16", bits[name], "rows", [0, 3], 0)
    knows = TensorEdit(
        name, "rows", 0, (12, 6), "BF16", edit.positions, edit.old_bits, edit.new_bits,
        tied=("lm_head.weight",),
    )  # fmt: skip
    apply_patch(tmp_path / "tied", Patch({name: knows}), tmp_path / "out")
    edited = expected_bits(bits, {name: edit})[name]
    assert_bits(tmp_path / "out", {name: edited, "lm_head.weight": edited})
    apply_patch(tmp_path / "out", Patch({name: knows}), tmp_path / "back", reverse=True)
    assert_bits(tmp_path / "back", bits)
    with pytest.raises(BiasEditError, match=r"tied to lm_head\.weight"):
        apply_patch(tmp_path / "tied", Patch({name: edit}), tmp_path / "no")
    # Stored under the head's name only: the patch finds it there.
    content = {"lm_head.weight": ("BF16", bits["lm_head.weight"])}
    (tmp_path / "tied" / "model.safetensors").write_bytes(file_bytes(content))
    apply_patch(tmp_path / "tied", Patch({name: knows}), tmp_path / "head")
    assert_bits(tmp_path / "head", {"lm_head.weight": edited})


def test_tied_copies_that_differ_are_refused(tmp_path):
    bits = tied_checkpoint(tmp_path, equal=False)
    name = "model.embed_tokens.weight"
    edit = edit_of(name, "BF16", bits[name], "rows", [0, 3], 0)
    knows = TensorEdit(
        name, "rows", 0, (12, 6), "BF16", edit.positions, edit.old_bits, edit.new_bits,
        tied=("lm_head.weight",),
    )  # fmt: skip
    with pytest.raises(BiasEditError, match=r"lm_head\.weight differ"):
        apply_patch(tmp_path / "tied", Patch({name: knows}), tmp_path / "out")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda p: (p / "config.json").write_text('{"quantization_config": {"quant_method": "gptq"}}'),
         r"quantised \(gptq\).*16-bit base"),
        (lambda p: (p / ONE).unlink(), "missing; download"),
        (lambda p: (p / ONE).write_bytes((p / ONE).read_bytes()[:-1]), "not a valid safetensors"),
        (lambda p: (p / "model.safetensors.index.json").write_text("{}"), "no weight_map"),
        (lambda p: (p / "model.safetensors.index.json").write_text("{"), "not valid JSON"),
        (lambda p: (p / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../x.safetensors"}}'),
         "no shard beside it"),
        (lambda p: (p / "model.safetensors.index.json").write_text('{"weight_map": {"a": 3}}'),
         "no shard beside it"),
        (lambda p: (p / "model.safetensors.index.json").write_text(
            json.dumps({"weight_map": {"gone": ONE, EMBED: ONE}})), "lists gone"),
        (lambda p: (p / "model.safetensors.index.json").unlink(), "holds no model.safetensors"),
        (lambda p: ((p / "model.safetensors.index.json").unlink(), (p / "a.gguf").touch()), "GGUF"),
        (lambda p: ((p / "model.safetensors.index.json").unlink(), (p / "adapter_model.safetensors").touch()),
         "adapter"),
        (lambda p: ((p / "model.safetensors.index.json").unlink(), (p / "__0_0.distcp").touch()), "training"),
        (lambda p: (p / "config.json").write_text("[]"), "no JSON object"),
    ],
)  # fmt: skip
def test_checkpoints_that_cannot_be_patched(tmp_path, bits, first_shard_only, spoil, reason):
    spoil(tmp_path / "base")
    before = fingerprint(tmp_path)
    for where in ({"out": tmp_path / "out"}, {"in_place": True}):
        with pytest.raises(BiasEditError, match=reason) as caught:
            apply_patch(tmp_path / "base", first_shard_only, **where)
        assert "\n" not in str(caught.value)
    assert fingerprint(tmp_path) == before
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("sharded", [False, True])
def test_bin_checkpoints_are_converted(tmp_path, bits, sharded):
    tensors = {
        "model.a.weight": torch.arange(12.0).view(3, 4).bfloat16(),
        "model.b.weight": torch.arange(6.0).bfloat16(),
    }
    tensors["lm_head.weight"] = tensors["model.a.weight"]
    source = tmp_path / "bin"
    source.mkdir()
    (source / "config.json").write_text("{}")
    if sharded:
        torch.save(
            {n: t for n, t in tensors.items() if ".b." not in n},
            source / "pytorch_model-00001-of-00002.bin",
        )
        torch.save(
            {"model.b.weight": tensors["model.b.weight"]},
            source / "pytorch_model-00002-of-00002.bin",
        )
        files = {name: f"pytorch_model-0000{1 + ('.b.' in name)}-of-00002.bin" for name in tensors}
        (source / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": files}))
    else:
        torch.save(tensors, source / "pytorch_model.bin")
    old = tensors["model.b.weight"].view(torch.int16).numpy().view("<u2")
    patch = Patch({"model.b.weight": edit_of("model.b.weight", "BF16", old, "entries", [2, 5])})
    with pytest.raises(BiasEditError, match=r"only \.bin"):
        apply_patch(source, patch, in_place=True)
    with pytest.raises(BiasEditError, match=r"only \.bin"):
        verify_patch(source, patch)
    report = apply_patch(source, patch, tmp_path / "out")
    assert any("converted" in warning for warning in report.warnings)
    assert not list((tmp_path / "out").glob("*.bin*"))
    as_bits = {name: t.view(torch.int16).numpy().view("<u2") for name, t in tensors.items()}
    assert_bits(tmp_path / "out", expected_bits(as_bits, dict(patch.tensors)))
    assert set(Checkpoint.open(tmp_path / "out").names) == set(tensors)
    apply_patch(tmp_path / "out", patch, tmp_path / "back", reverse=True)
    assert_bits(tmp_path / "back", as_bits)


def test_bin_checkpoints_with_code_are_refused(tmp_path, bits, first_shard_only):
    class Evil:
        def __reduce__(self):
            return (os.system, (f"touch {tmp_path}/owned",))

    source = tmp_path / "bin"
    source.mkdir()
    torch.save({"a": Evil()}, source / "pytorch_model.bin")
    with pytest.raises(BiasEditError, match="without running code") as caught:
        apply_patch(source, first_shard_only, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "owned").exists()
    assert not (tmp_path / "out").exists()
    torch.save([1, 2], source / "pytorch_model.bin")
    with pytest.raises(BiasEditError, match="named tensors"):
        apply_patch(source, first_shard_only, tmp_path / "out")


def test_a_full_disk_leaves_nothing(tmp_path, bits, first_shard_only, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(transfer, "_copy_range", full)
    before = fingerprint(tmp_path)
    with pytest.raises(BiasEditError, match="No space left"):
        apply_patch(tmp_path / "base", first_shard_only, tmp_path / "out")
    assert fingerprint(tmp_path) == before
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("refused", [errno.EXDEV, errno.EPERM])
def test_copies_where_links_are_impossible(tmp_path, bits, first_shard_only, monkeypatch, refused):
    def refuse(*_, **__):
        raise OSError(refused, "cannot")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(os, "copy_file_range", refuse)
    report = apply_patch(tmp_path / "base", first_shard_only, tmp_path / "out")
    assert report.files[TWO] in ("copied", "reflinked")
    apply_patch(tmp_path / "out", first_shard_only, tmp_path / "back", reverse=True)
    assert fingerprint(tmp_path / "back") == fingerprint(tmp_path / "base")


def test_verify_tells_the_state(tmp_path, bits, edits):
    base, patch = tmp_path / "base", Patch(edits)
    assert verify_patch(base, patch).state == "not applied"
    assert verify_patch(base, patch).fits
    apply_patch(base, patch, tmp_path / "out")
    report = verify_patch(tmp_path / "out", patch)
    assert (report.state, report.fits, report.base) == ("applied", True, "unknown")
    assert set(report.tensors.values()) == {"applied"}
    apply_patch(base, Patch({EMBED: edits[EMBED]}), tmp_path / "part")
    assert verify_patch(tmp_path / "part", patch).state == "mixed"
    assert not verify_patch(tmp_path / "part", patch).fits
    other = TensorEdit(
        EMBED, "rows", 0, (12, 6), "BF16", np.array([1]),
        np.zeros((1, 6), "<u2"), np.ones((1, 6), "<u2"),
    )  # fmt: skip
    assert verify_patch(base, Patch({EMBED: other})).state == "neither"
    both = dict(edits) | {EMBED: other}  # neither here, not applied elsewhere: no mixture
    assert verify_patch(base, Patch(both)).state == "neither"
    file = save_patch(tmp_path / "p.safetensors", edits)
    assert verify_patch(base, file) == verify_patch(base, Patch.load(file))
    assert verify_patch(base, str(file)).tensors.keys() == edits.keys()
    assert verify_patch(base, patch).to_dict() == {
        "state": "not applied",
        "fits": True,
        "base": "unknown",
        "tensors": dict.fromkeys(edits, "not applied"),
        "differing": [],
    }


def test_verify_needs_the_hash_of_every_tensor_to_know_the_base(tmp_path, bits, edits):
    base = tmp_path / "base"
    known = {
        name: replace(edit, sha256=hashlib.sha256(bits[name].tobytes()).hexdigest())
        for name, edit in edits.items()
    }
    apply_patch(base, Patch(edits), tmp_path / "out")
    for where in (base, tmp_path / "out"):
        assert verify_patch(where, Patch(known)).base == "identical"
        assert verify_patch(where, Patch(edits | {EMBED: known[EMBED]})).base == "unknown"
        wrong = edits | {EMBED: replace(edits[EMBED], sha256="0" * 64)}
        report = verify_patch(where, Patch(wrong))
        assert (report.base, report.differing) == ("differs", (EMBED,))
        assert report.to_dict()["differing"] == [EMBED]
    apply_patch(base, Patch({EMBED: edits[EMBED]}), tmp_path / "part")
    report = verify_patch(tmp_path / "part", Patch(wrong))
    assert (report.state, report.base, report.differing) == ("mixed", "unknown", ())


def test_a_tensor_that_stays_says_nothing_of_the_state(tmp_path, edits):
    base, still = tmp_path / "base", replace(edits[EMBED], new_bits=edits[EMBED].old_bits)
    report = verify_patch(base, Patch({EMBED: still}))
    assert (report.state, report.tensors[EMBED]) == ("not applied", "unchanged")
    others = {name: edit for name, edit in edits.items() if name != EMBED}
    apply_patch(base, Patch(others), tmp_path / "out")
    report = verify_patch(tmp_path / "out", Patch(others | {EMBED: still}))
    assert (report.state, report.tensors[EMBED]) == ("applied", "unchanged")


def test_verify_knows_the_base_by_its_hash(tmp_path, bits, edits):
    edited = expected_bits(
        bits,
        {EMBED: edits[EMBED], "model.layers.1.mlp.experts": edits["model.layers.1.mlp.experts"]},
    )
    make_checkpoint(tmp_path / "other")
    for file, tensors in SHARDS.items():
        content = {name: (dtype, edited[name]) for name, (dtype, _) in tensors.items()}
        (tmp_path / "other" / file).write_bytes(file_bytes(content))
    patch = Patch.from_checkpoints(tmp_path / "base", tmp_path / "other")
    assert verify_patch(tmp_path / "base", patch).base == "identical"
    report = verify_patch(tmp_path / "other", patch)
    assert (report.state, report.base) == ("applied", "identical")
    elsewhere = edit_of(EMBED, "BF16", bits[EMBED], "rows", [5], 0)
    apply_patch(tmp_path / "other", Patch({EMBED: elsewhere}), tmp_path / "third")
    report = verify_patch(tmp_path / "third", patch)
    assert (report.state, report.base, report.differing) == ("applied", "differs", (EMBED,))


def test_applying_needs_no_torch(tmp_path, bits, edits):
    patch = save_patch(tmp_path / "p.safetensors", edits)
    code = (
        "import sys\n"
        "from hfbiasedit.patches.checkpoint import apply_patch\n"
        f"apply_patch({str(tmp_path / 'base')!r}, {str(patch)!r}, {str(tmp_path / 'out')!r})\n"
        f"apply_patch({str(tmp_path / 'out')!r}, {str(patch)!r}, in_place=True, reverse=True)\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert fingerprint(tmp_path / "out") == fingerprint(tmp_path / "base")


def test_difference_refusals(tmp_path, bits):
    def variant(name, shards):
        make_checkpoint(tmp_path / name, shards)
        return tmp_path / name

    first = {"model.safetensors": {"a": ("BF16", (3, 2)), "n": ("I64", (3,))}}
    base = variant("x", first)
    with pytest.raises(BiasEditError, match="only one of the two"):
        Patch.from_checkpoints(base, variant("y", {"model.safetensors": {"a": ("BF16", (3, 2))}}))
    with pytest.raises(BiasEditError, match="shape or dtype"):
        Patch.from_checkpoints(
            base, variant("z", {"model.safetensors": {"a": ("F16", (3, 2)), "n": ("I64", (3,))}})
        )
    with pytest.raises(BiasEditError, match="nothing to patch"):
        Patch.from_checkpoints(base, variant("same", first))
    integers = variant("i", first)
    content = {"a": ("BF16", np.zeros((3, 2), "<u2")), "n": ("I64", np.array([5, 6, 7], "<i8"))}
    (integers / "model.safetensors").write_bytes(file_bytes(content))
    with pytest.raises(BiasEditError, match="n is I64 and differs"):
        Patch.from_checkpoints(base, integers)


def test_one_file_wins_over_shards_as_in_transformers(tmp_path, bits, edits):
    base = tmp_path / "base"
    single = {EMBED: ("BF16", bits[EMBED] ^ 4)}
    (base / "model.safetensors").write_bytes(file_bytes(single))
    edit = edit_of(EMBED, "BF16", bits[EMBED] ^ 4, "rows", [2], 0)
    report = apply_patch(base, Patch({EMBED: edit}), tmp_path / "out")
    assert_bits(tmp_path / "out", expected_bits({EMBED: bits[EMBED] ^ 4}, {EMBED: edit}))
    assert not (tmp_path / "out" / "model.safetensors.index.json").exists()
    assert report.files[ONE] == "left out"


def test_weights_in_folders_are_left_out(tmp_path, bits, first_shard_only):
    folder = tmp_path / "base" / "original"
    folder.mkdir()
    (folder / "consolidated.00.pth").write_bytes(b"weights")
    (folder / "params.json").write_text("{}")
    report = apply_patch(tmp_path / "base", first_shard_only, tmp_path / "out")
    assert [file.name for file in (tmp_path / "out" / "original").iterdir()] == ["params.json"]
    assert report.files["original/consolidated.00.pth"] == "left out"


def test_a_failing_disk_in_place_leaves_the_journal(tmp_path, bits, edits, monkeypatch):
    from hfbiasedit.patches import journal, rewriting

    write_at, calls = rewriting._write_at, []

    def fail(*arguments):
        calls.append(arguments)
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_at(*arguments)

    monkeypatch.setattr(rewriting, "_write_at", fail)
    with pytest.raises(BiasEditError, match="No space left.*patch recover"):
        apply_patch(tmp_path / "base", Patch(edits), in_place=True)
    monkeypatch.setattr(rewriting, "_write_at", write_at)
    journal.recover(tmp_path / "base", undo=True)
    assert_bits(tmp_path / "base", bits)
