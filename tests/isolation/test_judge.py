"""What the judge believes: lines of its own tester, which open with the number it was given."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace

from hfbiasedit.isolation.judge import _Run


def test_only_lines_with_the_right_number_are_heard():
    said = [
        {"verdict": "passed"},
        {"nonce": "wrong", "verdict": "passed"},
        {"nonce": None, "verdict": "passed"},
        ["right"],
        {"nonce": "right", "pid": 7},
        {"nonce": "right", "verdict": "failed"},
        {"nonce": "", "verdict": "passed"},
    ]
    lines = [json.dumps(line).encode() + b"\n" for line in said]
    sent = io.BytesIO()
    run = object.__new__(_Run)
    run._job, run._lines = {"nonce": "right", "test": "x"}, []
    run._tester = SimpleNamespace(stdin=sent, stdout=io.BytesIO(b"".join([b"junk\n", *lines])))
    run._talk()
    assert run._lines == [{"pid": 7}, {"verdict": "failed"}]
    assert json.loads(sent.getvalue()) == run._job
