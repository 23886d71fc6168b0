import json
from types import SimpleNamespace

import pytest

from hfbiasedit import outputs
from hfbiasedit.editing import patched, sweep
from hfbiasedit.editing.config import EditConfig
from hfbiasedit.editing.keeping import Kept
from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.loading import load_model
from tests.editing import worlds
from tests.tiny import save_checkpoint


@pytest.fixture
def shards(tmp_path):
    """Two files of 600 bytes, and weights beside them that nothing is loaded from."""
    base = tmp_path / "base"
    base.mkdir()
    names = ("model-1.safetensors", "model-2.safetensors")
    for name in (*names, "consolidated.safetensors"):
        (base / name).write_bytes(b"x" * 600)
    index = {"weight_map": dict(zip("ab", names, strict=True))}
    (base / "model.safetensors.index.json").write_text(json.dumps(index))
    return base


@pytest.mark.parametrize("beside", [True, False])
def test_there_must_be_room_for_every_shard(shards, tmp_path, monkeypatch, beside):
    """Each one may be touched, and is copied then, on the disk of the base too."""
    kept = Kept(tmp_path / "run.partial" if beside else shards / "run.partial")
    monkeypatch.setattr(patched, "shares_blocks", lambda *args: False)
    asked = []

    def free(size):
        usage = outputs.shutil.disk_usage(tmp_path)
        left = usage._replace(free=size)
        return lambda path: asked.append(path) or left

    with monkeypatch.context() as context:
        context.setattr(outputs.shutil, "disk_usage", free(1199))
        with pytest.raises(BiasEditError, match="the edited checkpoint needs"):
            patched.check_room(shards, kept)
    with monkeypatch.context() as context:
        context.setattr(outputs.shutil, "disk_usage", free(1200))
        patched.check_room(shards, kept)
    place = tmp_path if beside else patched.Path(patched.tempfile.gettempdir())
    assert asked == [place, place]


def test_shards_that_share_blocks_need_no_room(shards, tmp_path, monkeypatch):
    monkeypatch.setattr(patched, "shares_blocks", lambda *args: True)
    monkeypatch.setattr(patched, "probe_room", lambda *args: pytest.fail("asked"))
    patched.check_room(shards, Kept(tmp_path / "run.partial"))


@pytest.mark.parametrize("mode", ["rows", "entries"])
def test_a_patch_says_how_it_was_made_and_that_of_a_sweep_does_not(tmp_path, mode):
    loaded = load_model(save_checkpoint(tmp_path / "model", "llama", dtype="float32"))
    selection = worlds.selection(loaded.model, mode)
    parameters = dict(loaded.model.named_parameters())
    values = {name: part.take(parameters[name]) + 1 for name, part in selection.slices.items()}
    found = SimpleNamespace(selection=selection, values=values)
    config = EditConfig(granularity="row", selection=tmp_path / "mine.json", seed=3)
    bare, whole = (
        make(loaded, found, config) for make in (patched.bare_patch_of, patched.patch_of)
    )
    assert sweep.bare_patch_of is patched.bare_patch_of
    assert bare.digest == whole.digest
    assert bare.weights == sum(value.numel() for value in values.values())
    made = whole.metadata["edit"]
    assert bare.metadata == {name: v for name, v in whole.metadata.items() if name != "edit"}
    assert (bare.metadata["base_model"], bare.metadata["granularity"]) == (loaded.source.id, "row")
    assert (made["seed"], made["scores"], "selection" in made["options"]) == (3, {}, False)
