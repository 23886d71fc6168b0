"""Many judgements: a few at a time, and again alone where the clock ended one."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hfbiasedit import console
from hfbiasedit.isolation.judge import Case, Judgement, Limits, judge

_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # "max 100000" or "150000 100000": microseconds of each


def usable_processors() -> int:
    """Processors that this process may use: its affinity and its container's quota count."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = _QUOTA.read_text().split()
        if quota != "max":
            count = min(count, round(int(quota) / int(period)))
    return max(1, count)


def judge_all(
    cases: Sequence[Case],
    limits: Limits,
    guards: tuple[str, ...],
    *,
    workers: int | None = None,
    on_done: Callable[[], object] = lambda: None,
) -> list[Judgement]:
    """Judge every case; ends at once, with all processes, on Ctrl-C and on SIGTERM.

    A program that ran out of time on the clock is judged again with nothing beside it: it may
    have waited for the others.

    Args:
        cases: what to judge. limits, guards: see `judge`.
        workers: judgements at a time, at most one per usable processor (None: so many).
        on_done: called after each case.
    """
    usable = usable_processors()
    if workers is not None and workers > usable:
        console.warn(f"{workers} workers were asked for, and {usable} processors are usable")
    stop = threading.Event()

    def one(case: Case) -> Judgement:
        found = judge(case, limits, guards, stop)
        on_done()
        return found

    pool = ThreadPoolExecutor(min(workers or usable, usable))
    with _interrupted_by_sigterm():
        try:
            judged = list(pool.map(one, cases))
            return [
                judge(case, limits, guards, stop) if found.clock else found
                for case, found in zip(cases, judged, strict=True)
            ]
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Let SIGTERM run what Ctrl-C runs, where nobody has said what else it does."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
