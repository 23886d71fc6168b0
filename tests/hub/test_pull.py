"""Pulling models and patches from the local Hub with the real client."""

from __future__ import annotations

import json

import pytest
from huggingface_hub import constants, errors

from hfbiasedit.errors import BiasEditError
from hfbiasedit.hub.failures import explain
from hfbiasedit.hub.pull import model_files, pull_model, pull_patch
from tests.hub_server import ALICE_READ_TOKEN, BOB_TOKEN

WEIGHTS = bytes(range(256)) * 2000
MODEL = {
    "config.json": b'{"model_type": "llama"}',
    "generation_config.json": b"{}",
    "tokenizer.json": b'{"version": "1.0"}',
    "tokenizer_config.json": b"{}",
    "README.md": b"---\nlicense: mit\n---\n# A model\n",
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"same weights, older format" * 100,
    "tf_model.h5": b"same again" * 100,
    "original/consolidated.00.pth": b"and again" * 100,
    "figures/loss.png": b"\x89PNG",
}
WANTED = {
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
    "README.md", "model.safetensors",
}  # fmt: skip


def names(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_pulls_the_needed_files_pinned_to_a_commit(hub_client):
    repository = hub_client.create_repo("acme/model", MODEL)
    source = pull_model("acme/model")
    assert source.id == "acme/model"
    assert source.commit == repository.head
    assert source.requested_revision is None
    assert names(source.path) == WANTED
    assert (source.path / "model.safetensors").read_bytes() == WEIGHTS
    assert hub_client.leaks == []  # the token stays with the Hub


def test_an_adapter_beside_a_model_stays_on_the_hub(hub_client, capsys):
    extra = {"adapter_config.json": b"{}", "adapter_model.safetensors": b"adapter"}
    hub_client.create_repo("acme/model", MODEL | extra)
    assert names(pull_model("acme/model").path) == WANTED
    assert "acme/model also holds an adapter" in capsys.readouterr().err


def test_without_weights_only_what_describes_the_model_is_fetched(hub_client):
    hub_client.create_repo("acme/model", MODEL)
    source = pull_model("acme/model", weights=False)
    assert names(source.path) == WANTED - {"model.safetensors"}
    assert names(pull_model("acme/model").path) == WANTED  # what is missing is fetched later


def test_a_revision_is_a_branch_a_tag_a_commit_or_part_of_the_name(hub_client):
    repository = hub_client.create_repo("acme/model", MODEL)
    first = repository.head
    repository.refs["refs/tags/v1"] = first
    second = repository.write({"config.json": b'{"model_type": "gpt2"}'}, branch="next")
    assert pull_model("acme/model", "next").commit == second
    assert pull_model("acme/model@next").commit == second
    assert pull_model("acme/model", "v1").commit == first
    assert pull_model("acme/model", first).commit == first
    with pytest.raises(errors.RevisionNotFoundError) as caught:
        pull_model("acme/model", "nowhere")
    assert "has no revision 'nowhere'" in explain(caught.value)


def test_sharded_weights_come_with_all_shards_and_nothing_else(hub_client):
    index = {
        "metadata": {},
        "weight_map": {
            "a": "model-00001-of-00002.safetensors",
            "b": "model-00002-of-00002.safetensors",
        },
    }
    files = {
        "config.json": b"{}",
        "model.safetensors.index.json": json.dumps(index).encode(),
        "model-00001-of-00002.safetensors": b"1" * 100,
        "model-00002-of-00002.safetensors": b"2" * 100,
        "consolidated.safetensors": b"12" * 100,
        "pytorch_model.bin": b"12" * 100,
    }
    repository = hub_client.create_repo("acme/shards", files)
    source = pull_model("acme/shards")
    assert names(source.path) == set(files) - {"consolidated.safetensors", "pytorch_model.bin"}
    del files["model-00002-of-00002.safetensors"]
    repository.write({"model-00002-of-00002.safetensors": None})
    with pytest.raises(BiasEditError, match="incomplete: model-00002-of-00002"):
        pull_model("acme/shards")


def test_pickled_weights_are_taken_only_where_there_are_no_others(hub_client):
    hub_client.create_repo("acme/old", {"config.json": b"{}", "pytorch_model.bin": b"x" * 50})
    assert names(pull_model("acme/old").path) == {"config.json", "pytorch_model.bin"}


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ({"patch.safetensors"}, "holds a patch"),
        ({"adapter_config.json"}, "adapter"),
        ({"model_index.json"}, "diffusion"),
        ({"model.Q4.gguf"}, "GGUF"),
        ({"README.md"}, "no config.json"),
        ({"config.json", "tf_model.h5"}, "no weights"),
    ],
)
def test_what_is_no_model_is_named(files, text):
    with pytest.raises(BiasEditError, match=text):
        model_files("acme/thing", files, lambda path: "")


def test_a_broken_index_is_named():
    files = {"config.json", "model.safetensors.index.json"}
    with pytest.raises(BiasEditError, match="no index of weights"):
        model_files("acme/thing", files, lambda path: "[]")


def test_a_cached_commit_needs_no_network(hub_client, monkeypatch):
    hub_client.create_repo("acme/model", MODEL)
    source = pull_model("acme/model")
    before = len(hub_client.records)
    assert pull_model("acme/model", source.commit).path == source.path
    assert len(hub_client.records) == before
    assert pull_model("acme/model").path == source.path  # one question: where is main?
    assert len(hub_client.records) == before + 1
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert pull_model("acme/model").path == source.path
    hub_client.stop()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert pull_model("acme/model").path == source.path  # the Hub is down, the cache is not


def test_offline_with_an_empty_cache(hub_client, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(errors.RevisionResolutionError) as caught:
        pull_model("acme/model")
    assert "offline mode is on" in explain(caught.value)


def test_private_gated_and_missing(hub_client, monkeypatch):
    hub_client.create_repo("alice/secret", MODEL, private=True)
    gated = hub_client.create_repo("acme/gated", MODEL, gated=True)
    monkeypatch.setenv("HF_TOKEN", ALICE_READ_TOKEN)
    assert pull_model("alice/secret").commit
    hub_client.accounts.add_user("carol", token="hf_carolreadsCCCCCCCCCCCC", role="read")
    monkeypatch.setenv("HF_TOKEN", "hf_carolreadsCCCCCCCCCCCC")
    for name in ("alice/secret", "alice/missing"):
        with pytest.raises(errors.RepositoryNotFoundError) as caught:
            pull_model(name)
        assert "use a token that may see it" in explain(caught.value)
    with pytest.raises(errors.GatedRepoError) as caught:
        pull_model("acme/gated")
    assert f"{hub_client.url}/acme/gated" in explain(caught.value)
    assert "wait until access is granted" in explain(caught.value)
    gated.granted.add("carol")
    assert pull_model("acme/gated").commit == gated.head
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(errors.RepositoryNotFoundError) as caught:
        pull_model("alice/secret")
    assert "hf auth login" in explain(caught.value)
    monkeypatch.setenv("HF_TOKEN", "hf_unknownXXXXXXXXXXXXXXXX")
    with pytest.raises(errors.HfHubHTTPError) as caught:
        pull_model("alice/secret")
    assert "does not know this token" in explain(caught.value)
    assert "hf_unknown" not in explain(caught.value)


@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_that_breaks_in_the_middle_is_resumed(hub_client, monkeypatch, reset):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 50_000)  # real weights are larger
    hub_client.create_repo("acme/model", MODEL)
    hub_client.fault("signature", method="GET", cut=200_000, reset=reset)
    source = pull_model("acme/model")
    assert (source.path / "model.safetensors").read_bytes() == WEIGHTS
    ranges = [r.range for r in hub_client.records if r.host == "cdn"]
    assert len(ranges) == 2
    assert ranges[0] is None
    start = int(ranges[1].removeprefix("bytes=").removesuffix("-"))
    assert 0 < start <= 200_000  # what had arrived is not fetched again


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503},
        {"status": 429, "headers": {"Retry-After": "0"}},
        {"drop": True},
        {"drop": True, "reset": True},
    ],
)
def test_what_passes_by_itself_is_waited_out(hub_client, capsys, fault):
    hub_client.create_repo("acme/model", MODEL)
    hub_client.fault(r"^/api/models/acme/model/revision|^/api/models/acme/model$", times=2, **fault)
    assert pull_model("acme/model").commit
    assert "asking for acme/model again" in capsys.readouterr().err


def test_a_long_rate_limit_is_reported(hub_client):
    hub_client.create_repo("acme/model", MODEL)
    hub_client.fault("/api/models/", status=429, headers={"Retry-After": "3600"}, times=9)
    with pytest.raises(errors.HfHubHTTPError) as caught:
        pull_model("acme/model")
    assert explain(caught.value) == "rate limit of the Hub reached; run again in 3600 s"
    assert hub_client.count("GET", "/api/models/") == 1


def test_weights_that_arrive_damaged_are_fetched_again(hub_client, capsys):
    hub_client.create_repo("acme/model", MODEL)
    hub_client.fault("signature", method="GET", flip=300_000)
    source = pull_model("acme/model")
    assert (source.path / "model.safetensors").read_bytes() == WEIGHTS
    assert "model.safetensors arrived damaged" in capsys.readouterr().err
    hub_client.create_repo("acme/other", MODEL)
    hub_client.fault("signature", method="GET", flip=7, times=2)
    with pytest.raises(BiasEditError, match=r"model.safetensors of acme/other is damaged"):
        pull_model("acme/other")


def test_no_network(hub_client):
    hub_client.stop()
    with pytest.raises(Exception) as caught:
        pull_model("acme/model")
    assert explain(caught.value).startswith(f"cannot reach {hub_client.url}")


def test_a_name_that_cannot_be(hub_client):
    with pytest.raises(errors.HFValidationError) as caught:
        pull_model("acme/mo del")
    assert explain(caught.value).startswith("not a name of a Hub repository")


def test_pulls_a_patch(hub_client, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", BOB_TOKEN)
    repository = hub_client.create_repo(
        "bob/patch", {"patch.safetensors": b"p" * 99, "README.md": b"hi"}
    )
    path = pull_patch("bob/patch")
    assert path.read_bytes() == b"p" * 99
    assert repository.head in str(path)
    hub_client.create_repo("bob/other", {"anything.safetensors": b"q" * 9})
    assert pull_patch("bob/other").name == "anything.safetensors"
    hub_client.create_repo("bob/model", MODEL)
    with pytest.raises(BiasEditError, match="holds no patch"):
        pull_patch("bob/model")
