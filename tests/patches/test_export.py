"""Adapters made from patches, loaded, enabled, disabled and merged by the real peft."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from typer.testing import CliRunner

from hfbiasedit.cli.app import app
from hfbiasedit.documents.schemas import check_document
from hfbiasedit.documents.structures.adapter_document import Adapter
from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.loading import load_model
from hfbiasedit.patches.building import Change
from hfbiasedit.patches.export.config import VLLM_RANKS
from hfbiasedit.patches.export.exporter import export_adapter
from hfbiasedit.patches.export.formats import served_rank
from hfbiasedit.patches.patch import Patch
from tests.tiny import save_checkpoint

# A projection of attention and one of the MLP; the axis of output units (1: Conv1D).
FAMILIES = {
    "llama": ("model.layers.0.self_attn.v_proj.weight", "model.layers.1.mlp.down_proj.weight", 0),
    "phi3": ("model.layers.0.self_attn.qkv_proj.weight", "model.layers.1.mlp.down_proj.weight", 0),
    "gpt_neox": (
        "gpt_neox.layers.0.attention.query_key_value.weight",
        "gpt_neox.layers.1.mlp.dense_h_to_4h.weight",
        0,
    ),
    "gpt2": ("transformer.h.0.attn.c_attn.weight", "transformer.h.1.mlp.c_proj.weight", 1),
    "starcoder2": (
        "model.layers.0.self_attn.q_proj.weight",
        "model.layers.1.mlp.c_fc.weight",
        0,
    ),
}
IDS = torch.tensor([[5, 17, 300, 41, 8, 250, 99, 3]])


def make_patch(folder, kind, family="llama", names=None):
    """A patch of a checkpoint: output units, input units, or single weights of two matrices."""
    first, second, axis = FAMILIES[family]
    loaded = load_model(folder)
    torch.manual_seed(3)
    changes = {}
    for name in names or (first, second):
        weight = loaded.model.get_parameter(name)
        if kind == "entries":
            index = torch.randperm(weight.numel())[:40]
            new = weight.reshape(-1)[index] + torch.randn(40).to(weight.dtype)
            changes[name] = Change("entries", index, new)
            continue
        along = axis if kind == "rows" else 1 - axis
        index = torch.tensor([1, 4, 9])
        new = weight.index_select(along, index)
        new = (new.T if along == 1 else new) * 1.5 + 0.1
        changes[name] = Change("rows", index, new.to(weight.dtype), along)
    patch = Patch.from_changes(loaded, changes, base_model=str(folder))
    path = folder.parent / "patch.safetensors"
    patch.save(path)
    return patch, path


def logits(model, ids=IDS):
    with torch.no_grad():
        return model(input_ids=ids, use_cache=False).logits


def adapted(folder, out):
    from peft import PeftModel

    return PeftModel.from_pretrained(load_model(folder).model, str(out)).eval()


@pytest.mark.parametrize("kind", ["rows", "columns", "entries"])
@pytest.mark.parametrize("family", FAMILIES)
def test_in_float32_the_adapter_is_the_patch(tmp_path, family, kind):
    folder = save_checkpoint(tmp_path / "base", family, dtype="float32")
    patch, path = make_patch(folder, kind, family)
    document = export_adapter(path, tmp_path / "out")
    check_document(document, Adapter, "")
    assert document["weights"] == sum(edit.changed for edit in patch.tensors.values())
    assert document["vllm_rank"] == served_rank(document["rank"], VLLM_RANKS)
    expected = 3 if kind != "entries" else document["rank"]
    assert document["rank"] == expected
    loaded = load_model(folder)
    before = logits(loaded.model)
    patch.apply_(loaded)
    after = logits(loaded.model)
    assert (after - before).abs().max() > 0.01
    model = adapted(folder, tmp_path / "out")
    assert torch.allclose(logits(model), after, atol=1e-5, rtol=1e-5)
    with model.disable_adapter():
        assert torch.equal(logits(model), before)
    merged = model.merge_and_unload(safe_merge=True)
    assert torch.allclose(logits(merged), after, atol=1e-5, rtol=1e-5)
    for name in FAMILIES[family][:2]:
        mine, theirs = loaded.model.get_parameter(name), merged.get_parameter(name)
        assert torch.allclose(mine, theirs, atol=1e-6)


def test_single_weights_take_the_fewer_of_rows_and_columns(tmp_path):
    folder = save_checkpoint(tmp_path / "base", "llama", dtype="float32")
    patch, path = make_patch(folder, "entries")
    ranks = []
    for edit in patch.tensors.values():
        width = edit.shape[1]
        ranks.append(min(len({int(i) // width for i in edit.positions}),
                         len({int(i) % width for i in edit.positions})))  # fmt: skip
    assert export_adapter(path, tmp_path / "out")["rank"] == max(ranks)


def test_shira_is_the_patch_too(tmp_path):
    folder = save_checkpoint(tmp_path / "base", "llama", dtype="float32")
    patch, path = make_patch(folder, "entries")
    document = export_adapter(path, tmp_path / "out", kind="shira")
    assert document["kind"] == "shira"
    loaded = load_model(folder)
    before = logits(loaded.model)
    patch.apply_(loaded)
    model = adapted(folder, tmp_path / "out")
    assert torch.allclose(logits(model), logits(loaded.model), atol=1e-5, rtol=1e-5)
    with model.disable_adapter():
        assert torch.equal(logits(model), before)
    merged = model.merge_and_unload()
    assert torch.allclose(logits(merged), logits(loaded.model), atol=1e-5, rtol=1e-5)


def test_in_16_bits_the_difference_is_measured(tmp_path):
    pytest.importorskip("peft")
    folder = save_checkpoint(tmp_path / "base", "llama", dtype="bfloat16")
    patch, path = make_patch(folder, "rows")
    document = export_adapter(path, tmp_path / "out", check=True)
    check_document(document, Adapter, "")
    assert document["dtype"] == "BF16"
    single, half = document["logits"]
    assert (half["dtype"], single["dtype"]) == ("bfloat16", "float32")
    assert single["largest"] < 1e-4 < half["largest"]
    # The weights, counted by torch: old + bfloat16(new - old), rounded.
    equal = total = 0
    largest = 0.0
    for edit in patch.tensors.values():
        old, new = edit.old.float(), edit.new.float()
        changed = edit.old != edit.new
        merged = (old + (new - old).bfloat16().float()).bfloat16()
        equal += int((merged == edit.new)[changed].sum())
        total += int(changed.sum())
        largest = max(largest, float((merged.float() - new).abs().max()))
    assert document["rounded"]["equal"] == pytest.approx(equal / total)
    assert document["rounded"]["largest"] == pytest.approx(largest)
    assert 0 < document["rounded"]["equal"] < 1


def test_a_local_base_is_not_named_in_the_adapter(tmp_path):
    folder = save_checkpoint(tmp_path / "secret", "llama", dtype="float32")
    _, path = make_patch(folder, "rows")
    export_adapter(path, tmp_path / "out")
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] is None
    assert "secret" not in json.dumps(config)
    assert config["r"] == config["lora_alpha"] == 3  # a scaling of 1 wherever it is worked out


@pytest.mark.parametrize(
    ("family", "overrides", "name", "words"),
    [
        ("gemma", {}, "model.embed_tokens.weight", "is tied to another tensor"),
        ("llama", {}, "model.embed_tokens.weight", "is no weight of a projection .Embedding."),
        ("llama", {}, "model.norm.weight", "is no weight of a projection"),
        ("starcoder2", {}, "model.layers.0.mlp.c_fc.bias", "is no weight of a projection"),
        ("qwen3_moe", {}, "model.layers.0.mlp.experts.down_proj", "experts are stacked"),
    ],
)
def test_what_no_adapter_can_change_gets_one_line(tmp_path, family, overrides, name, words):
    folder = save_checkpoint(tmp_path / "base", family, dtype="float32", **overrides)
    loaded = load_model(folder)
    weight = loaded.model.get_parameter(name)
    index = torch.tensor([0, 3])
    change = Change("entries", index, weight.reshape(-1)[index] + 1)
    Patch.from_changes(loaded, {name: change}, base_model=str(folder)).save(tmp_path / "p")
    with pytest.raises(BiasEditError, match=words):
        export_adapter(tmp_path / "p", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_ranks_that_servers_do_not_take_are_refused(tmp_path):
    folder = save_checkpoint(tmp_path / "base", "llama", dtype="float32")
    _, path = make_patch(folder, "rows")
    with pytest.raises(BiasEditError, match=r"needs rank 3 and --max-rank is 2 \(as asked\)"):
        export_adapter(path, tmp_path / "out", max_rank=2)
    assert served_rank(3, VLLM_RANKS) == 8
    assert served_rank(513, VLLM_RANKS) is None


def test_shira_refuses_what_it_cannot_hold(tmp_path):
    folder = save_checkpoint(tmp_path / "base", "gpt2", dtype="float32")
    _, path = make_patch(folder, "rows", "gpt2")
    with pytest.raises(BiasEditError, match="Conv1D"):
        export_adapter(path, tmp_path / "out", kind="shira")


def test_another_model_than_the_patch_is_for(tmp_path):
    folder = save_checkpoint(tmp_path / "base", "llama", dtype="float32")
    other = save_checkpoint(tmp_path / "other", "gpt2", dtype="float32")
    _, path = make_patch(folder, "rows")
    with pytest.raises(BiasEditError, match=r"GPT2LMHeadModel has no tensor .*--base"):
        export_adapter(path, tmp_path / "out", base=other)


@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_a_base_with_other_values_is_refused_at_once(tmp_path, form):
    folder = save_checkpoint(tmp_path / "base", "llama", dtype="float32")
    _, path = make_patch(folder, "rows")
    edited = load_model(folder).model
    with torch.no_grad():
        edited.get_parameter(FAMILIES["llama"][1]).mul_(2)
    shutil.copytree(folder, tmp_path / "other", ignore=shutil.ignore_patterns("model*"))
    if form == "bin":
        torch.save(edited.state_dict(), tmp_path / "other" / "pytorch_model.bin")
    else:
        edited.save_pretrained(tmp_path / "other")
    with pytest.raises(BiasEditError, match=r"mlp\.down_proj\.weight"):
        export_adapter(path, tmp_path / "out", base=tmp_path / "other")
    assert not (tmp_path / "out").exists()


def test_on_the_command_line(tmp_path):
    folder = save_checkpoint(tmp_path / "base", "llama", dtype="float32")
    _, path = make_patch(folder, "rows")
    words = ["patch", "export", str(path), "--out", str(tmp_path / "out"), "--as", "lora"]
    result = CliRunner().invoke(app, [*words, "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document == json.loads((tmp_path / "out" / "adapter.json").read_text())
    assert isinstance(CliRunner().invoke(app, words).exception, BiasEditError)  # it is there
    (tmp_path / "out" / "thesis.txt").write_text("x")
    refused = CliRunner().invoke(app, [*words, "--overwrite"]).exception
    assert "more than an adapter (thesis.txt)" in str(refused)
    (tmp_path / "out" / "thesis.txt").unlink()
    result = CliRunner().invoke(app, [*words, "--overwrite"])
    assert "rank 3, 2 modules" in result.stdout
