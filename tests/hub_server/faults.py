"""Faults on demand: what goes wrong with which request, and how often."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass
class Fault:
    """One thing that goes wrong.

    A request matches when its method is `method` (None: any) and the regular expression
    `path` is found in its path and query. The first `skip` matches pass; the next
    `times` are hit. Several of the effects may be combined.
    """

    path: str
    method: str | None = None
    times: int = 1
    skip: int = 0
    status: int | None = None  # answer this instead
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | object = b""  # bytes, or an object sent as JSON
    drop: bool = False  # close the connection without doing or answering anything
    lose_answer: bool = False  # do what was asked, then close without an answer
    cut: int | None = None  # close after this many bytes of the body
    reset: bool = False  # close with a reset instead of an ordinary end
    pace: float | None = None  # seconds between pieces of 16 KiB of the body
    flip: int | None = None  # change the byte at this position of the body
    before: Callable[[], object] | None = None  # run this before answering
    hits: int = 0

    def payload(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


class Faults:
    """The faults still to come, in the order they were ordered."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> Fault:
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """The fault that hits this request, if any; counts it."""
        with self._lock:
            for fault in self._faults:
                if fault.method not in (None, method) or not re.search(fault.path, path):
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                if fault.hits < fault.times:
                    fault.hits += 1
                    return fault
        return None
