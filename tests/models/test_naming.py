"""Runtime names and names on disk, for every family, against files that transformers wrote."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM

from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.naming import Naming
from tests.patches.edits import stored_tensors
from tests.tiny import FAMILIES, tiny_model


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_stored_tensor_is_a_view_of_a_parameter(family, loaded, tmp_path):
    model = tiny_model(family)
    model.save_pretrained(tmp_path)
    if loaded:
        model = AutoModelForCausalLM.from_pretrained(tmp_path)
    naming = Naming(model)
    buffers = {name for name, _ in model.named_buffers()}
    stored = {n: t for n, t in stored_tensors(tmp_path).items() if n not in buffers}
    assert {place.name for place in naming} == set(stored)
    for place in naming:
        view = place.view(naming.parameter(place.runtime).data)
        assert view.shape == stored[place.name].shape == place.shape
        assert torch.equal(view, stored[place.name]), place.name
        assert naming.to_runtime(place.name) == place
        assert place in naming.to_disk(place.runtime)
    for name, parameter in model.named_parameters():
        assert (
            sum(stored[place.name].numel() for place in naming.to_disk(name)) == parameter.numel()
        )


def test_known_renames():
    experts = Naming(tiny_model("mixtral")).to_disk("model.layers.1.mlp.experts.gate_up_proj")
    names = {place.name for place in experts}
    assert names == {
        f"model.layers.1.block_sparse_moe.experts.{i}.{w}.weight"
        for i in range(4)
        for w in ("w1", "w3")
    }
    gate = next(place for place in experts if place.name.endswith("2.w3.weight"))
    assert (gate.start, gate.length, gate.order) == ((2, 64, 0), (1, 64, 32), (1, 2))
    neox = Naming(tiny_model("gpt_neox"))
    assert [place.name for place in neox.to_disk("lm_head.weight")] == ["embed_out.weight"]


def test_views_write_through():
    model = tiny_model("qwen2_moe")
    naming = Naming(model)
    place = naming.to_runtime("model.layers.0.mlp.experts.3.up_proj.weight")
    place.view(naming.parameter(place.runtime).data).fill_(7)
    fused = naming.parameter("model.layers.0.mlp.experts.gate_up_proj").data
    assert (fused[3, 16:] == 7).all()
    assert (fused == 7).sum() == 16 * 32


def test_tied_names():
    naming = Naming(tiny_model("gpt2"))
    assert naming.tied("transformer.wte.weight") == ("lm_head.weight",)
    assert naming.to_disk("lm_head.weight") == naming.to_disk("transformer.wte.weight")
    assert naming.to_runtime("lm_head.weight").runtime == "transformer.wte.weight"
    assert Naming(tiny_model("llama")).tied("model.embed_tokens.weight") == ()


def test_base_model_prefix():
    model = tiny_model("gpt2")
    bare = Naming(model, ["h.0.mlp.c_fc.weight", "wte.weight"])
    runtime = "transformer.h.0.mlp.c_fc.weight"
    assert [place.name for place in bare.to_disk(runtime)] == ["h.0.mlp.c_fc.weight"]
    full = Naming(model)
    assert full.to_runtime("h.0.mlp.c_fc.weight").runtime == runtime
    assert full.to_runtime("transformer.h.0.mlp.c_fc.weight").runtime == runtime
    assert full.to_runtime("h.9.mlp.c_fc.weight") is None


def test_a_parameter_that_is_no_view_is_refused(monkeypatch):
    from hfbiasedit.models import naming

    model = tiny_model("llama")
    q, k = (f"model.layers.0.self_attn.{part}_proj.weight" for part in "qk")

    def fuse(_, state):
        state = dict(state)
        state["fused"] = torch.cat([state.pop(q), state.pop(k)])
        return state

    monkeypatch.setattr(naming, "_reverted", fuse)
    with pytest.raises(BiasEditError, match="mixed with other weights"):
        Naming(model).to_disk(q)
    with pytest.raises(BiasEditError, match="no parameter"):
        Naming(model).to_disk("nope")


def test_a_failing_conversion_is_explained(monkeypatch):
    from transformers import core_model_loading

    def fail(*_):
        raise RuntimeError("no")

    monkeypatch.setattr(core_model_loading, "revert_weight_conversion", fail)
    with pytest.raises(BiasEditError, match="cannot tell how LlamaForCausalLM is stored"):
        Naming(tiny_model("llama"))
