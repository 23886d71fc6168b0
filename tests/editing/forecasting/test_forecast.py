"""A forecast against what an edit of a tiny model really runs, and against real counts."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import torch
from typer.testing import CliRunner

from hfbiasedit.cli.app import app
from hfbiasedit.documents.schemas import schema
from hfbiasedit.editing.attempt import attempt
from hfbiasedit.editing.config import EditConfig
from hfbiasedit.editing.forecasting import forecaster, memory, passes
from hfbiasedit.editing.forecasting.calibration import Rate, Rates
from hfbiasedit.editing.forecasting.counts import selections
from hfbiasedit.editing.forecasting.forecaster import forecast
from hfbiasedit.editing.forecasting.widths import Widths
from hfbiasedit.editing.forecasting.words import sentences
from hfbiasedit.editing.material import gathering, windows
from hfbiasedit.editing.running import activations
from hfbiasedit.editing.solving import gauss_newton, held, task
from hfbiasedit.errors import BiasEditError, UsageError
from hfbiasedit.hub.source import ModelSource
from hfbiasedit.models import loading
from hfbiasedit.models.architecture import parameter_count, projections
from hfbiasedit.models.loading import LoadedModel
from hfbiasedit.models.outline import outline_of
from tests.tiny import save_checkpoint, tiny_config, tiny_model, tiny_tokenizer

PLAIN = ("llama", "gpt2", "codegen", "starcoder2", "phi3", "gpt_neox", "qwen2")


def meta(family, **overrides):
    config = tiny_config(family, **overrides)
    source = ModelSource("tiny", Path("/nowhere"))
    return outline_of(source, config, tiny_tokenizer(), EditConfig(dtype="float32"))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No second of calibration, few prompts: what is counted does not depend on either."""
    rate = Rate(1e9, 1e9)
    monkeypatch.setattr(forecaster, "calibrate", lambda *_: Rates(rate, rate, rate, rate))
    monkeypatch.setattr(gathering, "EDIT_PROMPTS", 40)
    monkeypatch.setattr(gathering, "DEV_PROMPTS", 12)
    monkeypatch.setattr(gathering, "ANCHOR_WINDOWS", 40)


@pytest.mark.parametrize("family", PLAIN)
def test_weights_and_items_are_those_of_a_real_model(family):
    real, bare = tiny_model(family), meta(family)
    assert bare.parameters == parameter_count(real)
    assert {p.device.type for p in bare.model.parameters()} == {"meta"}
    items = projections(real)
    rows = sum(item.rows for item in items)
    assert selections(bare.model, EditConfig(granularity="row", budget="5"))[0].of == rows
    every = selections(bare.model, EditConfig(granularity="full"))[0]
    assert every.weights == sum(item.weights for item in items)
    single = selections(bare.model, EditConfig(granularity="neuron", budget="7"))[0]
    assert (single.items, single.weights, single.coordinates) == (7, 7, 7)


def test_the_budget_of_auto_is_its_ladder():
    found = selections(meta("llama").model, EditConfig(granularity="neuron"))
    total = parameter_count(tiny_model("llama"))
    shares = (0.1, 0.05, 0.02, 0.01, 0.005)
    assert [one.weights for one in found] == [max(1, int(total * s / 100)) for s in shares]


def test_wide_selections_are_cut_to_leading_directions(monkeypatch):
    from hfbiasedit.editing.forecasting import counts

    monkeypatch.setattr(counts, "widest", lambda _: 1000)
    model = meta("llama").model
    found = selections(model, EditConfig(granularity="module", budget="2"))[0]
    largest = sorted(projections(model), key=lambda item: -item.weights)[:2]
    assert found.weights == sum(item.weights for item in largest)
    assert found.cut
    assert found.coordinates == 2 * 16 * 16  # the widest rank at which both fit into 1000


class Counter:
    """Tokens that enter a model's first block, and those whose gradients come back to it."""

    def __init__(self, model):
        self.forward = self.backward = 0
        # The last one of the block: hooks that were set earlier are called earlier, and before the
        # recording's own nothing in the first projection asks for a gradient.
        first = [item for item in projections(model) if item.block == 0][-1].module_path
        self.handle = model.get_submodule(first).register_forward_hook(self.count)

    def count(self, module, args, output):
        tokens = output.numel() // output.shape[-1]
        self.forward += tokens
        if torch.is_grad_enabled() and output.requires_grad:
            output.register_hook(lambda g: self.add(tokens))

    def add(self, tokens):
        self.backward += tokens


def test_an_edit_runs_the_passes_that_are_forecast(monkeypatch):
    model = tiny_model("llama").requires_grad_(False)
    loaded = LoadedModel(model, tiny_tokenizer(), ModelSource("tiny", Path("/nowhere")), "float32")
    config = EditConfig(granularity="module", budget=str(len(projections(model))), max_kl=0.01)
    # No early stop, and so all rounds are made.
    monkeypatch.setattr(gauss_newton, "GAIN", -float("inf"))
    monkeypatch.setattr(gathering, "EDIT_PROMPTS", 48)
    monkeypatch.setattr(gathering, "MORE_PROMPTS", 80)
    sizes = passes.sizes_of(loaded, config)
    found = passes.passes_of(sizes, config, selections(loaded.model, config))
    expected = [one for one in found if one.stage != "audits"]
    asked = counted(monkeypatch, "judged", held, task)
    looks = counted(monkeypatch, "mass_change", held)
    windows = counted(monkeypatch, "divergence_on", task)
    counter = Counter(model)
    material = gathering.gather(loaded, config)
    attempt(loaded, config, material)
    back = sum(one.times * one.size.tokens for one in expected if one.backward)
    assert counter.backward == pytest.approx(back, rel=0.02)
    # How often is usual depends on the model: here as often as it was.
    tried = [one for one in expected if one.stage == "rounds" and one.times > 1]
    assert {one.what: one.times for one in tried} == {
        "dev prompts": 17,
        "prompts": 17,
        "windows": 7,
    }
    forward = sum(one.times * one.size.tokens for one in expected if one not in tried)
    forward += (len(asked) - 1) * sizes.dev.tokens  # the original is asked in its own pass
    forward += len(looks) * sizes.held.tokens
    # So are windows: for the noise of arithmetic, for the original, and at the very end.
    forward += (len(windows) - 3) * sizes.watched.tokens
    assert counter.forward == pytest.approx(forward, rel=0.02)


def counted(monkeypatch, name, *modules):
    """The calls of a function that some modules know."""
    calls, real = [], getattr(modules[0], name)
    for module in modules:
        monkeypatch.setattr(module, name, lambda *given: calls.append(given) or real(*given))
    return calls


def test_the_document_says_no_more_than_its_schema_and_loads_nothing(tmp_path, monkeypatch):
    folder = save_checkpoint(tmp_path / "model")
    for path in folder.glob("*.safetensors"):
        path.write_bytes(b"")  # whoever reads weights fails

    def load(*arguments):
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(loading, "_load_weights", load)
    run = CliRunner().invoke(app, ["edit", str(folder), "--dry-run", "--json"])
    assert run.exit_code == 0, run.output
    document = json.loads(run.stdout)
    jsonschema.Draft202012Validator(schema("forecast")).validate(document)
    assert document["model"]["dtype"] == "bfloat16"
    assert document["fits"] is True
    assert document["memory"]["model"] >= 2 * document["model"]["parameters"]
    assert document["passes"][0]["stage"] == "audits"
    monkeypatch.setattr("hfbiasedit.models.quantising.check_quantiser", lambda: None)
    more = CliRunner().invoke(
        app, ["edit", str(folder), "--dry-run", "--json", "--check-quantized", "int8,int4"]
    )
    assert more.exit_code == 0, more.output
    last = json.loads(more.stdout)["passes"][-1]
    assert (last["stage"], last["times"]) == ("audits of quantised models", 4)
    said = CliRunner().invoke(app, ["edit", str(folder), "--dry-run", "--budget", "8"])
    assert said.exit_code == 0
    assert "8 of" in said.output
    assert "a model as small as this" in said.output
    document["model"]["parameters"] = 10**9
    assert not any("as small" in sentence for sentence in sentences(document))


def test_what_does_not_fit_is_said_with_what_would(tmp_path, monkeypatch):
    folder = save_checkpoint(tmp_path / "model")
    # Few prompts: inner products of many take more than a tiny model's activations.
    whole = forecast(folder, EditConfig(limit=16))["memory"]["host"]
    less = forecast(folder, EditConfig(limit=16, checkpoint=True))["memory"]["host"]
    assert less < whole
    monkeypatch.setattr(memory, "free_host", lambda: (whole + less) // 2)
    document = forecast(folder, EditConfig(limit=16))
    assert document["fits"] is False
    assert "it fits with --gradient-checkpointing" in document["reason"]
    monkeypatch.setattr(memory, "free_host", lambda: 1)
    run = CliRunner().invoke(app, ["edit", str(folder), "--dry-run", "--json"])
    assert run.exit_code == 1
    assert json.loads(run.stdout)["fits"] is False
    document = forecast(folder)
    assert document["fits"] is False
    assert "main memory are needed" in document["reason"]
    assert "smaller model" in document["reason"]


def test_on_a_gpu_rows_lie_beside_the_model_where_there_is_room(monkeypatch):
    loaded, config = meta("llama"), EditConfig(limit=16)
    sizes, ladder = passes.sizes_of(loaded, config), selections(loaded.model, config)
    gpu = torch.device("cuda")

    def with_room(own):
        for where in (activations, windows):
            monkeypatch.setattr(where, "device_memory", lambda _: own)
        return memory.memory_of(loaded, sizes, config, ladder, gpu)

    monkeypatch.setattr(memory, "IN_MEMORY", 0)
    model = with_room(0)["model"]
    little, much = with_room(model + 1), with_room(model + 10**12)
    assert little["disk"] == little["rows"]
    assert much["disk"] == 0
    assert much["device"] > much["model"] + much["rows"]
    assert much["host"] == little["host"] < much["model"] + memory._PROGRAM + 10**9


def test_more_weights_cost_more(tmp_path):
    folder = save_checkpoint(tmp_path / "model")
    few, many = (forecast(folder, granularity="neuron", budget=b) for b in ("10", "10000"))
    assert few["memory"]["rows"] < many["memory"]["rows"]
    assert few["seconds"]["processor"] < many["seconds"]["processor"]


def test_what_is_not_forecast_is_refused():
    with pytest.raises(UsageError, match="default saliency"):
        forecast(meta("llama"), saliency="grad")
    with pytest.raises(UsageError, match="default saliency"):
        forecast(meta("llama"), solver="adam")
    with pytest.raises(BiasEditError, match="whole stacks of experts"):
        forecast(meta("mixtral"), granularity="module")
    shared = meta("llama")
    first, second = (layer.mlp.up_proj for layer in shared.model.model.layers)
    second.weight = first.weight
    with pytest.raises(BiasEditError, match="several modules: there is no forecast"):
        forecast(shared)


def test_of_experts_those_count_that_a_token_is_given_to():
    loaded = meta("qwen2_moe")
    model, items = loaded.model, projections(loaded.model)
    widths = Widths.of(model, items)
    plain = [item for item in items if item.experts == 1]
    per_expert = 2 * 16 * 32 + 32 * 16  # gate and up, down; a token goes to two of four
    assert widths.weights == sum(item.weights for item in plain) + 2 * 2 * per_expert
    assert widths.matrices == len(plain) + 2 * 2 * 2
    sides = sum(item.rows + item.columns for item in plain)
    assert widths.sides == sides + 2 * 2 * (2 * 16 + 32 + 32 + 16)
    assert forecast(loaded, granularity="row")["fits"] in (True, False)
    vars(model.config)["num_experts_per_tok"] = None  # past the configuration's own checks
    with pytest.raises(BiasEditError, match="how many experts"):
        Widths.of(model, items)
