"""Whole edits of tiny checkpoints: run directories, refusals, several processes, sweeps."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hfbiasedit.documents import runs
from hfbiasedit.documents.mixture import check_patch
from hfbiasedit.documents.reading import open_documents
from hfbiasedit.documents.schemas import read_document
from hfbiasedit.documents.structures.sweep_document import Sweep
from hfbiasedit.editing.config import EditConfig, SweepConfig
from hfbiasedit.editing.editor import NothingHelps, edit
from hfbiasedit.editing.judging import outcome
from hfbiasedit.editing.judging.unhelpful import no_help
from hfbiasedit.editing.solving import adam
from hfbiasedit.editing.solving.task import Outcome
from hfbiasedit.editing.sweep import sweep
from hfbiasedit.editing.weights.selection import Selection
from hfbiasedit.errors import BiasEditError, UsageError
from hfbiasedit.hub.source import ModelSource
from hfbiasedit.models.loading import load_model
from hfbiasedit.models.provenance import weights_identity
from hfbiasedit.patches.loading import with_patch
from hfbiasedit.patches.patch import Patch
from tests.editing import worlds
from tests.hub_server.fixtures import hub, hub_client  # noqa: F401
from tests.pairs import run_two
from tests.tiny import save_checkpoint

pytestmark = pytest.mark.usefixtures("one_figure")
FAST = {"steps": 12, "max_kl": 0.5, "batch_size": 8, "solver": "adam", "saliency": "taylor"}


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    path = tmp_path_factory.mktemp("prompts") / "prompts.jsonl"
    rows = []
    for split in ("edit", "dev", "test_modifiers"):
        for record in worlds.records(split):
            row = record.to_dict()
            row["id"] = f"{split}/{row['id']}"
            if split != "edit":
                row["prompt"] = f"# {split}\n" + row["prompt"]
            rows.append(row)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def anchor(tmp_path_factory):
    path = tmp_path_factory.mktemp("anchor") / "anchor.py"
    path.write_text("def mean(values):\n    return sum(values) / len(values)\n" * 40)
    return str(path)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("model") / "tiny", "llama", dtype="bfloat16")


def test_a_run_is_complete_and_says_what_happened(checkpoint, prompts, anchor, tmp_path):
    before = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    config = EditConfig(granularity="row", budget="10%", prompts=prompts, anchor=anchor, **FAST)
    run = edit(checkpoint, config, out=tmp_path / "run")
    assert {path.name: path.read_bytes() for path in checkpoint.iterdir()} == before
    document = run.edit
    opened = open_documents(run.path)  # and its documents belong together
    assert len({side["model"]["digest"] for side in (opened.before, opened.after, document)}) == 1
    assert opened.before["model"]["digest"] == weights_identity(ModelSource("", checkpoint))
    check_patch(run.path, document)
    patch = Patch.load(run.patch_path)
    assert document["edited"]["weights"] == sum(edit.changed for edit in patch.tensors.values())
    assert document["edited"]["weights"] <= document["selection"]["weights"]
    assert document["edited"]["tensors"] == len(patch.tensors)
    assert document["edited"]["rows"] == sum(edit.slices for edit in patch.tensors.values())
    row = document["splits"]["test_modifiers"]
    assert row["fb_after"] < row["fb_before"]
    assert run.audit_before["fb_score"] == pytest.approx(document["splits"]["test"]["fb_before"])
    assert run.audit_after["fb_score"] == pytest.approx(document["splits"]["test"]["fb_after"])
    (closer, *_) = document["examples"]
    assert closer["chosen"] == "closer"
    sides = [
        abs(closer[side]["share_female"] - closer["share_female"]) for side in ("before", "after")
    ]
    assert sides[1] < sides[0]
    assert "20 draws, seed 0" in (run.path / runs.CARD).read_text()
    patch = Patch.load(run.patch_path)
    assert patch.digest == document["patch"]["digest"]
    assert document["threads"] == torch.get_num_threads()
    assert document["kl"]["mean"] <= 0.5
    loaded = load_model(checkpoint)
    chosen = Selection.load(run.path / runs.SELECTION, loaded.model)
    assert chosen.weights == document["selection"]["weights"]
    # The patch changes selected weights and no others.
    edited = with_patch(load_model(checkpoint), run.patch_path)
    for name, parameter in edited.model.named_parameters():
        changed = (parameter != loaded.model.get_parameter(name)).reshape(-1).nonzero().squeeze(1)
        allowed = chosen.slices[name].entries() if name in chosen.slices else torch.empty(0)
        assert set(changed.tolist()) <= set(allowed.tolist())
    assert (run.path / "ranking.parquet").is_file()
    assert (run.path / runs.CARD).is_file()
    assert not list(tmp_path.glob(".*"))


def test_a_base_on_the_hub_is_named_where_it_is_the_same(
    checkpoint,
    prompts,
    anchor,
    tmp_path,
    hub_client,  # noqa: F811
    capsys,
):
    files = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    head = hub_client.create_repo("acme/tiny", files).head
    other = save_checkpoint(tmp_path / "other", "llama", seed=1)
    hub_client.create_repo("acme/other", {p.name: p.read_bytes() for p in other.iterdir()})
    config = EditConfig(budget="10%", prompts=prompts, anchor=anchor, **FAST)
    run = edit(checkpoint, config, out=tmp_path / "run", base_model="acme/tiny")
    named = run.edit["base_model"]
    assert (named["id"], named["revision"]) == ("acme/tiny", head)
    assert "https://huggingface.co/acme/tiny" in (run.path / runs.CARD).read_text()
    run = edit(checkpoint, config, out=tmp_path / "wrong", base_model="acme/other")
    assert "base_model" not in run.edit
    assert "is not the base model of this run" in " ".join(capsys.readouterr().err.split())
    assert "a local model" in (run.path / runs.CARD).read_text()
    with pytest.raises(Exception, match=r"(?i)not found"):
        edit(checkpoint, config, out=tmp_path / "none", base_model="acme/none")


def test_the_same_edit_is_the_same_patch_and_a_selection_is_used_again(
    checkpoint, prompts, anchor, tmp_path
):
    options = dict(granularity="neuron", budget="3%", prompts=prompts, anchor=anchor, **FAST)
    first = edit(checkpoint, EditConfig(**options), out=tmp_path / "first")
    second = edit(checkpoint, EditConfig(**options), out=tmp_path / "second")
    assert first.patch_path.read_bytes() == second.patch_path.read_bytes()
    chosen = first.path / runs.SELECTION
    third = edit(checkpoint, EditConfig(selection=chosen, **options), out=tmp_path / "third")
    assert Patch.load(third.patch_path).digest == Patch.load(first.patch_path).digest


def test_no_help_means_no_patch(checkpoint, prompts, anchor, tmp_path):
    options = FAST | {"max_kl": 1e-30}
    config = EditConfig(granularity="row", prompts=prompts, anchor=anchor, **options)
    with pytest.raises(NothingHelps, match="No patch is written"):
        edit(checkpoint, config, out=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (
            [(17.3, 0.009), (18.1, 0.003), (20.5, 0.0001)],
            "comes down from 20.00 to 18.10 only at a divergence of 0.003, and 0.001 is allowed",
        ),
        ([(20.5, 0.0001)], "is 20.00 before and 20.50 at best; dev got no better"),
        ([], "is 20.00 before and 20.00 at best; dev got no better"),
    ],
)
def test_the_reason_for_no_patch_is_what_was_measured(rows, words):
    history = [{"dev_fb": fb, "kl": kl} for fb, kl in rows]
    end = Outcome(None, 20.0, 20.0, torch.zeros(1), 0, "dev got no better", history)
    said = no_help(end, EditConfig(max_kl=0.001))
    assert f"the distance on dev {words}" in said
    assert ("dev got no better" in said) == ("at best" in words)


def test_training_that_diverges_keeps_a_finite_state_or_none(checkpoint, prompts, anchor, tmp_path):
    options = FAST | {"learning_rate": 1e30}
    config = EditConfig(granularity="row", prompts=prompts, anchor=anchor, **options)
    try:
        run = edit(checkpoint, config, out=tmp_path / "run")
    except NothingHelps:
        return
    assert all(
        torch.isfinite(item.new).all() for item in Patch.load(run.patch_path).tensors.values()
    )


def test_predictions_that_stop_being_finite_leave_the_best_state_before(
    checkpoint, prompts, anchor, tmp_path, monkeypatch
):
    real, seen = adam.scored, []

    def scored(task, dev):
        found = real(task, dev)
        seen.append(found.fb)
        return found if len(seen) < 5 else replace(found, fb=float("nan"))

    monkeypatch.setattr(adam, "scored", scored)
    config = EditConfig(granularity="row", budget="10%", prompts=prompts, anchor=anchor, **FAST)
    document = edit(checkpoint, config, out=tmp_path / "run").edit
    assert document["stopped"] == "the model's predictions were not finite"
    assert len(document["history"]) == 3  # of five scores the first is the original's


def test_directories_with_other_things_are_left_alone(checkpoint, prompts, anchor, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(BiasEditError, match="holds something else"):
        edit(checkpoint, EditConfig(prompts=prompts, anchor=anchor, **FAST), out=tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_anchors_that_are_not_there_are_refused(checkpoint, prompts, tmp_path):
    config = EditConfig(prompts=prompts, anchor=str(tmp_path / "none.jsonl"), **FAST)
    with pytest.raises(BiasEditError, match="anchor"):
        edit(checkpoint, config, out=tmp_path / "run")


def test_a_sweep_with_baselines(checkpoint, prompts, anchor, tmp_path, monkeypatch):
    # Of the whole corpus, once per row; what it says is tested where `sweep` is a command.
    monkeypatch.setattr("hfbiasedit.editing.sweep._perplexity_change", lambda *given: 0.0)
    common = EditConfig(prompts=prompts, anchor=anchor, **FAST)
    config = SweepConfig(("layer", "row"), baselines=("random", "full", "lora"), edit=common)
    loaded = load_model(checkpoint)
    before = {name: p.clone() for name, p in loaded.model.named_parameters()}
    document = sweep(loaded, config, out=tmp_path / "sweep")
    assert read_document(tmp_path / "sweep" / "sweep.json", Sweep)["attempts"]
    assert all(torch.equal(p, before[name]) for name, p in loaded.model.named_parameters())
    names = [row["name"] for row in document["attempts"]]
    assert names == ["layer", "layer, random", "row", "row, random", "full fine-tuning", "LoRA"]
    saved = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert saved == json.loads(json.dumps(document))
    assert (tmp_path / "sweep" / "tradeoff.svg").is_file()
    sizes = {row["name"]: row["weights"] for row in document["attempts"]}
    assert sizes["row"] < sizes["layer"] < sizes["full fine-tuning"]


TOGETHER = {
    "granularity": "row",
    "budget": "10%",
    "steps": 6,
    "max_kl": 0.5,
    "batch_size": 8,
    "saliency": "taylor",
    "dtype": "float32",
}
SCRIPT = f"""
import sys
import torch
torch.set_num_threads(1)
from hfbiasedit.editing.config import EditConfig
from hfbiasedit.editing.editor import edit
model, prompts, anchor, out = sys.argv[1:]
for solver in ("adam", "newton"):
    config = EditConfig(prompts=prompts, anchor=anchor, solver=solver, **{TOGETHER})
    edit(model, config, out=out + solver)
"""


@pytest.fixture(scope="module")
def by_two_processes(prompts, anchor, tmp_path_factory):
    """A checkpoint, and where two processes leave a run per solver (its name comes after)."""
    folder = tmp_path_factory.mktemp("processes")
    model = save_checkpoint(folder / "model", "llama", dtype="float32")
    arguments = [str(model), str(prompts), anchor, str(folder / "two-")]
    for ended in run_two("-c", SCRIPT, *arguments):
        assert ended.status == 0, ended.err[-2000:]
    return model, arguments[-1]


@pytest.mark.parametrize("solver", ["adam", "newton"])
def test_two_processes_give_the_patch_of_one(by_two_processes, prompts, anchor, tmp_path, solver):
    model, together = by_two_processes
    config = EditConfig(prompts=prompts, anchor=anchor, solver=solver, **TOGETHER)
    edit(model, config, out=tmp_path / "run")
    patches = [Patch.load(Path(run) / runs.PATCH) for run in (tmp_path / "run", together + solver)]
    one, two = patches
    assert one.tensors.keys() == two.tensors.keys()
    for name, item in one.tensors.items():
        other = two.tensors[name]
        assert torch.equal(item.index, other.index)
        moved = (item.new - item.old).abs().max()
        assert (item.new - other.new).abs().max() < 0.02 * moved


def test_the_files_of_a_hub_model_are_compared_with_the_hub_before_anything_is_measured(
    checkpoint, tmp_path, monkeypatch
):
    asked = []

    def damaged(source):
        asked.append(source.commit)
        raise BiasEditError("model.safetensors is damaged")

    monkeypatch.setattr("hfbiasedit.hub.verification.verify_source", damaged)
    monkeypatch.setattr(outcome, "measure", lambda *args: pytest.fail("measured"))
    loaded = load_model(checkpoint)
    loaded.source = ModelSource("org/name", checkpoint, commit="a" * 40)
    with pytest.raises(BiasEditError, match="damaged"):
        edit(loaded, EditConfig(), out=tmp_path / "run")
    assert asked == ["a" * 40]


def test_weights_that_memory_rounds_are_refused_before_anything_is_measured(
    checkpoint, tmp_path, monkeypatch
):
    folder = shutil.copytree(checkpoint, tmp_path / "float16")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"dtype": "float16"}))
    monkeypatch.setattr(outcome, "measure", lambda *args: pytest.fail("measured"))
    with pytest.raises(BiasEditError, match="bfloat16 in the checkpoint and float16 as loaded"):
        edit(folder, EditConfig(), out=tmp_path / "run")
    with pytest.raises(BiasEditError, match="--dtype float32"):
        sweep(folder, SweepConfig())
    assert not (tmp_path / "run").exists()


def test_a_bad_budget_is_refused_before_anything_is_measured(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(outcome, "measure", lambda *args: pytest.fail("measured"))
    for level, budget in (("row", "0"), ("neuron", "101%"), ("full", "50%"), ("module", "9999")):
        with pytest.raises(UsageError, match="budget"):
            edit(checkpoint, EditConfig(granularity=level, budget=budget), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
