"""The testing process: starts the judged one, runs the tests against it, writes the verdict.

The tests call a stand-in for the entry point, which carries plain values to the judged process
and back. The verdict is written by this process alone, after the last test has ended.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import types
from typing import Any

from .channel import Channel
from .checks import Failed, Unjudged, run_helpers, run_tests, shared_classes
from .guards import guard
from .life import end_with

Verdict = tuple[str, str]


def main() -> None:
    """Read the job from standard input; write two lines, each opening with the job's nonce."""
    job = json.loads(sys.stdin.buffer.readline())
    report = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)  # the judged process has pipes of its own, and tests may print
    command = [sys.executable, "-I", "-S", *job["start"], "solution"]
    judged = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=job["folder"],
        env=job["environment"],
        start_new_session=True,
    )
    assert judged.stdin is not None
    assert judged.stdout is not None
    channel = Channel(judged.stdout, judged.stdin)  # type: ignore[arg-type]
    guards: dict[str, Any] = {}

    def say(**what: Any) -> None:
        report.write(json.dumps({"nonce": job["nonce"], **what}) + "\n")
        report.flush()

    say(pid=judged.pid)
    try:
        shared = shared_classes(job["helpers"], job["program"])
        handed = {key: job[key] for key in ("program", "entry_point", "limits", "guards")}
        channel.send({**handed, "classes": shared})
        guards = channel.receive()[1]
        own = {**job["limits"], "cpu_seconds": 2 * job["limits"]["cpu_seconds"] + 1}
        guard(own, os.getcwd(), tuple(job["guards"]), private=True)
        end_with(0)
        verdict = _test(channel, job, shared)
    except BaseException as error:
        verdict = _name(error, channel)
    if channel.broken:
        verdict = _how_it_ended(judged, job["limits"]["cpu_seconds"])
    elif channel.cannot is not None:
        verdict = "unjudged", channel.cannot
    say(verdict=verdict[0], detail=verdict[1][:300], guards=guards)
    os._exit(0)


def _test(channel: Channel, job: dict[str, Any], shared: list[str]) -> Verdict:
    state, *rest = channel.receive()
    if state != "ready":
        return _classify(str(rest[0]), str(rest[1]))
    # A real module: dataclasses, enumerations and unittest look for the one they are defined in.
    module = sys.modules["tests"] = types.ModuleType("tests")
    namespace = vars(module)
    if job["helpers"]:
        run_helpers(job["helpers"], namespace)
    channel.share({name: namespace[name] for name in shared})
    candidate = channel.borrow(int(rest[0]))
    namespace[job["entry_point"]] = candidate
    run_tests(job["test"], namespace, candidate, lambda: channel.calls)
    return "passed", ""


def _name(error: BaseException, channel: Channel) -> Verdict:
    if isinstance(error, Unjudged):
        return "unjudged", str(error)
    if isinstance(error, Failed):
        return _classify(*error.args)
    if isinstance(error, ModuleNotFoundError) and error is not channel.raised:
        return "unjudged", f"the tests need {error.name}, which is no part of Python's library"
    return _classify(type(error).__name__, str(error))


def _classify(kind: str, text: str) -> Verdict:
    """The verdict for an exception: running out of memory has one of its own."""
    verdict = "memory" if kind == "MemoryError" else "failed"
    return verdict, f"{kind}: {text}" if text else kind


def _how_it_ended(judged: subprocess.Popen[bytes], cpu_seconds: int) -> Verdict:
    """Why the judged process stopped answering."""
    try:
        code = judged.wait(timeout=1)
    except subprocess.TimeoutExpired:
        return "crashed", "it closed its channel or answered nonsense"
    if code >= 0:
        return "crashed", f"the process ended itself with status {code}"
    if -code == getattr(signal, "SIGXCPU", None) or (code == -9 and _used() >= cpu_seconds):
        return "timeout", f"used more than {cpu_seconds} s of processor time"
    if -code == getattr(signal, "SIGXFSZ", None):
        return "crashed", "a file grew beyond its limit"
    return "crashed", f"ended by signal {-code} ({signal.Signals(-code).name})"


def _used() -> float:
    """Processor seconds of the children that have ended."""
    import resource

    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
