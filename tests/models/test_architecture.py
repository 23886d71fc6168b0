import pytest
import torch

from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.architecture import decoder_blocks, hidden_units, projections
from hfbiasedit.models.fusion import Part
from hfbiasedit.models.limits import most_positions
from tests.tiny import FAMILIES, tiny_config, tiny_model

# Family -> kinds of matrices of a block that has all of them, by role.
EXPECTED = {
    "gpt2": {"c_attn": "attention", "c_proj": "mlp", "c_fc": "mlp"},
    "codegen": {"qkv_proj": "attention", "out_proj": "attention", "fc_in": "mlp", "fc_out": "mlp"},
    "llama": {
        "q_proj": "attention",
        "k_proj": "attention",
        "v_proj": "attention",
        "o_proj": "attention",
        "gate_proj": "mlp",
        "up_proj": "mlp",
        "down_proj": "mlp",
    },
    "phi3": {
        "qkv_proj": "attention",
        "o_proj": "attention",
        "gate_up_proj": "mlp",
        "down_proj": "mlp",
    },
    "gpt_neox": {
        "query_key_value": "attention",
        "dense": "attention",
        "dense_h_to_4h": "mlp",
        "dense_4h_to_h": "mlp",
    },
    "qwen3_moe": {
        "q_proj": "attention",
        "k_proj": "attention",
        "v_proj": "attention",
        "o_proj": "attention",
        "gate_up_proj": "expert",
        "down_proj": "expert",
    },
}


@pytest.mark.parametrize("family", FAMILIES)
def test_projections_are_parameters_of_their_blocks(family):
    model = tiny_model(family)
    parameters = dict(model.named_parameters())
    blocks = decoder_blocks(model)
    assert len(blocks) == 2
    found = projections(model)
    assert len({item.name for item in found}) == len(found)
    for item in found:
        assert tuple(parameters[item.name].shape) == item.shape
        assert item.name.startswith(blocks[item.block][0] + ".")
        assert item.weights == parameters[item.name].numel()
        if item.parts:
            rows = sorted(row for part in item.parts for row in part.rows())
            assert rows == list(range(item.rows // item.experts))
            assert all(item.part_of(row) == part.name for part in item.parts for row in part.rows())
    # Everything large inside the blocks is a projection; routers are the exception.
    names = {item.name for item in found}
    for name, parameter in parameters.items():
        inside = any(name.startswith(path + ".") for path, _ in blocks)
        if inside and parameter.dim() > 1 and "mlp.gate.weight" not in name:
            assert name in names, name


@pytest.mark.parametrize("family", EXPECTED)
def test_kinds(family):
    found = {item.role: item.kind for item in projections(tiny_model(family)) if item.block == 1}
    assert found == EXPECTED[family]


def test_conv1d_is_told_by_class_not_by_shape():
    model = tiny_model("gpt2", n_inner=32)  # square MLP matrices
    assert all(item.row_axis == 1 for item in projections(model))
    assert all(item.row_axis == 0 for item in projections(tiny_model("gpt_bigcode", n_inner=32)))


def _keys_and_values(model, ids):
    cache = model(input_ids=ids, use_cache=True).past_key_values
    layer = cache.layers[1]
    return layer.keys.clone(), layer.values.clone()


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("gpt2", {}),
        ("gpt_bigcode", {}),
        ("gpt_bigcode", {"multi_query": False}),
        ("codegen", {}),
        ("phi3", {}),
        ("gpt_neox", {}),
    ],
)
def test_parts_of_fused_attention_are_what_the_model_computes(family, options):
    """Changing rows named k changes the cached keys and not the values, and so on."""
    model = tiny_model(family, **options)
    ids = torch.arange(3, 9)[None]
    fused = next(item for item in projections(model) if item.block == 1 and item.parts)
    assert {part.name for part in fused.parts} == {"q", "k", "v"}
    weight = model.get_parameter(fused.name)
    keys, values = _keys_and_values(model, ids)
    for part in fused.parts:
        original = weight.detach().clone()
        with torch.no_grad():
            view = weight.data.T if fused.row_axis else weight.data
            view[torch.tensor(part.rows())] += 0.5
            new_keys, new_values = _keys_and_values(model, ids)
            weight.copy_(original)
        assert torch.equal(new_keys, keys) == (part.name != "k")
        assert torch.equal(new_values, values) == (part.name != "v")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_hidden_unit_without_its_weights_is_silent(family):
    """With the column of a unit zeroed its rows do not matter any more, those of others do."""
    model = tiny_model(family)
    items = projections(model)
    groups = [group for group in hidden_units(items) if group.block == 1]
    assert groups
    ids = torch.arange(2, 40)[None]
    for group in groups:
        if group.count < 8:
            continue
        down = model.get_parameter(group.down.name)
        with torch.no_grad():
            group.down.row_view(down.data)[:, 3] = 0  # of every expert
            silent = model(input_ids=ids).logits
            for change, same in ((3, True), (4, False)):
                for item, part in group.up:
                    view = item.row_view(model.get_parameter(item.name).data)
                    inner = item.rows // item.experts
                    row = part.rows()[change] if part else change
                    for expert in range(item.experts):
                        view[expert * inner + row] += torch.linspace(-1, 2, item.columns)
                assert torch.allclose(model(input_ids=ids).logits, silent, atol=1e-6) == same


def test_row_numbers_of_experts_and_their_flat_positions():
    model = tiny_model("qwen3_moe")
    item = next(p for p in projections(model) if p.role == "gate_up_proj")
    weight = model.get_parameter(item.name).detach()
    row, columns = torch.tensor([item.rows // item.experts + 5]), torch.arange(item.columns)
    flat = item.flat_indices(row, columns)
    assert torch.equal(weight.reshape(-1)[flat], weight[1, 5])
    assert item.part_of(int(row)) == "gate"
    assert item.part_of(int(row) + 16) == "up"


def test_flat_positions_of_transposed_weights():
    model = tiny_model("gpt2")
    item = next(p for p in projections(model) if p.role == "c_fc")
    weight = model.get_parameter(item.name).detach()
    flat = item.flat_indices(torch.tensor(7), torch.arange(item.columns))
    assert torch.equal(weight.reshape(-1)[flat], weight[:, 7])


def test_interleaved_parts():
    gate = Part("gate", 0, 1, 2, 4)
    assert gate.rows() == [0, 2, 4, 6]
    assert [row in gate for row in range(9)] == [True, False] * 4 + [False]


def test_encoder_decoder_models_are_refused():
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(vocab_size=64, d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
    with pytest.raises(BiasEditError, match="encoder-decoder"):
        decoder_blocks(T5ForConditionalGeneration(config))


def test_models_without_blocks_are_refused():
    with pytest.raises(BiasEditError, match="no list of decoder blocks"):
        decoder_blocks(torch.nn.Linear(2, 2))


def test_quantised_models_are_refused():
    model = tiny_model("llama")
    layer = model.model.layers[0].mlp.up_proj
    layer.weight = torch.nn.Parameter(layer.weight.detach().to(torch.int8), requires_grad=False)
    with pytest.raises(BiasEditError, match="quantised weights cannot be edited"):
        projections(model)
    model = tiny_model("llama")
    model.is_quantized = True
    with pytest.raises(BiasEditError, match="edit the 16-bit original"):
        projections(model)


def test_configurations_of_all_families_build():
    assert all(tiny_config(family) for family in FAMILIES)


def with_a_tower():
    """A decoder of two blocks beside a larger tower for images, with a table of four positions."""
    import transformers
    from transformers import AutoModelForCausalLM

    text = FAMILIES["gemma2"] | dict(vocab_size=512, model_type="gemma3_text")
    vision = dict(
        hidden_size=64, intermediate_size=256, num_hidden_layers=3, num_attention_heads=4,
        image_size=28, patch_size=14,
    )  # fmt: skip
    config = transformers.Gemma3Config(text_config=text, vision_config=vision)
    return AutoModelForCausalLM.from_config(config)


def test_the_text_decoder_counts_where_another_tower_is_larger():
    model = with_a_tower()
    towers = {name: module for name, module in model.named_modules() if name.endswith(".layers")}
    vision_tower, decoder = (sum(p.numel() for p in m.parameters()) for m in towers.values())
    assert vision_tower > decoder
    assert [name for name, _ in decoder_blocks(model)] == [
        "model.language_model.layers.0", "model.language_model.layers.1",
    ]  # fmt: skip
    assert len(projections(model)) == 14
    assert most_positions(model) == 512


def test_models_that_name_no_decoder_are_searched_as_a_whole():
    class Plain(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.stack = torch.nn.ModuleList([torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)])

    class Elsewhere(Plain):
        def get_decoder(self):
            return torch.nn.Linear(1, 1)

    for model in (Plain(), Elsewhere()):
        assert [name for name, _ in decoder_blocks(model)] == ["stack.0", "stack.1"]
