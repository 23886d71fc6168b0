"""The judged process: runs the program, then answers calls of its entry point.

It never sees a test, an expected value or the verdict.
"""

from __future__ import annotations

import os
import sys
import types
from typing import Any

from .channel import Channel, Closed
from .guards import guard
from .life import end_with


def main() -> None:
    """Take over standard input and output for the channel, read the job, serve."""
    incoming = os.fdopen(os.dup(0), "rb")
    outgoing = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # what the program prints is thrown away
        os.dup2(nowhere, stream)
    os.close(nowhere)
    channel = Channel(incoming, outgoing)
    try:
        (job,) = channel.receive()
        channel.send("guards", guard(job["limits"], os.getcwd(), tuple(job["guards"])))
        end_with(incoming.fileno())
        _run(channel, job)
    except Closed:
        pass
    # Nothing that the program registered (atexit, threads) runs after the last answer.
    os._exit(0)


def _run(channel: Channel, job: dict[str, Any]) -> None:
    # A real module: dataclasses and enumerations look for the one they are defined in.
    module = sys.modules["solution"] = types.ModuleType("solution")
    namespace = vars(module)
    try:
        exec(compile(job["program"], "<solution>", "exec"), namespace)  # noqa: S102
        function = namespace[job["entry_point"]]
        if not callable(function):
            raise TypeError(f"{job['entry_point']} is not callable")
    except KeyError:
        channel.send("broken", "NameError", f"no function {job['entry_point']} is defined")
        return
    except BaseException as error:
        channel.send("broken", type(error).__name__, str(error)[:300])
        return
    channel.share({name: namespace[name] for name in job["classes"] if name in namespace})
    sys.setrecursionlimit(max(1000, sys.getrecursionlimit()))
    channel.send("ready", channel.lend(function))
    channel.serve()
