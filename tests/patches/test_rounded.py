"""A patch between quantised models: what is measured is the edited model, then quantised."""

from __future__ import annotations

import pytest
import torch

from hfbiasedit import audit
from hfbiasedit.abilities.measurement import measure_ability
from hfbiasedit.errors import BiasEditError, UsageError
from hfbiasedit.models.loading import load_model
from hfbiasedit.models.quantising import quantise
from hfbiasedit.patches.building import Change
from hfbiasedit.patches.checkpoint import apply_patch
from hfbiasedit.patches.patch import Patch
from hfbiasedit.patches.rounded import quantise_both
from tests.scoring.worlds import records, write_prompts
from tests.tiny import save_checkpoint

pytest.importorskip("torchao", reason="torchao is not installed (the extra `quantize`)")
MATRIX, NORM = "model.layers.1.mlp.down_proj.weight", "model.layers.0.input_layernorm.weight"


@pytest.fixture(params=["llama", "gpt2"])
def made(request, tmp_path):
    """A checkpoint, a patch of a matrix and of a norm, and the patched checkpoint."""
    folder = save_checkpoint(tmp_path / "model", request.param, dtype="float32", shard_size="1GB")
    model = load_model(folder)
    matrix, norm = MATRIX, NORM
    if request.param == "gpt2":
        matrix, norm = "transformer.h.1.mlp.c_proj.weight", "transformer.h.0.ln_1.weight"
    weights = model.model.get_parameter(matrix).data
    rows = torch.tensor([1, 5])
    axis = 1 if request.param == "gpt2" else 0
    changes = {
        matrix: Change("rows", rows, weights.index_select(axis, rows).reshape(2, -1) * 3, axis)
        if axis == 0
        else Change("rows", rows, weights[:, rows].T.contiguous() * 3, axis),
        norm: Change("whole", None, model.model.get_parameter(norm).data * 1.5),
    }
    patch = Patch.from_changes(model, changes)
    patch.save(tmp_path / "patch.safetensors")
    apply_patch(folder, patch, tmp_path / "patched")
    return folder, tmp_path / "patch.safetensors", tmp_path / "patched"


@pytest.mark.parametrize("name", ["int8", "int4"])
def test_before_and_after_are_the_two_checkpoints_quantised(made, name):
    folder, path, patched = made
    model, patch = load_model(folder), Patch.load(path)
    found = quantise_both(model, patch, name)
    assert found.digest == patch.digest
    base, edited = (
        quantise(load_model(where), name).model.state_dict() for where in (folder, patched)
    )
    assert any(not torch.equal(base[key], edited[key]) for key in base)
    with found.applied(model):
        assert model.patch_digest == patch.digest
        for key, value in model.model.state_dict().items():
            assert torch.equal(value, edited[key]), key
    assert model.patch_digest is None
    for key, value in model.model.state_dict().items():
        assert torch.equal(value, base[key]), key


def test_an_audit_with_a_patch_is_that_of_the_patched_checkpoint(made, tmp_path):
    folder, path, patched = made
    own = write_prompts(tmp_path / "own.jsonl", records())
    options = dict(prompts=own, samples=50, quantize="int4")
    report = audit(folder, patch=path, **options)
    assert report.fb_score == audit(patched, **options).fb_score
    assert report.fb_score != audit(folder, **options).fb_score
    assert report.to_dict()["patch"] == Patch.load(path).digest


def test_ability_before_and_after_is_that_of_the_two_checkpoints(made, capsys):
    folder, path, patched = made
    options = dict(tasks=("perplexity",), limit=2, window=64, quantize="int4")
    both = measure_ability(folder, patch=path, **options)
    assert both["model"]["quantized"]["method"] == "int4"
    for side, where in (("before", folder), ("after", patched)):
        alone = measure_ability(where, **options)["perplexity"]["before"]
        assert both["perplexity"][side]["token_perplexity"] == alone["token_perplexity"]
    plain = measure_ability(folder, **{**options, "quantize": None})
    assert plain["perplexity"]["before"] != both["perplexity"]["before"]
    assert plain["model"]["quantization"] is None


def test_samples_of_quantised_weights_are_not_continued_by_others(tmp_path):
    folder = save_checkpoint(tmp_path / "model")
    problem = '{"task_id": "a/0", "prompt": "def f():\\n", "test": "def check(f):\\n    assert f() == 1", '
    (tmp_path / "problems.jsonl").write_text(
        problem + '"entry_point": "f", "canonical_solution": "    return 1\\n"}\n'
    )
    options = dict(
        tasks=("humaneval",),
        problems=tmp_path / "problems.jsonl",
        save_samples=tmp_path / "samples.jsonl",
        allow_code_execution=True,
        max_new_tokens=4,
    )
    measure_ability(folder, quantize="int8", **options)
    with pytest.raises(BiasEditError, match="another model, patch or settings"):
        measure_ability(folder, quantize="int4", **options)
    with pytest.raises(UsageError, match="ready-made samples"):
        measure_ability(
            None, tasks=("humaneval",), samples=tmp_path / "samples.jsonl", quantize="int4",
            allow_code_execution=True,
        )  # fmt: skip
