"""Rows in a file: room for all of them, and nothing left behind."""

import errno
import gc
import os
import sys
import tempfile
from pathlib import Path

import pytest
import torch

from hfbiasedit.editing.solving import storage
from hfbiasedit.errors import BiasEditError


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Where temporary files go, and none stays in memory."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(storage, "IN_MEMORY", 0)
    return tmp_path


def _resident():
    """Pages of files that count as this process's memory, in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    words = dict(line.split(":", 1) for line in lines)
    return sum(int(words[name].split()[0]) for name in ("RssShmem", "RssFile"))


def _unable(code):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    return refuse


@pytest.mark.parametrize("reserving", ["system", "unable", "missing"])
def test_rows_in_a_file_are_zeros_that_can_be_written(folder, monkeypatch, reserving):
    if reserving == "unable":
        monkeypatch.setattr(os, "posix_fallocate", _unable(errno.EOPNOTSUPP), raising=False)
    if reserving == "missing":
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    monkeypatch.setattr(storage, "_PIECE", 1000)
    rows = storage.zeros(7, 333)
    assert rows.shape == (7, 333)
    assert rows.dtype == torch.bfloat16
    assert not rows.any()
    values = torch.randn(7, 333).to(torch.bfloat16)
    rows[2:] = values[2:]
    assert torch.equal(rows[2:], values[2:])
    assert not rows[:2].any()
    del rows
    gc.collect()
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process, as Linux says it")
def test_rows_that_were_let_go_keep_their_values_and_cost_no_memory(folder):
    rows = storage.zeros(64, 1 << 18)
    before = _resident()
    rows.fill_(1.5)
    held = _resident() - before
    storage.let_go(rows[3:])  # a part stands for all
    assert held > 30_000
    assert _resident() - before < held / 4
    assert bool((rows == 1.5).all())


@pytest.mark.parametrize("beside", [True, False])
def test_columns_are_those_of_the_map(folder, monkeypatch, beside):
    if not beside:
        monkeypatch.delattr(os, "preadv", raising=False)
    rows = storage.zeros(9, 700)
    values = torch.randn(9, 700).to(torch.bfloat16)
    rows.copy_(values)
    for part in (slice(0, 700), slice(5, 300), slice(690, 900)):
        assert torch.equal(storage.columns(rows, part), values[:, part])
        assert torch.equal(storage.columns(rows[4:], part), values[4:, part])
    storage.columns(rows, slice(0, 3)).zero_()
    assert torch.equal(rows, values)
    del rows
    gc.collect()
    assert not storage._files


@pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process, as Linux says it")
def test_columns_of_a_file_cost_no_more_memory_than_they_hold(folder):
    rows = storage.zeros(64, 1 << 18)
    rows.fill_(1.5)
    storage.let_go(rows)
    before = _resident()
    assert bool((storage.columns(rows, slice(100, 200)) == 1.5).all())
    assert _resident() - before < 2_000  # of 32,768 kB


def test_rows_in_memory_are_left_alone():
    rows = storage.zeros(3, 5)
    rows += 2
    storage.let_go(rows)
    assert bool((rows == 2).all())


@pytest.mark.skipif(sys.platform != "linux", reason="blocks of a file without a name")
def test_the_room_is_there_before_anything_is_written(folder, monkeypatch):
    sizes = []
    real = storage.mmap.mmap

    def look(file, size):
        sizes.append(os.fstat(file).st_blocks * 512)
        return real(file, size)

    monkeypatch.setattr(storage.mmap, "mmap", look)
    storage.zeros(64, 1 << 13)
    assert sizes[0] >= 1 << 20


@pytest.mark.parametrize("where", ["posix_fallocate", "write"])
def test_a_full_disk_is_said_in_one_line(folder, monkeypatch, where):
    monkeypatch.setattr(os, "posix_fallocate", _unable(errno.EINVAL), raising=False)
    monkeypatch.setattr(os, where, _unable(errno.ENOSPC))
    with pytest.raises(BiasEditError, match="do not fit into .*TMPDIR"):
        storage.zeros(7, 333)
    assert list(folder.iterdir()) == []


def test_other_failures_are_not_called_a_full_disk(folder, monkeypatch):
    monkeypatch.setattr(os, "posix_fallocate", _unable(errno.EIO), raising=False)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        storage.zeros(7, 333)


def test_what_fits_is_kept_in_memory(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    assert not storage.zeros(3, 5).any()


@pytest.mark.parametrize(
    ("room", "there"), [(None, False), (4 * 3 * 5, True), (4 * 3 * 5 - 1, False)]
)
def test_rows_are_kept_where_two_of_their_size_fit(room, there):
    gpu, processor = torch.device("cuda"), torch.device("cpu")
    assert storage.home(3, 5, gpu, room) == (gpu if there else processor)


def test_rows_on_a_device_are_no_file(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    monkeypatch.setattr(storage, "IN_MEMORY", 0)
    rows = storage.zeros(3, 5, "meta")
    assert rows.device.type == "meta"
    assert storage.columns(rows, slice(1, 3)).shape == (3, 2)
