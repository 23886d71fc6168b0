"""What was written is on the disk before the journal goes, and is read back."""

from __future__ import annotations

import os

import pytest

from hfbiasedit.checkpoints import marks
from hfbiasedit.errors import BiasEditError
from hfbiasedit.patches import journal, rewriting
from hfbiasedit.patches.checkpoint import apply_patch
from hfbiasedit.patches.patch import Patch
from tests.patches.small import (
    SHARDS,
    assert_bits,
    expected_bits,
    make_checkpoint,
    sample_edits,
)


@pytest.fixture
def bits(tmp_path):
    return make_checkpoint(tmp_path / "base")


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="asks Linux what a handle is")
def test_every_shard_is_flushed_after_it_was_written_and_before_the_journal_goes(
    tmp_path, bits, monkeypatch
):
    events = []

    def name(handle):
        return os.path.basename(os.readlink(f"/proc/self/fd/{handle}"))

    fsync, pwrite, unlink = os.fsync, os.pwrite, os.unlink
    monkeypatch.setattr(os, "fsync", lambda h: (events.append(("sync", name(h))), fsync(h))[1])
    monkeypatch.setattr(
        os, "pwrite", lambda h, *rest: (events.append(("write", name(h))), pwrite(h, *rest))[1]
    )
    monkeypatch.setattr(
        os, "unlink", lambda p: (events.append(("gone", os.path.basename(p))), unlink(p))[1]
    )
    apply_patch(tmp_path / "base", Patch(sample_edits(bits)), in_place=True)
    end = events.index(("gone", marks.NAME))
    first = events.index(("write", next(iter(SHARDS))))
    # The journal itself is flushed before the first weight changes.
    assert any(kind == "sync" and marks.NAME in file for kind, file in events[:first])
    for file in SHARDS:
        written = max(i for i, event in enumerate(events) if event == ("write", file))
        assert ("sync", file) in events[written:end]


@pytest.mark.parametrize("in_place", [False, True])
def test_a_disk_that_does_not_keep_what_it_is_given(tmp_path, bits, monkeypatch, in_place):
    base, patch = tmp_path / "base", Patch(sample_edits(bits))
    write_at = rewriting._write_at

    def broken(handle, content, offset):
        wrong = bytearray(content)
        wrong[-1] ^= 64
        return write_at(handle, memoryview(wrong), offset)

    monkeypatch.setattr(rewriting, "_write_at", broken)
    where = {"in_place": True} if in_place else {"out": tmp_path / "out"}
    with pytest.raises(BiasEditError, match="does not read back as written; check the disk"):
        apply_patch(base, patch, **where)
    monkeypatch.undo()
    assert not (tmp_path / "out").exists()
    assert marks.pending(base) is in_place
    if not in_place:
        assert_bits(base, bits)


def test_what_is_not_there_cannot_be_recovered(tmp_path, bits):
    with pytest.raises(BiasEditError, match="nope is not a directory"):
        journal.recover(tmp_path / "nope")
    with pytest.raises(BiasEditError, match="has no interrupted change"):
        journal.recover(tmp_path / "base")


def test_an_interrupted_change_is_finished_or_undone(tmp_path, bits, monkeypatch):
    base, patch = tmp_path / "base", Patch(sample_edits(bits))
    for undo, expected in ((True, bits), (False, expected_bits(bits, dict(patch.tensors)))):
        write_at, calls = rewriting._write_at, []

        def stop(*arguments, write_at=write_at, calls=calls):
            calls.append(arguments)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return write_at(*arguments)

        monkeypatch.setattr(rewriting, "_write_at", stop)
        with pytest.raises(KeyboardInterrupt):
            apply_patch(base, patch, in_place=True)
        monkeypatch.undo()
        assert journal.recover(base, undo=undo) == ("undone" if undo else "finished")
        assert_bits(base, expected)
        assert not marks.pending(base)
