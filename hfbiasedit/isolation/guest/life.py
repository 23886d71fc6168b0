"""A process of a judgement ends as soon as the one that started it is gone."""

from __future__ import annotations

import _thread
import contextlib
import os
import select


def end_with(descriptor: int) -> None:
    """End this process when no writer of a pipe is left, whatever the main thread is doing.

    A thread waits for it, because a signal from the kernel (`PR_SET_PDEATHSIG`) does not reach a
    process behind Landlock. Call it after the guards, which hold for the calling thread and those
    that it starts. Does nothing where pipes cannot be watched or threads not be started.

    Args:
        descriptor: the read end, of which nothing is read here.
    """
    if not hasattr(select, "poll"):  # Windows
        return
    waiting = select.poll()
    waiting.register(descriptor, 0)

    def watch() -> None:
        waiting.poll()
        os._exit(0)

    with contextlib.suppress(RuntimeError):
        _thread.start_new_thread(watch, ())
