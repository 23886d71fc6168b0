"""Damaged and malicious patch files, made from a good one; used by the tests and the long fuzz."""

from __future__ import annotations

import copy
import json
import random
import shutil
import tracemalloc
from pathlib import Path

from hfbiasedit.checkpoints import marks
from hfbiasedit.errors import BiasEditError
from hfbiasedit.patches.checkpoint import apply_patch
from hfbiasedit.patches.patch import Patch
from hfbiasedit.patches.verification import verify_patch
from tests.patches.small import fingerprint

STRANGE = [
    None, True, False, 0, 1, -1, 2, 7, 3.5, 1e308, 2**31, 2**53, 2**63, 2**64, 10**40, "", "rows",
    "entries", "whole", "F32", "BF16", "I64", "F8_E4M3", "../../etc/passwd", "/etc/passwd", "a\x1b[2J",
    "\ud800", "x" * 5000, [], [0], [-1], [1, 1], [8, 5], [2**40, 2**40], [[1]], {}, {"a": 1}, ["lm_head"],
]  # fmt: skip


def split(raw: bytes) -> tuple[dict, bytes]:
    """(header, data) of a good file."""
    length = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def join(header, data: bytes) -> bytes:
    """A file of a header (any JSON value) and data."""
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    return len(raw).to_bytes(8, "little") + raw + data


def flip_bytes(raw: bytes, chance: random.Random) -> bytes:
    """Some bytes anywhere in the file get random values."""
    content = bytearray(raw)
    for _ in range(chance.choice([1, 1, 2, 8, 64])):
        content[chance.randrange(len(content))] = chance.randrange(256)
    return bytes(content)


def cut(raw: bytes, chance: random.Random) -> bytes:
    """The file ends early, late, or lacks a piece in the middle."""
    start = chance.randrange(len(raw) + 1)
    return chance.choice(
        [raw[:start], raw + raw[:start], raw[:start] + raw[start + chance.randrange(1, 40) :], b""]
    )


def change_length(raw: bytes, chance: random.Random) -> bytes:
    """The header length lies."""
    length = chance.choice([0, 1, 2, 8, len(raw), 2**31, 2**63, 2**64 - 1, chance.randrange(2000)])
    return length.to_bytes(8, "little") + raw[8:]


def bombs(raw: bytes, chance: random.Random) -> bytes:
    """Headers that cost far more to parse than they are long, or are no JSON at all."""
    count = chance.choice([10, 1000, 20000])
    text = chance.choice(
        [
            b'{"a":' * count, b"{" + b'"a":[' * count, b'{"a":' + b"[]," * count, b"[" * count,
            b'{"a":' + b"9" * count + b"}", b'{"a":NaN}', b'{"\xff":1}', b'{"a":1,"a":1}',
            b'{"a":' + b'{"b":{}},' * count + b"1}", b"{" + b" " * count + b"}",
        ]
    )  # fmt: skip
    return len(text).to_bytes(8, "little") + text


def change_header(raw: bytes, chance: random.Random) -> bytes:
    """A field of the tensor table is replaced, dropped, repeated or renamed."""
    header, data = split(raw)
    names = [name for name in header if name != "__metadata__"]
    name = chance.choice(names)
    action = chance.randrange(5)
    if action == 0:
        header[name][chance.choice(list(header[name]))] = chance.choice(STRANGE)
    elif action == 1:
        del header[name]
    elif action == 2:
        header[str(chance.choice(STRANGE))] = copy.deepcopy(header[name])
    elif action == 3:
        header[str(chance.choice(STRANGE))] = header.pop(name)
    else:
        offsets = header[name]["data_offsets"]
        offsets[chance.randrange(2)] += chance.choice([-8, -1, 1, 8, 2**40, -(2**40)])
    return join(header, data)


def change_metadata(raw: bytes, chance: random.Random) -> bytes:
    """A field of the patch's own description is replaced, dropped or added."""
    header, data = split(raw)
    description = json.loads(header["__metadata__"]["hfbiasedit"])
    place = description
    for _ in range(chance.randrange(4)):
        inner = [key for key, value in place.items() if isinstance(value, dict)]
        if not inner:
            break
        place = place[chance.choice(inner)]
    if place and chance.random() < 0.7:
        place[chance.choice(list(place))] = copy.deepcopy(chance.choice(STRANGE))
    elif place and chance.random() < 0.5:
        place.pop(chance.choice(list(place)))
    else:
        place[str(chance.choice(STRANGE))] = copy.deepcopy(chance.choice(STRANGE))
    header["__metadata__"]["hfbiasedit"] = json.dumps(description)
    if chance.random() < 0.1:
        header["__metadata__"] = chance.choice(STRANGE)
    return join(header, data)


def change_values(raw: bytes, chance: random.Random) -> bytes:
    """Positions get out of order or out of range; values become NaN or infinite."""
    header, data = split(raw)
    content = bytearray(data)
    name = chance.choice([name for name in header if name != "__metadata__"])
    info = header[name]
    begin, end = info["data_offsets"]
    size = {"I64": 8, "F32": 4}.get(info["dtype"], 2)
    place = begin + size * chance.randrange((end - begin) // size)
    if size == 8:
        wrong = chance.choice([-1, 0, 1, 2**31, 2**62, -(2**63), 2**63 - 1, chance.randrange(50)])
        content[place : place + 8] = wrong.to_bytes(8, "little", signed=True)
    else:
        top = chance.choice([b"\x80\x7f", b"\xc0\xff", b"\x00\x7c", b"\xff\x7f"])
        content[place + size - 2 : place + size] = top
    return join(header, bytes(content))


MUTATIONS = (
    flip_bytes, cut, change_length, bombs, change_header, change_metadata, change_values,
)  # fmt: skip


def mutate(raw: bytes, seed: int) -> bytes:
    """A damaged version of a patch file; the seed decides how."""
    chance = random.Random(seed)
    raw = chance.choice(MUTATIONS)(raw, chance)
    if chance.random() < 0.2 and len(raw) > 16:
        raw = flip_bytes(raw, chance)
    return raw


def attack(raw: bytes, base: Path, room: Path) -> str:
    """Use a patch file in every way; returns `refused` or `accepted`.

    Asserts what must hold for any bytes: only our own one-line error, no file but the output
    directory, no change of the checkpoint on failure, no memory out of proportion, and a patch
    that was accepted comes off again bit for bit.
    """
    file, out, own = room / "p.safetensors", room / "out", room / "own"
    shutil.rmtree(room, ignore_errors=True)
    room.mkdir()
    file.write_bytes(raw)
    shutil.copytree(base, own)
    before = fingerprint(base)
    tracemalloc.start()
    try:
        outcomes = {_outcome(file, base, out), _outcome_in_place(file, own, before)}
        assert tracemalloc.get_traced_memory()[1] < 40 * len(raw) + 4_000_000
    finally:
        tracemalloc.stop()
    assert len(outcomes) == 1
    assert fingerprint(base) == before
    expected = {"p.safetensors", "own"} | ({"out"} if "accepted" in outcomes else set())
    assert {entry.name for entry in room.iterdir()} == expected
    return outcomes.pop()


def _outcome(file: Path, base: Path, out: Path) -> str:
    for action in (lambda: Patch.load(file).check(), lambda: Patch.load(file).summary()):
        try:
            action()
        except BiasEditError as error:
            _one_line(error)
    try:
        assert verify_patch(base, file).state in ("applied", "not applied", "mixed", "neither")
    except BiasEditError as error:
        _one_line(error)
    try:
        apply_patch(base, file, out)
    except BiasEditError as error:
        _one_line(error)
        return "refused"
    back = out.with_name("back")
    apply_patch(out, file, back, reverse=True)
    assert fingerprint(back) == fingerprint(base)
    shutil.rmtree(back)
    return "accepted"


def _outcome_in_place(file: Path, own: Path, before: dict[str, str]) -> str:
    try:
        apply_patch(own, file, in_place=True)
    except BiasEditError:
        assert fingerprint(own) == before
        assert not marks.pending(own)
        return "refused"
    apply_patch(own, file, in_place=True, reverse=True)
    assert fingerprint(own) == before
    return "accepted"


def _one_line(error: BiasEditError) -> None:
    text = str(error)
    assert text
    assert "\n" not in text
    assert "\x1b" not in text
