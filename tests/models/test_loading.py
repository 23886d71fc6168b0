from __future__ import annotations

import json
import os
import pickle

import pytest
import torch
from huggingface_hub import snapshot_download

from hfbiasedit.errors import BiasEditError, UsageError
from hfbiasedit.hub.pull import pull_model
from hfbiasedit.hub.source import ModelSource
from hfbiasedit.models.loading import load_model
from hfbiasedit.models.resolution import resolve_model
from hfbiasedit.resources import demo_model_path
from tests.hub_server.fixtures import hub, hub_client, short_waits  # noqa: F401
from tests.tiny import save_checkpoint, tiny_config, tiny_model, tiny_tokenizer


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("models") / "llama")


def test_loads_for_measuring(checkpoint):
    found = load_model(str(checkpoint))
    assert found.dtype == "bfloat16"
    assert found.source == ModelSource(id=str(checkpoint), path=checkpoint)
    assert found.device == torch.device("cpu")
    assert found.patch_digest is None
    assert not found.model.training
    assert not any(parameter.requires_grad for parameter in found.model.parameters())
    assert found.parameters == sum(p.numel() for p in tiny_model("llama").parameters())
    assert found.tokenizer.decode(found.tokenizer("x = 1")["input_ids"]) == "x = 1"


@pytest.mark.parametrize(
    ("name", "dtype"), [("fp32", "float32"), ("float16", "float16"), ("bf16", "bfloat16")]
)
def test_dtype_by_name(checkpoint, name, dtype):
    assert load_model(checkpoint, dtype=name).dtype == dtype


def test_demo_is_the_model_that_ships_whatever_the_directory_holds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    source = resolve_model("demo")
    assert (source.id, source.path, source.commit) == ("demo", demo_model_path(), None)
    with pytest.raises(BiasEditError, match="no model directory"):
        resolve_model("./demo")
    with pytest.raises(UsageError, match="no revisions"):
        resolve_model("demo", "main")


def test_device_map_auto(checkpoint):
    assert load_model(checkpoint, device_map="auto").device.type in ("cpu", "cuda", "mps")


def test_bin_weights_load(tmp_path):
    model = tiny_model("llama")
    model.config.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    assert torch.equal(load_model(tmp_path).model.lm_head.weight, model.lm_head.weight)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil-was-here",)


def test_a_pickle_that_runs_code_is_not_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny_config("llama").save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    torch.save({"lm_head.weight": Evil()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(BiasEditError, match="pickle"):
        load_model(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(BiasEditError):
        load_model(tmp_path)
    assert not (tmp_path / "evil-was-here").exists()


def fails(path, message, **options):
    with pytest.raises(BiasEditError, match=message) as caught:
        load_model(path, **options)
    assert "\n" not in str(caught.value)


def test_what_is_no_model_directory(tmp_path):
    fails(tmp_path, "no config.json")
    fails(tmp_path / "absent", "no such directory")
    fails(str(tmp_path / "absent"), "no such directory")
    fails("./absent", "no such directory")
    (tmp_path / "file").write_text("x")
    fails(tmp_path / "file", "is a file")
    (tmp_path / "adapter_config.json").write_text("{}")
    fails(tmp_path, "holds an adapter, not a model")
    (tmp_path / "config.json").write_text("{")
    fails(tmp_path, "holds an adapter, not a model")
    (tmp_path / "adapter_config.json").unlink()
    fails(tmp_path, "config.json")
    (tmp_path / "config.json").write_text("[]")
    fails(tmp_path, "no JSON object")
    (tmp_path / "config.json").write_text("{}")
    fails(tmp_path, "no model_type")
    (tmp_path / "config.json").write_text('{"model_type": "unheard_of"}')
    fails(tmp_path, "unheard_of")


def test_weights_beside_an_adapter(checkpoint, tmp_path, hub_client):  # noqa: F811
    """With peft installed transformers would load both; one line, or a Hub model's own weights."""
    files = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    adapter = {
        "adapter_config.json": b'{"peft_type": "LORA", "r": 2, "target_modules": ["q_proj"]}',
        "adapter_model.safetensors": b"no weights of a model",
    }
    for name, data in (files | adapter).items():
        (tmp_path / name).write_bytes(data)
    fails(tmp_path, "holds a model and an adapter .* move the adapter")
    hub_client.create_repo("acme/both", files | adapter)
    commit = pull_model("acme/both").commit
    snapshot_download("acme/both")  # as other programs do it: everything
    loaded = load_model("acme/both")
    assert (loaded.source.path / "adapter_config.json").is_file()
    assert loaded.source.commit == commit
    assert not any("lora" in name for name in loaded.model.state_dict())


def test_options_that_cannot_work(checkpoint):
    fails(checkpoint, "unknown dtype", dtype="int4")
    fails(checkpoint, "unknown device", device="toaster")
    fails(checkpoint, "unknown device 'meta'", device="meta")
    fails(checkpoint, "no revisions", revision="main")
    if not torch.cuda.is_available():
        fails(checkpoint, "not available", device="cuda:0")
    if not torch.backends.mps.is_available():
        fails(checkpoint, "not available", device="mps")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "bert", "architectures": ["BertForMaskedLM"]}, "is an encoder"),
        ({"model_type": "roberta"}, "is an encoder"),
        ({"model_type": "t5"}, "sequence-to-sequence"),
        ({"model_type": "bart"}, "sequence-to-sequence"),
        ({"model_type": "vit"}, "no causal language model"),
    ],
)
def test_other_kinds_of_models(tmp_path, config, message):
    (tmp_path / "config.json").write_text(json.dumps(config))
    fails(tmp_path, message)


def test_remote_code_does_not_run_unasked(tmp_path):
    code = "open('ran', 'w').close()\nraise SystemExit\n"
    (tmp_path / "modeling_own.py").write_text(code)
    auto = {"AutoConfig": "modeling_own.C", "AutoModelForCausalLM": "modeling_own.M"}
    for kind in ("own", "vit"):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": kind, "auto_map": auto}))
        fails(tmp_path, "--trust-remote-code")
    assert not os.path.exists("ran")


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_is_said_to_be_one(name):
    with pytest.raises(BiasEditError, match="the name of the model is empty; name the directory"):
        resolve_model(name)


def test_a_mistyped_directory_is_not_only_a_matter_of_the_network(monkeypatch):
    import hfbiasedit.hub.pull as pull

    def fail(*_, **__):
        raise UsageError("cannot reach the Hub")

    monkeypatch.setattr(pull, "pull_model", fail)
    with pytest.raises(UsageError, match=r"the Hub \(nor is there a directory modle here\)$"):
        resolve_model("modle")
    with pytest.raises(UsageError, match="the Hub$"):
        resolve_model("org/modle")


def test_missing_parts(tmp_path):
    tiny_config("llama").save_pretrained(tmp_path)
    fails(tmp_path, "no tokenizer files")
    tiny_tokenizer().save_pretrained(tmp_path)
    fails(tmp_path, "cannot load the weights")
    (tmp_path / "model.safetensors").write_bytes(b"short")
    fails(tmp_path, "damaged")
    (tmp_path / "model.safetensors").unlink()
    tiny_model("llama").model.save_pretrained(tmp_path)  # the trunk alone, no head
    fails(tmp_path, r"lacks weights of a causal language model \(lm_head.weight\)")


def test_a_truncated_shard(tmp_path):
    folder = save_checkpoint(tmp_path / "cut", shard_size="1GB")
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    fails(folder, "damaged")


def test_revision_in_the_name(monkeypatch):
    import hfbiasedit.hub.pull as pull

    asked = []
    monkeypatch.setattr(
        pull, "pull_model", lambda *arguments, **rest: asked.append((*arguments, *rest.values()))
    )
    resolve_model("org/name@v1")
    resolve_model("org/name", "v2", weights=False)
    resolve_model("name")
    resolve_model("name", gguf="x.gguf")
    assert asked == [
        ("org/name", "v1", True, None),
        ("org/name", "v2", False, None),
        ("name", None, True, None),
        ("name", None, True, "x.gguf"),
    ]
    with pytest.raises(BiasEditError, match="another"):
        resolve_model("org/name@v1", "v2")
