"""Judge one program against one problem: two children, limits, a deadline, one verdict.

The tests run in one child and the judged code in another (see `guest/`), so that the judged
code never shares a process with the tests, the expected values or the verdict.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hfbiasedit.errors import BiasEditError
from hfbiasedit.isolation.folders import remove_left, working_folder

VERDICTS = ("passed", "failed", "timeout", "memory", "crashed", "unjudged")
_START = (
    "import importlib, sys; sys.path.insert(0, sys.argv[1]); "
    "main = importlib.import_module('guest.' + sys.argv[2]).main; del sys.path[0]; main()"
)
_MOST_OUTPUT = 64 << 10  # bytes of verdict; the tester writes two short lines
_LOOK_EVERY = 0.1  # seconds between looks at the working folder
_MARK = "HFBIASEDIT_JUDGED"
GUARDS = ("landlock", "seccomp", "hook")
# Libraries that solutions like, some of them in extension modules with libraries of their own.
_HARMLESS = """
import bisect, cmath, collections, copy, datetime, decimal, fractions, functools, hashlib, heapq
import itertools, json, math, operator, random, re, statistics, string, struct, typing
def double(values): return [2 * value for value in values]
"""


@dataclass(frozen=True)
class Limits:
    """What one judgement may use; lowered further where the system's hard limit is lower.

    Attributes:
        cpu_seconds: processor time of the judged code; an endless loop ends here.
        wall_seconds: time on the clock for everything, None: four times `cpu_seconds` plus 2.
        memory_mib: address space.
        file_mib: size of one file, and of all files in the working folder together.
        open_files: file descriptors.
    """

    cpu_seconds: int = 3
    wall_seconds: float | None = None
    memory_mib: int = 1024
    file_mib: int = 16
    open_files: int = 64

    @property
    def deadline(self) -> float:
        """Seconds on the clock after which everything is killed."""
        return 4 * self.cpu_seconds + 2 if self.wall_seconds is None else self.wall_seconds


@dataclass(frozen=True)
class Case:
    """A program to judge: its source, the function to test, the tests and what they may use."""

    program: str
    entry_point: str
    test: str
    helpers: str = ""


@dataclass(frozen=True)
class Judgement:
    """A verdict of `VERDICTS` with the reason, and what guarded the process.

    `clock` is true for a timeout on the clock, with processor time left: the program waited, or
    others were in its way.
    """

    verdict: str
    detail: str = ""
    guards: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    clock: bool = False


def judge(
    case: Case,
    limits: Limits | None = None,
    guards: tuple[str, ...] = GUARDS,
    stop: threading.Event | None = None,
) -> Judgement:
    """Judge `case` in fresh processes; never raises for anything that the program does.

    Args:
        case: what to run.
        limits: see `Limits`.
        guards: the guards to try; those that the platform lacks are left out (see `Judgement`).
        stop: when it is set, the judgement ends at once and says nothing about the program.
    """
    limits = limits or Limits()
    with working_folder() as root:
        for name in ("judged", "tests"):
            (root / name).mkdir()
        job = {
            **asdict(case),
            "limits": asdict(limits),
            "guards": guards,
            "nonce": secrets.token_hex(16),
            "folder": str(root / "judged"),
            "start": ["-c", _START, str(Path(__file__).parent)],
            "environment": {**_environment(), _MARK: secrets.token_hex(16)},
        }
        run = _Run(job, root, limits)
        try:
            return run.wait(stop)
        finally:
            run.kill()


def usable_guards(limits: Limits | None = None) -> tuple[str, ...]:
    """Guards under which a correct program passes here, found by trying.

    Without this, a system on which the children cannot even start would give every model zero.

    Raises:
        BiasEditError: a correct program does not pass under any of them.
    """
    remove_left()
    case = Case(_HARMLESS, "double", "assert double([1, 2]) == [2, 4]")
    for guards in (GUARDS, ("seccomp", "hook"), ("hook",)):
        tried = judge(case, limits, guards)
        if tried.verdict == "passed":
            return guards
    raise BiasEditError(
        f"programs cannot be judged on this system: a correct one ended as {tried.verdict} "
        f"({tried.detail}); try a larger --memory-mib or --timeout, or another machine"
    )


class _Run:
    """The running pair of processes of one judgement."""

    def __init__(self, job: dict[str, Any], root: Path, limits: Limits) -> None:
        self._job, self._root, self._limits = job, root, limits
        self._lines: list[dict[str, Any]] = []
        self._tester = subprocess.Popen(
            [sys.executable, "-I", "-S", *job["start"], "tester"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=root / "tests",
            env=_environment(),
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._talk, daemon=True)
        self._reader.start()

    def wait(self, stop: threading.Event | None = None) -> Judgement:
        """Wait for the verdict, the deadline, too much data on disk or an order to stop."""
        end = time.monotonic() + self._limits.deadline
        while True:
            self._reader.join(_LOOK_EVERY)
            if not self._reader.is_alive():
                return self._verdict()
            if _size(self._root) > self._limits.file_mib << 20:
                return Judgement("failed", f"wrote more than {self._limits.file_mib} MiB of files")
            if time.monotonic() > end:
                detail = f"no end after {self._limits.deadline:g} s on the clock"
                return Judgement("timeout", detail, clock=True)
            if stop is not None and stop.is_set():
                return Judgement("unjudged", "interrupted")

    def kill(self) -> None:
        """Kill both sessions and whatever left them; no process of this run stays."""
        pids = [line["pid"] for line in self._lines if isinstance(line.get("pid"), int)]
        for pid in (self._tester.pid, *pids):
            with contextlib.suppress(OSError):
                if hasattr(os, "killpg"):
                    os.killpg(pid, signal.SIGKILL)
                else:
                    os.kill(pid, signal.SIGTERM)
        self._tester.kill()
        self._tester.wait()
        if not self._lines or "seccomp" not in self._judgement(self._lines[-1]).guards:
            _sweep(self._job["environment"][_MARK])
        self._reader.join(5)
        for stream in (self._tester.stdin, self._tester.stdout):
            assert stream is not None
            with contextlib.suppress(OSError):
                stream.close()

    def _talk(self) -> None:
        """Hand the job over and read the tester's lines until it ends."""
        incoming, outgoing = self._tester.stdout, self._tester.stdin
        assert incoming is not None
        assert outgoing is not None
        with contextlib.suppress(OSError):
            outgoing.write(json.dumps(self._job).encode("ascii") + b"\n")
            outgoing.flush()  # it stays open: the tester ends itself when it ends
        total = 0
        for line in iter(lambda: incoming.readline(_MOST_OUTPUT), b""):
            total += len(line)
            if total > _MOST_OUTPUT:
                break
            with contextlib.suppress(ValueError):
                said = json.loads(line)
                if isinstance(said, dict) and said.pop("nonce", None) == self._job["nonce"]:
                    self._lines.append(said)

    def _verdict(self) -> Judgement:
        if self._lines and self._lines[-1].get("verdict") in VERDICTS:
            return self._judgement(self._lines[-1])
        code = self._tester.wait()
        if -code == getattr(signal, "SIGXCPU", None):
            return Judgement("timeout", "the tests used too much processor time")
        return Judgement("crashed", f"the tests ended with status {code} and no verdict")

    @staticmethod
    def _judgement(line: dict[str, Any]) -> Judgement:
        guards = line.get("guards") or {}
        return Judgement(
            line.get("verdict", "crashed"),
            line.get("detail", ""),
            tuple(guards.get("active", ())),
            tuple(guards.get("missing", ())),
        )


def _environment() -> dict[str, str]:
    """Nothing; Windows cannot start a process without knowing where the system is."""
    return {"SYSTEMROOT": os.environ["SYSTEMROOT"]} if "SYSTEMROOT" in os.environ else {}


def _size(folder: Path) -> int:
    """Bytes on disk below `folder`, counting a block for every file, as far as it can be read."""
    total = 0
    for directory, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += 4096 + os.lstat(os.path.join(directory, name)).st_blocks * 512
    return total


def _sweep(mark: str) -> None:
    """Kill processes that carry the run's mark but left its session (where /proc tells)."""
    sign = f"{_MARK}={mark}".encode()
    for _ in range(50):
        found = False
        for entry in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if sign in entry.read_bytes():
                    found = True
                    os.kill(int(entry.parent.name), signal.SIGKILL)
        if not found:
            return
        time.sleep(0.01)
