"""Many judgements: how many at a time, what the clock ends, and what is left after a stop."""

import functools
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from hfbiasedit.isolation import folders, pool
from hfbiasedit.isolation.judge import GUARDS, Case, Judgement, Limits, judge
from tests.isolation.watching import inside, until

POSIX = pytest.mark.skipif(os.name == "nt", reason="signals and limits of POSIX")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="uses Linux's /proc")
CASES = [Case(f"def f(): return {number}", "f", "assert f() >= 0") for number in range(6)]


def test_processors_are_those_of_affinity_and_quota(monkeypatch, tmp_path):
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr(pool, "_QUOTA", quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert pool.usable_processors() == 8
    for text, count in (("max 100000", 8), ("300000 100000", 3), ("50000 100000", 1), ("?", 8)):
        quota.write_text(text)
        assert pool.usable_processors() == count


def test_no_more_judgements_than_processors_at_a_time(monkeypatch, capsys):
    made = []

    class Pool(ThreadPoolExecutor):
        def __init__(self, most):
            made.append(most)
            super().__init__(most)

    monkeypatch.setattr(pool, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(pool, "judge", lambda *_: Judgement("passed"))
    monkeypatch.setattr(pool, "usable_processors", lambda: 2)
    done = []
    for workers in (24, 1, None):
        on_done = functools.partial(done.append, 1)
        judged = pool.judge_all(CASES, Limits(), GUARDS, workers=workers, on_done=on_done)
        assert [j.verdict for j in judged] == ["passed"] * 6
    assert made == [2, 1, 2]
    assert len(done) == 18
    assert capsys.readouterr().err.count("workers were asked for") == 1


def test_what_the_clock_ended_is_judged_again_alone(monkeypatch):
    seen = []

    def first_time_slow(case, *_):
        seen.append(case)
        late = case in CASES[1:3] and seen.count(case) == 1
        return Judgement("timeout", "clock", clock=True) if late else Judgement("passed")

    monkeypatch.setattr(pool, "judge", first_time_slow)
    judged = pool.judge_all(CASES, Limits(), GUARDS, workers=1)
    assert [j.verdict for j in judged] == ["passed"] * 6
    assert seen == [*CASES, *CASES[1:3]]


@POSIX
def test_clock_and_processor_time_are_told_apart():
    loop = Case("def f():\n    while True: pass", "f", "f()")
    wait = Case("import time\ndef f(): time.sleep(99)", "f", "f()")
    busy = judge(loop, Limits(cpu_seconds=1, wall_seconds=60), GUARDS)
    idle = judge(wait, Limits(cpu_seconds=1, wall_seconds=3), GUARDS)
    assert (busy.verdict, busy.clock) == ("timeout", False)
    assert "processor" in busy.detail
    assert (idle.verdict, idle.clock) == ("timeout", True)
    assert "clock" in idle.detail


SCRIPT = """
import sys, tempfile
from pathlib import Path
from hfbiasedit.isolation.judge import Case, Limits
from hfbiasedit.isolation.pool import judge_all
tempfile.tempdir = sys.argv[1]
guards = tuple(sys.argv[2].split(","))
program = "import time\\nopen('started', 'w')\\ndef f():\\n    time.sleep(600)"
cases = [Case(program, "f", f"f()  # {n}") for n in range(9)]
judge_all(cases, Limits(cpu_seconds=1, wall_seconds=600), guards, workers=2)
"""


@LINUX
@pytest.mark.parametrize("guards", ["landlock,seccomp,hook", "hook"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_outlives_a_judge_that_is_stopped(tmp_path, number, guards):
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), guards]
    judging = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        assert until(lambda: list(tmp_path.glob("*/judged/started")))
        assert inside(tmp_path)
        judging.send_signal(number)
        judging.wait(timeout=60)
        assert judging.returncode in (-number, 128 + number, 1)
        assert until(lambda: not inside(tmp_path))
    finally:
        judging.kill()
        judging.wait()
        for pid in inside(tmp_path):
            os.kill(pid, signal.SIGKILL)
    if number != signal.SIGKILL:
        assert list(tmp_path.iterdir()) == []


@POSIX
def test_folders_of_dead_judges_are_removed_and_those_of_living_ones_stay(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = tmp_path / "hfbiasedit-judged-left"
    (left / "judged").mkdir(parents=True)
    (tmp_path / "something else").mkdir()
    folders.remove_left()
    assert left.exists()  # it may have been made a moment ago, its lock not yet taken
    with folders.working_folder() as living:
        folders.remove_left(0)
        assert living.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["something else"]
