import errno
import os

import pytest

from hfbiasedit import outputs
from hfbiasedit.errors import BiasEditError


def fill(path, **options):
    with outputs.output_directory(path, **options) as folder:
        (folder / "new").mkdir()
        (folder / "new" / "file").write_text("y")


def whole(path):
    return sorted(os.listdir(path)) == ["new"] and (path / "new" / "file").read_text() == "y"


@pytest.fixture
def busy(monkeypatch):
    """Directories that cannot be renamed, as a mount point cannot."""
    taken, rename = [], os.rename

    def refusing(source, target, **more):
        if os.fspath(source) in taken or os.fspath(target) in taken:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        rename(source, target, **more)

    monkeypatch.setattr(os, "rename", refusing)
    return taken


@pytest.mark.parametrize("old", [False, True])
def test_a_directory_that_cannot_be_renamed_is_filled(tmp_path, busy, old):
    out = tmp_path / "out"
    out.mkdir()
    if old:
        (out / "old").write_text("x")
    (out / "lost+found").mkdir()
    inode = out.stat().st_ino
    busy.append(str(out))
    fill(out, replace=old)
    (out / "lost+found").rmdir()  # of the file system: it was left alone
    assert whole(out)
    assert out.stat().st_ino == inode
    assert os.listdir(tmp_path) == ["out"]


def test_a_mount_point_is_filled_from_within(tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: os.fspath(path) == str(out))
    inode = out.stat().st_ino
    with outputs.output_directory(out) as folder:
        assert folder.parent == out
        (folder / "new").mkdir()
        (folder / "new" / "file").write_text("y")
    assert whole(out)
    assert out.stat().st_ino == inode


def test_the_directory_a_shell_is_in_stays(tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.chdir(out)
    outputs.probe_new_directory(".")
    fill(".")
    assert os.listdir(".") == ["new"]
    assert whole(out)


@pytest.mark.parametrize("there", [False, True])
def test_a_link_is_written_where_it_points(tmp_path, there):
    if there:
        (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    fill(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert whole(tmp_path / "real")


def test_what_was_there_comes_back_when_filling_fails(tmp_path, busy, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").write_text("x")
    busy.append(str(out))
    move = outputs.shutil.move

    def failing(source, target):
        if target == out / "new":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return move(source, target)

    monkeypatch.setattr(outputs.shutil, "move", failing)
    with pytest.raises(BiasEditError, match="complete result is in") as caught:
        fill(out, replace=True)
    assert os.listdir(out) == ["old"]
    assert (out / "old").read_text() == "x"
    assert str(tmp_path / "out.kept") in str(caught.value)
    assert whole(tmp_path / "out.kept")


def test_a_result_whose_name_is_taken_meanwhile_is_kept_beside(tmp_path):
    out = tmp_path / "out"
    (tmp_path / "out.kept").mkdir()
    with pytest.raises(BiasEditError, match=r"complete result is in .*out\.kept-2"):
        with outputs.output_directory(out) as folder:
            (folder / "new").write_text("y")
            out.write_text("somebody else's")
    assert (tmp_path / "out.kept-2" / "new").read_text() == "y"
    assert out.read_text() == "somebody else's"


def test_a_result_goes_to_the_temporary_directory_when_nothing_can_be_written(
    tmp_path, monkeypatch
):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(outputs.tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "file").write_text("x")
    out = tmp_path / "file" / "out"
    with pytest.raises(BiasEditError, match="cannot write"):
        fill(out)
    with pytest.raises(BiasEditError, match="complete result is in") as caught:
        fill(out, keep=True)
    (kept,) = (tmp_path / "temporary").iterdir()
    assert str(kept) in str(caught.value)
    assert whole(kept)


def test_probing_refuses_what_writing_would_and_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").write_text("x")
    for path, why in [("file", "is a file"), ("file/out", "annot write")]:
        with pytest.raises(BiasEditError, match=why):
            outputs.probe_directory(tmp_path / path)
    with pytest.raises(BiasEditError, match="not empty; choose another directory$"):
        outputs.probe_new_directory(tmp_path / "full")
    with pytest.raises(BiasEditError, match="or replace what it holds with --replace$"):
        outputs.probe_new_directory(tmp_path / "full", "--replace")
    with pytest.raises(BiasEditError, match="is a directory"):
        outputs.probe_file(tmp_path / "full")
    with pytest.raises(BiasEditError, match="--overwrite"):
        outputs.probe_file(tmp_path / "file", replace=False)
    with pytest.raises(BiasEditError, match="cannot write"):
        outputs.probe_file(tmp_path / "file" / "a.json")
    outputs.probe_new_directory(tmp_path / "deep" / "out")
    outputs.probe_file(tmp_path / "deep" / "a.json")
    assert sorted(os.listdir(tmp_path)) == ["file", "full"]

    def refused(**_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(outputs.tempfile, "mkdtemp", refused)
    with pytest.raises(BiasEditError, match="Read-only file system"):
        outputs.probe_directory(tmp_path / "out")


def test_an_existing_directory_in_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    mkdtemp = outputs.tempfile.mkdtemp

    def picky(**options):
        if options["dir"] == tmp_path:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return mkdtemp(**options)

    monkeypatch.setattr(outputs.tempfile, "mkdtemp", picky)
    outputs.probe_new_directory(out)
    fill(out)
    assert whole(out)
    with pytest.raises(BiasEditError, match="Permission denied"):
        outputs.probe_new_directory(tmp_path / "other")


def test_a_disk_without_room_is_refused_before_the_work(tmp_path, monkeypatch):
    shards = [tmp_path / "a", tmp_path / "b"]
    for shard in shards:
        shard.write_bytes(b"x" * 600)
    usage = outputs.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(outputs.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    outputs.probe_room(tmp_path / "new" / "run", shards[:1], "the copy")
    with pytest.raises(BiasEditError, match="has room for 0.0 GB, and the copy needs"):
        outputs.probe_room(tmp_path / "new" / "run", shards, "the copy")
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]
