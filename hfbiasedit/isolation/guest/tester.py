"""The testing process: starts the judged one, runs the tests against it, writes the verdict.

The tests call a stand-in for the entry point, which carries plain values to the judged process
and back. The verdict is written by this process alone, after the last test has ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from typing import Any

from .channel import Channel
from .guards import guard

Verdict = tuple[str, str]
_HELPERS_ONLY = "    pass\n"


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
        channel.send({key: job[key] for key in ("program", "entry_point", "limits", "guards")})
        guards = channel.receive()[1]
        own = {**job["limits"], "cpu_seconds": 2 * job["limits"]["cpu_seconds"] + 1}
        guard(own, os.getcwd(), tuple(job["guards"]), private=True)
        verdict = _test(channel, job)
    except BaseException as error:
        verdict = _name(error)
    if channel.broken:
        verdict = _how_it_ended(judged, job["limits"]["cpu_seconds"])
    say(verdict=verdict[0], detail=verdict[1][:300], guards=guards)
    os._exit(0)


def _test(channel: Channel, job: dict[str, Any]) -> Verdict:
    state, *rest = channel.receive()
    if state != "ready":
        return _classify(str(rest[0]), str(rest[1]))
    namespace: dict[str, Any] = {"__name__": "tests"}
    if job["helpers"]:  # definitions of the problem that the tests may use
        _run(job["helpers"], namespace)
    channel.know_exceptions(namespace)
    candidate = channel.borrow(int(rest[0]))
    namespace[job["entry_point"]] = candidate
    _run(job["test"], namespace)
    if callable(namespace.get("check")):
        namespace["check"](candidate)
    return "passed", ""


def _run(source: str, namespace: dict[str, Any]) -> None:
    try:
        code = compile(source, "<tests>", "exec")
    except SyntaxError:  # a prompt that ends in the head of a function
        code = compile(source.rstrip() + "\n" + _HELPERS_ONLY, "<tests>", "exec")
    exec(code, namespace)  # noqa: S102


def _name(error: BaseException) -> Verdict:
    return _classify(type(error).__name__, str(error))


def _classify(kind: str, text: str) -> Verdict:
    """The verdict for an exception: running out of memory has one of its own."""
    verdict = "memory" if kind == "MemoryError" else "failed"
    return verdict, f"{kind}: {text}" if text else kind


def _how_it_ended(judged: subprocess.Popen[bytes], cpu_seconds: int) -> Verdict:
    """Why the judged process stopped answering."""
    assert judged.stdin is not None
    with contextlib.suppress(OSError):
        judged.stdin.close()
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
