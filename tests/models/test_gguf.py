"""Weights from GGUF files: the same scores as from safetensors, and what is refused."""

from __future__ import annotations

import sys

import pytest
import torch

from hfbiasedit import audit
from hfbiasedit.abilities.measurement import measure_ability
from hfbiasedit.documents.setups import setup_words
from hfbiasedit.editing.editor import edit
from hfbiasedit.errors import BiasEditError, UsageError
from hfbiasedit.models.loading import load_model
from tests.gguf_file import qwen2_tokenizer, write_gguf
from tests.hub_server.fixtures import hub, hub_client  # noqa: F401
from tests.scoring.worlds import records, save, write_prompts
from tests.tiny import tiny_model, tiny_tokenizer

pytest.importorskip("gguf", reason="gguf is not installed (the extra `gguf`)")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A checkpoint, and a folder with nothing but GGUF files of the same weights."""
    folder = tmp_path_factory.mktemp("gguf")
    model = tiny_model("qwen2")
    save(folder / "model", model, qwen2_tokenizer(tiny_tokenizer()))
    (folder / "files").mkdir()
    for kind in ("F32", "Q8_0"):
        write_gguf(folder / "files" / f"tiny-{kind}.gguf", model, tiny_tokenizer(), kind)
    own = write_prompts(folder / "own.jsonl", records())
    return folder / "model", folder / "files", dict(prompts=own, samples=50)


def test_the_same_weights_give_the_same_score(world):
    folder, files, options = world
    plain = audit(folder, **options)
    for model, gguf in (
        (files / "tiny-F32.gguf", None),
        (files, "tiny-F32.gguf"),
        (folder, files / "tiny-F32.gguf"),
    ):
        report = audit(model, gguf=gguf, **options)
        assert report.fb_score == pytest.approx(plain.fb_score, abs=1e-4)
        found = report.to_dict()["model"]
        assert found["quantization"] is None
        assert found["gguf"]["file"] == "tiny-F32.gguf"
        own = "the model's files" if model == folder else "the GGUF file"
        assert found["gguf"]["tokenizer"] == own
        assert any(f"the tokenizer is that of {own}" in note for note in report.notes)
        assert setup_words(report.to_dict()) == ["gguf"]
        assert found["digest"] != plain.to_dict()["model"]["digest"]


def test_quantised_blocks_are_measured_as_they_are(world):
    folder, files, options = world
    report = audit(files, gguf="tiny-Q8_0.gguf", **options)
    document = report.to_dict()
    assert document["model"]["quantization"] == "gguf Q8_0"
    assert set(document["model"]["gguf"]["weights"]) == {"Q8_0", "F32"}
    assert sum(document["model"]["gguf"]["weights"].values()) == document["model"]["parameters"]
    assert setup_words(document) == ["gguf Q8_0"]
    # Against weights that were rounded by hand: blocks of 32 with a float16 scale of max / 127.
    model = load_model(folder)
    for name, weight in model.model.named_parameters():
        if "_proj.weight" in name:
            blocks = weight.data.view(-1, 32)
            scale = blocks.abs().amax(1, keepdim=True) / 127
            codes = (blocks / scale).round()
            weight.data = (codes * scale.half().float()).view_as(weight)
    by_hand = audit(model, **options)
    assert report.fb_score == pytest.approx(by_hand.fb_score, abs=1e-3)
    assert report.fb_score != audit(folder, **options).fb_score


def test_ability_reads_the_file_too(world):
    folder, files, _ = world
    options = dict(tasks=("perplexity",), limit=1, window=64)
    plain, found = (
        measure_ability(folder, gguf=gguf, **options) for gguf in (None, files / "tiny-F32.gguf")
    )
    sides = [document["perplexity"]["before"]["token_perplexity"] for document in (plain, found)]
    assert sides[0] == pytest.approx(sides[1], rel=1e-5)
    assert found["model"]["gguf"]["file"] == "tiny-F32.gguf"


def test_one_file_of_a_repository_is_fetched(world, hub, hub_client):  # noqa: F811
    _, files, options = world
    hub_client.create_repo(
        "org/tiny-gguf", {file.name: file.read_bytes() for file in files.iterdir()}
    )
    report = audit("org/tiny-gguf", gguf="tiny-Q8_0.gguf", **options)
    assert report.fb_score == audit(files, gguf="tiny-Q8_0.gguf", **options).fb_score
    assert report.to_dict()["model"]["id"] == "org/tiny-gguf"
    with pytest.raises(BiasEditError, match="it has tiny-F32.gguf, tiny-Q8_0.gguf"):
        audit("org/tiny-gguf", gguf="Q4.gguf", **options)
    with pytest.raises(BiasEditError, match="audit one of them with --gguf"):
        audit("org/tiny-gguf", **options)


def test_what_cannot_be_used_is_one_line(world, tmp_path, monkeypatch):
    folder, files, options = world
    with pytest.raises(BiasEditError, match="it has tiny-F32.gguf, tiny-Q8_0.gguf"):
        audit(files, gguf="missing.gguf", **options)
    with pytest.raises(BiasEditError, match="has no GGUF file x.gguf; it has none"):
        audit(folder, gguf="x.gguf", **options)
    with pytest.raises(BiasEditError, match="demo has no GGUF file x.gguf; it has none"):
        audit("demo", gguf="x.gguf", **options)
    with pytest.raises(BiasEditError, match="no such file: nowhere.gguf"):
        audit("nowhere.gguf", **options)
    with pytest.raises(BiasEditError, match="other sizes than the configuration says"):
        audit("demo", gguf=files / "tiny-F32.gguf", **options)
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"not at all")
    with pytest.raises(BiasEditError, match="is no GGUF file, or is damaged"):
        audit(broken, **options)
    whole = (files / "tiny-F32.gguf").read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BiasEditError, match="is no GGUF file, or is damaged"):
        audit(broken, **options)
    with pytest.raises(UsageError, match="leave --gguf and --revision out"):
        audit(files / "tiny-F32.gguf", gguf="tiny-F32.gguf", **options)
    with pytest.raises(UsageError, match="leave --quantize out"):
        audit(files, gguf="tiny-F32.gguf", quantize="int4", **options)
    with pytest.raises(UsageError, match="give gguf to load_model"):
        audit(load_model(folder), gguf="tiny-F32.gguf", **options)
    loaded = load_model(files, gguf="tiny-F32.gguf")
    with pytest.raises(BiasEditError, match="the GGUF file was made from"):
        edit(loaded, out=tmp_path / "run")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(BiasEditError, match=r"pip install 'hfbiasedit\[gguf\]'"):
        audit(files, gguf="tiny-F32.gguf", **options)


def test_the_file_decides_what_a_model_is(world, tmp_path):
    """A partial result of one file is not continued with another."""
    from hfbiasedit.models.provenance import weights_identity

    _, files, _ = world
    names = {
        weights_identity(load_model(files, gguf=f"tiny-{kind}.gguf").source)
        for kind in ("F32", "Q8_0")
    }
    assert len(names) == 2
    one = load_model(files, gguf="tiny-F32.gguf").model.state_dict()
    other = load_model(files, gguf="tiny-Q8_0.gguf").model.state_dict()
    assert any(not torch.equal(one[name], other[name]) for name in one)
