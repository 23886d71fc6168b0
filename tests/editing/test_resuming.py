"""An edit or a sweep that was killed at any point ends as one that was not."""

from __future__ import annotations

import json
import shutil

import pytest

from hfbiasedit.audits.resumption import PartialFile
from hfbiasedit.editing import editor, keeping
from hfbiasedit.editing.config import EditConfig, SweepConfig
from hfbiasedit.editing.editor import edit
from hfbiasedit.editing.keeping import Kept, work_directory
from hfbiasedit.editing.solving import curve, gauss_newton
from hfbiasedit.editing.sweep import sweep
from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.loading import load_model
from tests.editing import worlds
from tests.tiny import save_checkpoint


@pytest.fixture(autouse=True, scope="module")
def _no_pictures():
    """What is drawn in the end takes longer than all the rest, and depends on nothing kept."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(editor, "_write_pages", lambda folder: None)
        patched.setattr("hfbiasedit.editing.locating.locator.Location.save", lambda *given: [])
        patched.setattr("hfbiasedit.editing.sweep._draw", lambda *given: None)
        yield


class Killed(BaseException):
    """What no handler takes for a failure."""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A tiny checkpoint and the options of an edit of it."""
    folder = tmp_path_factory.mktemp("world")
    save_checkpoint(folder / "tiny", "llama", dtype="bfloat16")
    rows = []
    for split in ("edit", "dev", "test_modifiers"):
        for record in worlds.records(split):
            row = record.to_dict()
            row["id"] = f"{split}/{row['id']}"
            if split != "edit":
                row["prompt"] = f"# {split}\n" + row["prompt"]
            rows.append(row)
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "code.py").write_text("def mean(values):\n    return sum(values)\n" * 40)
    options = {
        "prompts": folder / "prompts.jsonl",
        "anchor": str(folder / "code.py"),
        "max_kl": 0.5,
    }
    return folder / "tiny", options


@pytest.fixture(scope="module")
def whole(world, tmp_path_factory):
    """The patch of an edit that nothing interrupted."""
    model, options = world
    config = EditConfig(granularity="row", budget="auto", **options)
    return edit(model, config, out=tmp_path_factory.mktemp("whole") / "run")


def killed(*given, **named):
    """Stands in for where a run dies."""
    raise Killed


def kill_after(monkeypatch, saves, batches=10**9):
    """Let a run die after so many saves, or so many batches of scores."""
    left = {"saves": saves, "batches": batches}

    def counted(kind, original):
        def wrapped(self, *given, **named):
            if left[kind] == 0:
                raise Killed
            left[kind] -= 1
            original(self, *given, **named)

        return wrapped

    monkeypatch.setattr(Kept, "save", counted("saves", Kept.save))
    monkeypatch.setattr(PartialFile, "add", counted("batches", PartialFile.add))
    return left


def test_killed_at_any_phase_a_resumed_edit_is_the_same_byte_for_byte(
    world, whole, tmp_path, monkeypatch
):
    model, options = world
    config = EditConfig(granularity="row", budget="auto", **options)
    killed = 0
    for saves in range(20):
        out = tmp_path / f"run-{saves}"
        with monkeypatch.context() as patched:
            kill_after(patched, saves)
            try:
                edit(model, config, out=out)
                break
            except Killed:
                killed += 1
        assert not out.exists()
        assert work_directory(out).is_dir()
        run = edit(model, config, out=out, resume=True)
        assert run.patch_path.read_bytes() == whole.patch_path.read_bytes()
        assert not work_directory(out).exists()
        for name in ("selection", "splits", "attempt"):
            assert run.edit.get(name) == whole.edit.get(name)
    # prompts, prices, duals, scores, budgets, and at least two steps of the solver
    assert killed >= 7


@pytest.mark.parametrize("batches", [1, 2])
def test_killed_while_measuring_it_goes_on_within_the_measurement(
    world, whole, tmp_path, monkeypatch, batches
):
    model, options = world
    config = EditConfig(granularity="row", budget="auto", **options)
    with monkeypatch.context() as patched:
        kill_after(patched, 10**9, batches)
        with pytest.raises(Killed):
            edit(model, config, out=tmp_path / "run")
    again = kill_after(monkeypatch, 10**9)
    run = edit(model, config, out=tmp_path / "run", resume=True)
    assert run.patch_path.read_bytes() == whole.patch_path.read_bytes()
    assert again["batches"] < 10**9  # the rest of them


def test_what_is_kept_is_not_worked_out_again(world, whole, tmp_path, monkeypatch):
    model, options = world
    config = EditConfig(granularity="row", budget="auto", **options)
    with monkeypatch.context() as patched:
        patched.setattr(
            "hfbiasedit.editing.editor.patch_of", lambda *given: (_ for _ in ()).throw(Killed)
        )
        with pytest.raises(Killed):
            edit(model, config, out=tmp_path / "run")
    for name in ("bench_of", "bench_at", "candidates"):
        monkeypatch.setattr(gauss_newton, name, None)
    for name in ("bench_of", "candidates"):
        monkeypatch.setattr(curve, name, None)
    for name in ("joint.joint_sums", "solutions.sketched", "joint.prices"):
        monkeypatch.setattr(f"hfbiasedit.editing.locating.{name}", None)
    run = edit(model, config, out=tmp_path / "run", resume=True)
    assert run.patch_path.read_bytes() == whole.patch_path.read_bytes()
    assert run.edit["seconds"]["total"] >= run.edit["seconds"]["edit"] > 0


def test_single_weights_are_resumed_as_well(world, tmp_path, monkeypatch):
    model, options = world
    config = EditConfig(granularity="neuron", budget="40", **options)
    wanted = edit(model, config, out=tmp_path / "whole").patch_path.read_bytes()
    for saves in (3, 4, 5):
        with monkeypatch.context() as patched:
            kill_after(patched, saves)
            with pytest.raises(Killed):
                edit(model, config, out=tmp_path / f"run-{saves}")
        run = edit(model, config, out=tmp_path / f"run-{saves}", resume=True)
        assert run.patch_path.read_bytes() == wanted


def test_a_sweep_is_resumed_row_by_row(world, tmp_path, monkeypatch):
    model, options = world
    config = SweepConfig(granularities=("row", "module"), edit=EditConfig(**options))
    wanted = sweep(model, config, out=tmp_path / "whole")
    with monkeypatch.context() as patched:
        kept = Kept.save

        def save(self, name, *given):
            kept(self, name, *given)
            if name == "row":
                raise Killed

        patched.setattr(Kept, "save", save)
        with pytest.raises(Killed):
            sweep(model, config, out=tmp_path / "run")
    found = sweep(model, config, out=tmp_path / "run", resume=True)
    for ours, theirs in zip(found["attempts"], wanted["attempts"], strict=True):
        assert {k: v for k, v in ours.items() if k != "seconds"} == {
            k: v for k, v in theirs.items() if k != "seconds"
        }
    for name in ("row", "module"):
        file = f"{name}.safetensors"
        if (tmp_path / "whole" / file).exists():
            assert (tmp_path / "run" / file).read_bytes() == (
                tmp_path / "whole" / file
            ).read_bytes()
    assert not work_directory(tmp_path / "run").exists()


def test_nothing_to_resume_is_said_before_a_model_is_loaded(tmp_path):
    with pytest.raises(BiasEditError, match="nothing to resume"):
        edit("acme/none", out=tmp_path / "run", resume=True)


def test_work_of_other_options_or_another_model_is_refused(world, tmp_path, monkeypatch):
    model, options = world
    config = EditConfig(granularity="row", budget="5", **options)
    with monkeypatch.context() as patched:
        kill_after(patched, 1)
        with pytest.raises(Killed):
            edit(model, config, out=tmp_path / "run")
    with pytest.raises(BiasEditError, match="the options changed"):
        edit(model, config, out=tmp_path / "run", resume=True, budget="6")
    other = save_checkpoint(tmp_path / "tiny", "llama", dtype="bfloat16", seed=5)
    work = work_directory(tmp_path / "run") / "work.json"
    claims = json.loads(work.read_text())
    claims["options"]["model"] = str(other)
    work.write_text(json.dumps(claims))
    with pytest.raises(BiasEditError, match="the model changed"):
        edit(other, config, out=tmp_path / "run", resume=True)


@pytest.mark.parametrize("ability", [True, False])
def test_kept_completions_are_of_the_same_end_tokens(world, tmp_path, monkeypatch, ability):
    """`generation_config.json` names them; where nothing written is kept it does not matter."""
    model = tmp_path / "tiny"
    shutil.copytree(world[0], model)
    config = EditConfig(granularity="row", budget="5", ability=ability, **world[1])
    monkeypatch.setattr(editor, "attempt", killed)
    with pytest.raises(Killed):
        edit(model, config, out=tmp_path / "run")
    settings = json.loads((model / "generation_config.json").read_text())
    (model / "generation_config.json").write_text(json.dumps(settings | {"eos_token_id": [0, 7]}))
    refused = pytest.raises(BiasEditError, match="the tokens that end a text changed since")
    with refused if ability else pytest.raises(Killed):
        edit(model, config, out=tmp_path / "run", resume=True)


def test_going_on_is_said(tmp_path, capsys):
    out = tmp_path / "run"
    kept = Kept.beside(out, resume=False)
    kept.claim(options={"model": "m"})
    kept.begin()
    assert "going on" not in capsys.readouterr().err
    Kept.beside(out, resume=True)
    assert f"going on with what is kept in {kept.folder}" in capsys.readouterr().err


def test_a_model_in_memory_is_not_resumed(world, tmp_path):
    model, options = world
    loaded = load_model(model)
    with pytest.raises(BiasEditError, match="a model from disk"):
        edit(loaded, EditConfig(**options), out=tmp_path / "run", resume=True)


def test_work_of_an_earlier_run_is_put_aside(tmp_path, capsys):
    folder = work_directory(tmp_path / "run")
    first = Kept.beside(tmp_path / "run", resume=False)
    first.claim(options={"budget": 1})
    assert not folder.exists()  # a model may still be refused
    first.begin()
    second = Kept.beside(tmp_path / "run", resume=False)
    second.claim(options={"budget": 2})
    second.begin()
    second.begin()
    assert json.loads((folder / "work.json").read_text())["options"] == {"budget": 2}
    aside = folder.with_name("run.partial.old")
    assert json.loads((aside / "work.json").read_text())["options"] == {"budget": 1}
    assert str(aside) in capsys.readouterr().err


def test_damaged_work_is_done_again(tmp_path):
    kept = Kept.beside(tmp_path / "run", resume=False)
    kept.claim(options={})
    kept.begin()
    assert kept.facts("one", lambda: 1) == 1
    (kept.folder / "one.safetensors").write_bytes(b"\x00" * 20)
    again = Kept.beside(tmp_path / "run", resume=True)
    assert again.facts("one", lambda: 2) == 2
    assert Kept.beside(tmp_path / "run", resume=True).facts("one", lambda: 3) == 2


def test_where_nothing_can_be_kept_the_work_goes_on(tmp_path, monkeypatch, capsys):
    def full(path, data):
        raise OSError(28, "No space left on device")

    kept = Kept.beside(tmp_path / "run", resume=False)
    kept.claim(options={})
    kept.begin()
    monkeypatch.setattr(keeping, "write_bytes", full)
    assert kept.facts("one", lambda: 1) == 1
    assert "no work is kept" in capsys.readouterr().err
    assert kept.facts("two", lambda: 2) == 2


def test_a_model_that_cannot_be_loaded_leaves_nothing_behind(tmp_path):
    with pytest.raises(BiasEditError):
        edit(tmp_path / "no model", out=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_another_selection_under_the_same_name_is_refused(world, tmp_path, monkeypatch):
    model, options = world
    file = tmp_path / "selection.json"
    loaded = load_model(model)
    worlds.selection(loaded.model, "rows").save(file)
    config = EditConfig(selection=file, **options)
    with monkeypatch.context() as patched:
        patched.setattr(editor, "attempt", killed)
        with pytest.raises(Killed):
            edit(model, config, out=tmp_path / "run")
    worlds.selection(loaded.model, "rows", count=5).save(file)
    with pytest.raises(BiasEditError, match="the selection changed since"):
        edit(model, config, out=tmp_path / "run", resume=True)


def test_rows_of_another_saliency_are_refused(world, tmp_path, monkeypatch):
    model, options = world
    common = EditConfig(**options, solver="adam", steps=2)
    with monkeypatch.context() as patched:
        patched.setattr("hfbiasedit.editing.sweep.attempt", killed)
        with pytest.raises(Killed):
            sweep(model, SweepConfig(("row",), ("taylor",), edit=common), out=tmp_path / "run")
    with pytest.raises(BiasEditError, match="the saliency changed since"):
        sweep(
            model,
            SweepConfig(("row",), ("grad",), edit=common),
            out=tmp_path / "run",
            resume=True,
        )


def test_two_at_one_output_are_refused_before_a_model_is_loaded(tmp_path):
    out = tmp_path / "new" / "run"
    with (
        Kept(work_directory(out)).alone(),
        pytest.raises(BiasEditError, match="another process is at work in"),
    ):
        edit("acme/none", out=out)
    with pytest.raises(Exception, match="acme/none"):  # whatever says that there is no network
        edit("acme/none", out=out)
    assert list(tmp_path.iterdir()) == []
