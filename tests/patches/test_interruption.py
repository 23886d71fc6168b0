"""SIGKILL at every write, rename and flush: afterwards old, new or recoverable, never mixed."""

from __future__ import annotations

import os
import shutil
import signal
import sys

import numpy as np
import pytest

from hfbiasedit.checkpoints import marks
from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.resolution import resolve_model
from hfbiasedit.patches import journal
from hfbiasedit.patches.checkpoint import apply_patch
from hfbiasedit.patches.journal import recover
from hfbiasedit.patches.verification import verify_patch
from tests.patches.small import (
    assert_bits,
    expected_bits,
    fingerprint,
    make_checkpoint,
    read_bits,
    sample_edits,
    save_patch,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")
STEPS = ("pwrite", "replace", "rename", "unlink", "fsync", "link", "copy_file_range", "open")


def run_until(step: int, action) -> int:
    """Run `action` in a forked child that kills itself at its `step`-th change of the disk.

    Writes are killed half-way. Returns the number of steps, or -1 when the child was killed.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        count = 0

        def wrap(name, original):
            def wrapped(*args, **kwargs):
                nonlocal count
                count += 1
                if count == step:
                    if name == "pwrite":
                        original(args[0], bytes(args[1])[: len(args[1]) // 2 + 1], args[2])
                    os.kill(os.getpid(), signal.SIGKILL)
                return original(*args, **kwargs)

            return wrapped

        for name in STEPS:
            setattr(os, name, wrap(name, getattr(os, name)))
        try:
            action()
            os.write(writer, count.to_bytes(4, "little"))
        finally:
            os._exit(0)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    told = os.read(reader, 4)
    os.close(reader)
    if os.WIFSIGNALED(status):
        return -1
    assert told, "the child failed"
    return int.from_bytes(told, "little")


@pytest.fixture
def room(tmp_path):
    bits = make_checkpoint(tmp_path / "base")
    edits = sample_edits(bits)
    patch = save_patch(tmp_path / "p.safetensors", edits)
    return tmp_path, bits, expected_bits(bits, edits), patch


@pytest.mark.parametrize("reverse", [False, True])
def test_in_place(room, reverse):
    path, bits, edited, patch = room
    start, goal = (edited, bits) if reverse else (bits, edited)
    if reverse:
        apply_patch(path / "base", patch, in_place=True)
    seen = set()
    step = 0
    while True:
        step += 1
        own = path / "own"
        shutil.rmtree(own, ignore_errors=True)
        shutil.copytree(path / "base", own)
        # A second name for a shard: the change must not reach it.
        os.link(own / "model-00002-of-00002.safetensors", path / "twin")
        done = run_until(
            step, lambda own=own: apply_patch(own, patch, in_place=True, reverse=reverse)
        )
        if not marks.pending(own):
            found = read_bits(own)
            state = next(
                name
                for name, wanted in (("old", start), ("new", goal))
                if all(np.array_equal(found[key], wanted[key]) for key in wanted)
            )
        else:
            state = "pending"
            for call in (apply_patch, verify_patch):
                with pytest.raises(BiasEditError, match="interrupted here.*patch recover"):
                    call(own, patch, **({"in_place": True} if call is apply_patch else {}))
            undone = path / "undone"
            shutil.copytree(own, undone)
            assert recover(undone, undo=True) == "undone"
            assert_bits(undone, start)
            shutil.rmtree(undone)
            # A recovery that is killed as well can be recovered again.
            run_until(step % 7 + 1, lambda own=own: recover(own))
            if marks.pending(own):
                assert recover(own) == "finished"
            assert_bits(own, goal)
        seen.add(state)
        twin = (path / "twin").read_bytes()
        assert twin == (path / "base" / "model-00002-of-00002.safetensors").read_bytes()
        (path / "twin").unlink()
        if done != -1:
            assert state == "new"
            break
    assert seen == {"old", "pending", "new"}
    assert step > 15
    assert {file.name for file in own.iterdir()} == {
        file.name for file in (path / "base").iterdir()
    }


@pytest.mark.parametrize("replace", [False, True])
def test_new_directory(room, replace):
    path, _, edited, patch = room
    before = fingerprint(path / "base")
    step = 0
    while True:
        step += 1
        out = path / "results" / "out"
        shutil.rmtree(out.parent, ignore_errors=True)
        out.mkdir(parents=True)
        if replace:
            shutil.copytree(path / "base", out, dirs_exist_ok=True)
        done = run_until(
            step, lambda out=out: apply_patch(path / "base", patch, out, replace=replace)
        )
        assert fingerprint(path / "base") == before
        if done != -1:
            break
        if out.exists() and any(out.iterdir()) and fingerprint(out) != before:
            assert_bits(out, edited)
    assert_bits(out, edited)
    assert {file.name for file in out.iterdir()} == set(before)
    assert step > 12


def test_strays_of_a_killed_change_are_removed(room):
    path, _, edited, patch = room
    base = path / "base"
    names = set(fingerprint(base))
    for name in (".model.safetensors.hfbiasedit-tmp", "..hfbiasedit-journal.abc.tmp"):
        (base / name).write_bytes(b"half")
    apply_patch(base, patch, path / "out")
    assert set(fingerprint(path / "out")) == names
    apply_patch(base, patch, in_place=True)
    assert set(fingerprint(base)) == names
    assert_bits(base, edited)


def test_recover_refuses(room):
    path, bits, _, patch = room
    base = path / "base"
    with pytest.raises(BiasEditError, match="nothing to recover"):
        recover(base)
    (base / marks.NAME).write_bytes(patch.read_bytes())
    with pytest.raises(BiasEditError, match="no journal"):
        recover(base)
    with pytest.raises(BiasEditError, match="patch recover"):
        resolve_model(base)  # loading it would give a model of both halves
    (base / marks.NAME).write_bytes(b"\0" * 40)
    with pytest.raises(BiasEditError, match="not a valid"):
        recover(base)
    save_patch(base / marks.NAME, sample_edits(bits), journal={"reverse": False})
    shard = base / "model-00001-of-00002.safetensors"
    content = bytearray(shard.read_bytes())
    for place in range(len(content) - 12 * 6 * 2, len(content)):
        content[place] ^= 0x10  # somebody else's change of the embedding
    shard.write_bytes(content)
    with pytest.raises(BiasEditError, match="changed by something else"):
        recover(base)
    assert shard.read_bytes() == bytes(content)


def test_two_processes_cannot_change_one_directory(room):
    path, _, _, patch = room
    with journal.locked(path / "base"):
        with pytest.raises(BiasEditError, match="another process"):
            apply_patch(path / "base", patch, in_place=True)
    assert not (path / "base" / marks.LOCK).exists()


def test_a_lock_that_a_kill_left_holds_nobody_up_and_is_not_carried(room):
    path, _, _, patch = room
    (path / "base" / marks.LOCK).touch()
    apply_patch(path / "base", patch, path / "out")
    assert not (path / "out" / marks.LOCK).exists()
    apply_patch(path / "base", patch, in_place=True)
    assert not (path / "base" / marks.LOCK).exists()


def test_the_lock_keeps_other_processes_out_after_it_was_given_back_once(room):
    path = room[0] / "base"
    with journal.locked(path):
        pass
    with journal.locked(path):
        child = os.fork()
        if child == 0:
            try:
                with journal.locked(path):
                    os._exit(1)
            except BiasEditError:
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
