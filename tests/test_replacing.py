"""What every kind of output leaves alone, in the same words."""

from __future__ import annotations

import pytest

from hfbiasedit.audits import output
from hfbiasedit.codegenbias.sharing import export
from hfbiasedit.editing import editor
from hfbiasedit.errors import BiasEditError
from hfbiasedit.leaderboards import writing
from hfbiasedit.patches import placing
from hfbiasedit.patches.export import exporter
from hfbiasedit.replacing import Kind, files_of, holds_something, refuse_other

# Kind -> the fewest files that make one.
KINDS = {
    "a run": (editor._RUN, ["edit.json"]),
    "an audit": (output._OUTPUT, ["audit.json"]),
    "a leaderboard": (writing._BOARD, ["index.html"]),
    "an adapter": (exporter._ADAPTER, ["adapter_config.json"]),
    "a dataset": (export._EXPORT, ["data/quick/dev.csv"]),
    "a checkpoint": (placing._CHECKPOINT, ["config.json", "model.safetensors.index.json"]),
}


def filled(path, names):
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text("x")
    return path


@pytest.mark.parametrize("name", KINDS)
def test_an_earlier_output_of_the_same_kind_may_be_replaced(tmp_path, name):
    kind, files = KINDS[name]
    refuse_other(tmp_path / "absent", kind)
    refuse_other(tmp_path, kind)
    refuse_other(filled(tmp_path, files), kind)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("mine", ["thesis.txt", "data/quick/thesis.txt"])
def test_anything_else_is_called_so(tmp_path, name, mine):
    kind, _ = KINDS[name]
    with pytest.raises(BiasEditError) as refused:
        refuse_other(filled(tmp_path, [mine]), kind)
    assert str(refused.value) == (
        f"{tmp_path} holds something else than {name}; choose another directory"
    )


@pytest.mark.parametrize("name", sorted(KINDS.keys() - {"a checkpoint"}))
def test_what_somebody_put_there_is_named(tmp_path, name):
    """Of a checkpoint it depends on what the new one will have."""
    kind, files = KINDS[name]
    with pytest.raises(BiasEditError) as refused:
        refuse_other(filled(tmp_path, [*files, "b", "a", "d", "c"]), kind)
    assert str(refused.value) == (
        f"{tmp_path} holds more than {name} (a, b, c and 1 more); choose another directory"
    )


@pytest.mark.parametrize("files", [["config.json"], ["model.safetensors"], ["README.md"]])
def test_half_a_checkpoint_is_none(tmp_path, files):
    with pytest.raises(BiasEditError, match="something else than a checkpoint"):
        refuse_other(filled(tmp_path, files), placing._CHECKPOINT)


def test_a_card_alone_is_no_dataset(tmp_path):
    with pytest.raises(BiasEditError, match="something else than a dataset"):
        refuse_other(filled(tmp_path, ["README.md"]), export._EXPORT)


def test_files_are_those_of_all_folders_and_folders_are_none(tmp_path):
    filled(tmp_path, ["a", "b/c/d"])
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("absent")
    assert files_of(tmp_path) == {"a", "b/c/d", "link"}


def test_what_a_file_system_puts_there_is_nothing(tmp_path):
    (tmp_path / "lost+found").mkdir()
    assert not holds_something(tmp_path)
    refuse_other(tmp_path, Kind("a thing", lambda _: False))
    (tmp_path / "folder").mkdir()
    assert holds_something(tmp_path)
    with pytest.raises(BiasEditError, match="something else than a thing"):
        refuse_other(tmp_path, Kind("a thing", lambda _: False))
