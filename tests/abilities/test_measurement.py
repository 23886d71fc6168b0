import json
import shutil
import sys

import pytest
import torch
from typer.testing import CliRunner

import hfbiasedit
from hfbiasedit.abilities.config import AbilityConfig
from hfbiasedit.abilities.measurement import measure_ability
from hfbiasedit.abilities.problems import completions
from hfbiasedit.cli.app import app
from hfbiasedit.documents.schemas import check_document
from hfbiasedit.documents.structures.ability_document import Ability
from hfbiasedit.errors import BiasEditError, UsageError
from hfbiasedit.models.loading import load_model
from hfbiasedit.patches.loading import with_patch
from hfbiasedit.patches.patch import Patch
from tests.abilities.test_humaneval import OWN
from tests.tiny import save_checkpoint

CODE = {"tasks": ("humaneval",), "allow_code_execution": True, "problems": OWN}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("model"), dtype="float32")


@pytest.fixture(scope="module")
def patch_file(checkpoint, tmp_path_factory):
    base, other = load_model(checkpoint), load_model(checkpoint)
    with torch.no_grad():
        other.model.model.layers[1].mlp.down_proj.weight[:4] *= 1.5
    path = tmp_path_factory.mktemp("patch") / "patch.safetensors"
    Patch.from_models(base, other).save(path)
    return path


def invoke(*arguments):
    return CliRunner().invoke(app, ["ability", *map(str, arguments)])


def test_the_document_of_a_model_alone(checkpoint):
    document = hfbiasedit.ability(checkpoint, limit=3, max_new_tokens=4)
    assert check_document(document, Ability, "") is document
    assert document["schema"] == "hfbiasedit.ability/1"
    assert document["model"]["id"] == str(checkpoint)
    assert document["model"]["dtype"] == "float32"
    assert document["patch"] is None
    assert "after" not in document["perplexity"]
    assert "after" not in document["syntax"]
    assert document["perplexity"]["text"]["documents"] == 3
    assert document["seconds"] > 0
    json.dumps(document, allow_nan=False)


def test_before_and_after_a_patch_in_one_load(checkpoint, patch_file, monkeypatch):
    calls = []
    original = load_model

    def counted(*args, **kwargs):
        calls.append(args)
        return original(*args, **kwargs)

    monkeypatch.setattr("hfbiasedit.models.loading.load_model", counted)
    document = measure_ability(
        checkpoint,
        patch=patch_file,
        limit=3,
        max_new_tokens=4,
        **{**CODE, "tasks": ("perplexity", "syntax", "humaneval")},
    )
    assert len(calls) == 1
    assert document["patch"] == Patch.load(patch_file).digest
    part = document["perplexity"]
    assert part["kl_mean"] > 0
    assert (
        part["relative_change_ci95"][0]
        <= part["relative_change"]
        <= part["relative_change_ci95"][1]
    )
    for task in ("syntax", "humaneval"):
        assert {"before", "after", "difference"} <= set(document[task])
    loaded = with_patch(load_model(checkpoint), patch_file)
    check_document(document, Ability, "")
    alone = measure_ability(loaded, limit=3, tasks=("perplexity",))
    assert alone["patch"] == document["patch"]
    assert alone["perplexity"]["before"]["token_perplexity"] == pytest.approx(
        part["after"]["token_perplexity"], rel=1e-5
    )


def test_an_unchanged_model_changes_nothing(checkpoint):
    base, other = load_model(checkpoint), load_model(checkpoint)
    with torch.no_grad():  # the first position of the embedding of a token that no text has
        other.model.lm_head.weight[511, 0] += 1e-7
    patch = Patch.from_models(base, other)
    document = measure_ability(base, patch=patch, limit=3, max_new_tokens=4)
    assert document["perplexity"]["kl_mean"] < 1e-9
    assert document["perplexity"]["top1_changed"] == 0
    assert document["syntax"]["before"] == document["syntax"]["after"]


def test_samples_are_saved_and_resumed(checkpoint, patch_file, tmp_path, monkeypatch):
    path = tmp_path / "deep" / "samples.jsonl"
    options = {**CODE, "save_samples": path, "n": 2, "k": (1, 2), "limit": 4, "max_new_tokens": 5}
    whole = measure_ability(checkpoint, batch_size="3", **options)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) == 8
    assert set(rows[0]) == {"task_id", "completion", "sample", "finish"}
    # A run killed in the middle of a line.
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:5]) + lines[5][:10])
    asked = []
    original = completions.complete

    def counted(loaded, requests, *args, **kwargs):
        asked.append(len(requests))
        return original(loaded, requests, *args, **kwargs)

    monkeypatch.setattr(completions, "complete", counted)
    again = measure_ability(checkpoint, batch_size="3", **options)
    assert asked == [3]
    assert again["humaneval"] == whole["humaneval"]
    assert sorted(path.read_text().splitlines()) == sorted("".join(lines).splitlines())
    judged = measure_ability(None, **{**CODE, "limit": 4, "k": (1, 2)}, samples=path)
    check_document(judged, Ability, "")
    assert judged["humaneval"]["before"] == whole["humaneval"]["before"]
    for change in ({"seed": 1}, {"temperature": 0.5}, {"limit": 3}, {"max_new_tokens": 6}):
        with pytest.raises(BiasEditError, match="another model, patch or settings"):
            measure_ability(checkpoint, **{**options, **change})
    both = measure_ability(checkpoint, patch=patch_file, **options)
    check_document(both, Ability, "")
    assert both["humaneval"]["before"] == whole["humaneval"]["before"]
    assert (tmp_path / "deep" / "samples.before.jsonl").exists()
    assert (tmp_path / "deep" / "samples.after.jsonl").exists()


def test_a_changed_checkpoint_is_not_resumed(checkpoint, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(checkpoint, model)
    options = {**CODE, "save_samples": tmp_path / "s.jsonl", "limit": 1, "max_new_tokens": 2}
    measure_ability(model, **options)
    save_checkpoint(model, dtype="float32", seed=1)
    with pytest.raises(BiasEditError, match="another model"):
        measure_ability(model, **options)


def test_other_end_tokens_are_not_resumed_and_are_told(checkpoint, tmp_path):
    """`generation_config.json` names them, and is no part of what identifies a local model."""
    model = tmp_path / "model"
    shutil.copytree(checkpoint, model)
    options = {**CODE, "save_samples": tmp_path / "s.jsonl", "limit": 1, "max_new_tokens": 2}
    first = measure_ability(model, **options)
    check_document(first, Ability, "")
    about = json.loads((tmp_path / "s.jsonl.about.json").read_text())
    assert "ends" not in about  # as usual, so that files of earlier versions can be continued
    settings = json.loads((model / "generation_config.json").read_text())
    settings["eos_token_id"] = [first["ends"][0], 7]
    (model / "generation_config.json").write_text(json.dumps(settings))
    with pytest.raises(BiasEditError, match="another model, patch or settings"):
        measure_ability(model, **options)
    again = measure_ability(model, **{**options, "save_samples": None})
    assert again["model"]["digest"] == first["model"]["digest"]
    assert again["ends"] == sorted({*first["ends"], 7})


def test_the_text_of_the_anchor_is_refused_before_a_model_is_loaded(tmp_path):
    own = tmp_path / "own.py"
    own.write_text("".join(f"result_{n} = do_something({n})\n" for n in range(20)))
    with pytest.raises(BiasEditError, match="repeats code of the anchor"):
        measure_ability(tmp_path / "no model", text=own, anchor=str(own))


def test_what_a_patch_was_anchored_on_is_enforced(checkpoint, patch_file, tmp_path):
    own = tmp_path / "own.py"
    own.write_text("".join(f"result_{n} = do_something({n})\n" for n in range(20)))
    patch = Patch.load(patch_file)
    anchored = Patch(patch.tensors, {"edit": {"options": {"anchor": str(own)}}})
    options = {"patch": anchored, "tasks": ("perplexity",), "limit": 2}
    with pytest.raises(BiasEditError, match="repeats code of the anchor"):
        measure_ability(checkpoint, text=own, **options)
    assert "after" in measure_ability(checkpoint, **options)["perplexity"]
    own.rename(tmp_path / "moved.py")
    with pytest.raises(BiasEditError, match="cannot be read here.*--anchor"):
        measure_ability(checkpoint, **options)
    with pytest.raises(BiasEditError, match="repeats code of the anchor"):
        measure_ability(
            checkpoint, **options, text=tmp_path / "moved.py", anchor=str(tmp_path / "moved.py")
        )


USAGE = {
    "no code execution": (["m", "--tasks", "humaneval"], "--allow-code-execution"),
    "an unknown task": (["m", "--tasks", "poetry"], "unknown task 'poetry'"),
    "no task": (["m", "--tasks", ","], "no task given"),
    "no model": ([], "name a MODEL"),
    "samples for another task": (["--samples", "s", "--tasks", "syntax"], "only be judged"),
    "samples without consent": (["--samples", "s"], "--allow-code-execution"),
    "samples with a patch": (["--samples", "s", "--allow-code-execution", "--patch", "p"], "no before and after"),
    "equal completions": (["m", "-n", "3", "--temperature", "0"], "give a temperature"),
    "a stride that skips": (["m", "--window", "8", "--stride", "9"], "larger than window"),
    "no completions": (["m", "-n", "0"], "give at least 1"),
    "text and dataset": (["m", "--text", "a", "--dataset", "b"], "not both"),
    "a batch size": (["m", "--batch-size", "many"], "neither auto nor a number"),
    "compressed completions": (["m", "--save-samples", "x.jsonl.gz"], "save them in x.jsonl"),
    "a nucleus": (["m", "--top-p", "0"], "top_p"),
    "a negative temperature": (["m", "--temperature", "-1"], "temperature"),
}  # fmt: skip


@pytest.mark.parametrize("name", USAGE)
def test_wrong_usage_is_named(name):
    arguments, message = USAGE[name]
    result = invoke(*arguments)
    assert isinstance(result.exception, UsageError), result.output
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)


def test_a_k_that_is_no_number_is_wrong_usage():
    result = invoke("m", "-k", "one")
    assert result.exit_code == 2


def test_json_is_one_document_and_tables_are_for_people(tmp_path):
    rows = [json.loads(line) for line in OWN.read_text().splitlines()][:3]
    samples = tmp_path / "samples.jsonl"
    samples.write_text("".join(
        json.dumps({"task_id": r["task_id"], "completion": r["canonical_solution"]}) + "\n" for r in rows
    ))  # fmt: skip
    arguments = ["--samples", samples, "--problems", OWN, "--allow-code-execution"]
    result = invoke(*arguments, "--json", "--out", tmp_path / "ability.json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["humaneval"]["before"]["pass@1"] == 1.0
    assert document["model"] is None
    assert json.loads((tmp_path / "ability.json").read_text()) == document
    result = invoke(*arguments, "--out", tmp_path / "run")
    assert json.loads((tmp_path / "run" / "ability.json").read_text())["humaneval"]
    table = result.stdout
    assert "pass@1" in table
    assert "100.0%" in table


def test_tables_of_before_and_after(checkpoint, patch_file):
    result = invoke(
        checkpoint, "--patch", patch_file, "--limit", "2", "--max-new-tokens", "4",
        "--tasks", "perplexity,syntax,generation", "--people", "4", "--looks", "1",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    for text in ("before", "after", "per byte", "KL, mean", "greedy", "What the model wrote"):
        assert text in result.stdout


def test_the_config_is_cheap_to_import():
    import subprocess

    code = "import sys, hfbiasedit.cli.ability; print([m for m in ('torch', 'transformers', 'numpy', 'datasets') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_defaults_are_those_of_the_config():
    import inspect

    from hfbiasedit.cli.ability import ability

    config = AbilityConfig()
    for name, parameter in inspect.signature(ability).parameters.items():
        if name in ("model", "out", "as_json"):
            continue
        expected = getattr(config, name)
        if isinstance(expected, tuple):
            expected = ",".join(map(str, expected))
        assert parameter.default == expected, name
