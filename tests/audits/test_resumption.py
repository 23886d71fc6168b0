from __future__ import annotations

import json

import pytest
import torch

from hfbiasedit import audit
from hfbiasedit.audits.identity import check_same, identity
from hfbiasedit.audits.resumption import PartialFile
from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.loading import load_model
from hfbiasedit.patches.patch import Patch
from tests.scoring.worlds import records, save, write_prompts
from tests.tiny import tiny_model


@pytest.fixture
def options(tmp_path):
    save(tmp_path / "model", tiny_model("llama"))
    write_prompts(tmp_path / "prompts.jsonl", records())
    return dict(
        model=tmp_path / "model",
        prompts=tmp_path / "prompts.jsonl",
        partial=tmp_path / "partial.jsonl",
        batch_size=4,
    )


@pytest.fixture
def interrupted(options, monkeypatch):
    """The options of an audit that was interrupted after five batches."""
    add, count = PartialFile.add, 0

    def limited(self, *arguments):
        nonlocal count
        count += 1
        if count > 5:
            raise KeyboardInterrupt
        add(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(PartialFile, "add", limited)
        with pytest.raises(KeyboardInterrupt):
            audit(**options)
    assert len(options["partial"].read_text().splitlines()) == 6
    return options


def comparable(report):
    return {**report.to_dict(), "seconds": 0}


def test_resumes_to_the_same_report(interrupted, capsys):
    scored = []
    resumed = audit(**interrupted, resume=True)
    partial = interrupted["partial"]
    assert not partial.exists()
    assert comparable(resumed) == comparable(audit(**interrupted))
    assert not partial.exists()
    assert scored == []


def test_only_the_rest_is_computed(interrupted, monkeypatch):
    added = []
    add = PartialFile.add
    monkeypatch.setattr(
        PartialFile, "add", lambda self, i, m, f: (added.extend(i), add(self, i, m, f))
    )
    done = sum(
        len(json.loads(line)["index"])
        for line in interrupted["partial"].read_text().splitlines()[1:]
    )
    audit(**interrupted, resume=True)
    assert len(added) == len(records()) - done


def test_a_line_cut_off_by_a_crash_is_computed_again(interrupted):
    path = interrupted["partial"]
    path.write_text(path.read_text()[:-25])
    assert comparable(audit(**interrupted, resume=True)) == comparable(audit(**interrupted))


def test_interrupted_twice(interrupted, monkeypatch):
    add = PartialFile.add
    with monkeypatch.context() as patched:

        def once(self, *arguments):
            add(self, *arguments)
            raise KeyboardInterrupt

        patched.setattr(PartialFile, "add", once)
        with pytest.raises(KeyboardInterrupt):
            audit(**interrupted, resume=True)
    assert len(interrupted["partial"].read_text().splitlines()) == 7
    assert comparable(audit(**interrupted, resume=True)) == comparable(audit(**interrupted))


def refuses(options, message, **changes):
    before = options["partial"].read_bytes()
    with pytest.raises(BiasEditError, match=message):
        audit(**{**options, **changes}, resume=True)
    assert options["partial"].read_bytes() == before


def test_refuses_another_measurement(interrupted, tmp_path):
    refuses(interrupted, "the dtype changed", dtype="bfloat16")
    refuses(interrupted, "the batch size changed", batch_size=5)
    refuses(interrupted, "the prompts changed", limit=40)
    base, edited = load_model(interrupted["model"]), load_model(interrupted["model"])
    edited.model.lm_head.weight.data[0, 0] += 1
    Patch.from_models(base, edited).save(tmp_path / "p.safetensors")
    refuses(interrupted, "the patch changed", patch=tmp_path / "p.safetensors")
    refuses(interrupted, "the model, the dtype changed", model=_other(tmp_path), dtype="float16")
    # One weight changed in place: same size, same header.
    (weights,) = interrupted["model"].glob("*.safetensors")
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    refuses(interrupted, "the model changed")


def test_every_part_of_the_identity_counts(tmp_path):
    """Also those that one machine cannot change: the device, the versions."""
    loaded = load_model(_other(tmp_path))
    first = identity(loaded, "digest", "auto", "engine", False)
    check_same(first, dict(first), tmp_path)
    assert first["device"] == "cpu"
    words = {
        "weights": "the model changed", "patch": "the patch changed", "dtype": "the dtype changed",
        "prompts": "the prompts changed", "batch_size": "the batch size changed",
        "scorer": "the backend changed", "chat": "the use of a chat template changed",
        "quantized": "the quantisation changed", "device": "the device changed",
        "versions": "versions of torch or transformers changed",
    }  # fmt: skip
    assert words.keys() == first.keys()
    for key, message in words.items():
        with pytest.raises(BiasEditError, match=message):
            check_same(first | {key: "another"}, first, tmp_path)


def _other(tmp_path):
    return save(tmp_path / "other", tiny_model("llama", seed=3))


@pytest.mark.parametrize("content", ["", "{}\n", "not json\n", "\x00\xff"])
def test_refuses_what_is_no_partial_file(options, content):
    options["partial"].write_text(content)
    with pytest.raises(BiasEditError, match="no partial audit"):
        audit(**options, resume=True)


def test_refuses_damage_and_absence(interrupted):
    path = interrupted["partial"]
    text = path.read_text()
    for row in ({"index": [999], "log_male": [0], "log_female": [0]}, {"index": [1]}, {"index": 3}):
        path.write_text(text + json.dumps(row) + "\n")
        refuses(interrupted, "damaged")
    path.unlink()
    with pytest.raises(BiasEditError, match="nothing to resume"):
        audit(**interrupted, resume=True)


def test_a_probability_of_zero_survives(options, tmp_path):
    file = PartialFile(tmp_path / "p", {"weights": "x"}, 2)
    file.add([0, 1], torch.tensor([-1.5, float("-inf")]).numpy(), torch.zeros(2).numpy())
    file.close()
    again = PartialFile(tmp_path / "p", {"weights": "x"}, 2)
    assert again.resume() == {0: (-1.5, 0.0), 1: (float("-inf"), 0.0)}


def test_a_loaded_model_leaves_no_partial_file(options):
    loaded = load_model(options["model"])
    with pytest.raises(BiasEditError, match="from disk or the Hub"):
        audit(**{**options, "model": loaded}, resume=True)
    audit(**{**options, "model": loaded})
    assert not options["partial"].exists()


def test_lines_of_another_audit_in_the_same_file_are_not_taken(tmp_path):
    values = torch.zeros(1).numpy()
    first = PartialFile(tmp_path / "p", {"weights": "first"}, 3)
    first.add([0], values, values)
    second = PartialFile(tmp_path / "other", {"weights": "second"}, 3)
    second.add([1], values - 7, values)
    stray = (tmp_path / "other").read_text().splitlines()[1]
    with open(tmp_path / "p", "a") as file:
        file.write(stray + "\n")
    assert PartialFile(tmp_path / "p", {"weights": "first"}, 3).resume() == {0: (0.0, 0.0)}


def test_starting_afresh_keeps_the_earlier_results_aside(interrupted, capsys):
    earlier = interrupted["partial"].read_bytes()
    audit(**interrupted)
    aside = interrupted["partial"].with_name("partial.jsonl.old")
    assert aside.read_bytes() == earlier
    assert "kept in" in capsys.readouterr().err


def test_without_a_place_for_partial_results_the_audit_goes_on(options, capsys):
    (options["model"].parent / "file").write_text("x")
    report = audit(**{**options, "partial": options["model"].parent / "file" / "partial"})
    assert report.fb_score > 0
    assert capsys.readouterr().err.count("no partial results are kept") == 1
