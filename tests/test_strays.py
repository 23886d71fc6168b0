"""What killed runs leave beside their targets, and what becomes of it."""

import os
import subprocess
import sys
import time

import pytest

from hfbiasedit import files, outputs, strays

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs locks that end with a process")

KILLED = """
import os, sys
from pathlib import Path
from hfbiasedit import outputs, files
out, how = Path(sys.argv[1]), sys.argv[2]
def kill(*given): os._exit(9)
if how == "file":
    with files.replaced(out) as file:
        file.write(b"half")
        file.flush()
        kill()
if how == "swap":
    rename = os.rename
    os.rename = lambda a, b: kill() if Path(b) == out else rename(a, b)
with outputs.output_directory(out, replace=True) as folder:
    (folder / "new").write_text("y")
    if how == "work":
        kill()
"""


def killed(out, how):
    done = subprocess.run([sys.executable, "-c", KILLED, str(out), how], capture_output=True)
    assert done.returncode == 9, done.stderr
    long_ago = time.time() - 60
    for entry in out.parent.iterdir():
        os.utime(entry, (long_ago, long_ago))


def write(out):
    with outputs.output_directory(out, replace=True) as folder:
        (folder / "again").write_text("z")


def test_the_next_run_of_the_same_target_removes_what_is_left(tmp_path, capsys):
    killed(tmp_path / "out", "work")
    (left,) = tmp_path.iterdir()
    write(tmp_path / "out")
    assert os.listdir(tmp_path) == ["out"]
    assert f"{left}, which a killed run left, is removed" in capsys.readouterr().err


def test_the_door_removes_it_before_the_work(tmp_path):
    killed(tmp_path / "out", "work")
    outputs.probe_new_directory(tmp_path / "out")
    assert os.listdir(tmp_path) == []


def test_a_result_that_was_complete_is_put_in_place(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").write_text("x")
    killed(out, "swap")
    assert not out.exists()
    outputs.clear_strays(out)
    assert os.listdir(tmp_path) == ["out"]
    assert os.listdir(out) == ["new"]


def test_a_file_that_was_half_written_goes(tmp_path):
    killed(tmp_path / "edit.json", "file")
    assert len(os.listdir(tmp_path)) == 1
    files.write_text(tmp_path / "edit.json", "{}")
    assert os.listdir(tmp_path) == ["edit.json"]


def test_what_a_living_run_works_on_stays(tmp_path):
    out = tmp_path / "out"
    with outputs.output_directory(out) as folder:
        os.utime(folder, (0, 0))
        assert strays.left_behind(out) == []
        strays.clear(out)
        assert folder.is_dir()


def test_other_targets_are_left_alone(tmp_path):
    killed(tmp_path / "out.v2", "work")
    (left,) = tmp_path.iterdir()
    assert strays.left_behind(tmp_path / "out") == []
    assert strays.left_behind(tmp_path / "out.v2") == [left]


def test_recover_lists_and_clears_them(tmp_path):
    killed(tmp_path / "out", "work")
    (left,) = tmp_path.iterdir()
    done = subprocess.run(
        [sys.executable, "-m", "hfbiasedit", "patch", "recover", str(tmp_path / "out")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert str(left) in done.stderr
    assert os.listdir(tmp_path) == []


def test_a_full_disk_is_named(tmp_path):
    with pytest.raises(OSError) as caught:
        with files.replaced(tmp_path / "edit.json"):
            raise OSError(28, "No space left on device")
    assert caught.value.filename == str(tmp_path / "edit.json")
    with pytest.raises(OSError) as caught:
        with outputs.output_directory(tmp_path / "run"):
            raise OSError(28, "No space left on device")
    assert caught.value.filename == str(tmp_path / "run")
    assert os.listdir(tmp_path) == []
