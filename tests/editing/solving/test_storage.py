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
    def resident():
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("RssShmem:")).split()[1]) + int(
            next(line for line in lines if line.startswith("RssFile:")).split()[1]
        )

    rows = storage.zeros(64, 1 << 18)
    before = resident()
    rows.fill_(1.5)
    held = resident() - before
    storage.let_go(rows[3:])  # a part stands for all
    assert held > 30_000
    assert resident() - before < held / 4
    assert bool((rows == 1.5).all())


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
