"""Phases: what is said of them without a terminal, and the bars on one."""

import io

import pytest

from hfbiasedit import phases
from hfbiasedit.phases import Board, duration


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def lines():
    return []


def test_without_a_terminal_a_line_comes_when_the_last_one_is_long_ago(clock, lines):
    board = Board(False, lines.append, 30.0, clock=clock)
    with board.phase("edit", None), board.phase("scoring", 200) as phase:
        clock.now = 29.0
        phase.advance(1)
        board.show()
        assert lines == []
        for _ in range(49):
            phase.advance()
        clock.now = 30.0  # last: the board's own watch may look at any time
        board.show()
        board.show()
        assert lines == ["edit: scoring, 50 of 200 (about 1 min 30 s left); 30 s so far"]
        clock.now = 61.0
        board.show()
    assert len(lines) == 2


def test_what_is_said_between_counts_as_a_line(clock, lines):
    board = Board(False, lines.append, 30.0, clock=clock)
    with board.phase("edit", None):
        clock.now = 29.0
        board.say("measuring the original")
        clock.now = 31.0
        board.show()
    assert lines == ["measuring the original"]


def test_steps_known_from_an_earlier_run_say_nothing_about_the_rate(clock):
    board = Board(False, print, None, clock=clock)
    with board.phase("scoring", 100) as phase:
        phase.advance(80)
        assert phase.left is None
        clock.now = 10.0
        phase.advance(10)
        assert phase.left == pytest.approx(10.0)


def test_an_error_leaves_no_phase_open(clock, lines):
    board = Board(False, lines.append, None, clock=clock)
    with pytest.raises(ValueError):
        with board.phase("outer", 1):
            board.phase("left open", 1).__enter__()
            raise ValueError
    assert board.phases == []


def test_quiet_shows_no_phase(clock, lines):
    board = Board(False, lines.append, 30.0, clock=clock, quiet=True)
    with board.phase("edit", 3):
        clock.now = 100.0
        board.show()
    assert lines == []


def test_the_ends_of_phases_are_said_when_asked_for(clock, lines):
    board = Board(False, lines.append, 1000.0, ends=True, clock=clock)
    with board.phase("locating", 2) as phase:
        with board.phase("a blink", None):
            pass
        phase.advance(2)
        clock.now = 75.0
    assert lines == ["locating, 2 of 2: done in 1 min 15 s"]


def test_a_terminal_has_bars_for_phases_over_two_seconds(clock, lines, monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(phases.sys, "stderr", stream)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    board = Board(True, lines.append, 30.0, clock=clock)
    with board.phase("locating", 40) as outer:
        outer.advance(10)
        clock.now = 1.9
        board.show()
        assert stream.getvalue() == ""
        clock.now = 20.0
        board.show()
        assert "locating" in stream.getvalue()
        assert "10/40  20 s, 1 min 0 s left" not in stream.getvalue()  # ten at once: no rate yet
        outer.advance(10)
        with board.phase("gradients", 4):
            clock.now = 23.0
            board.show()
            assert "gradients" in stream.getvalue()
            assert "20/40" in stream.getvalue()
            board.say("said meanwhile")
        assert "said meanwhile" in stream.getvalue()
    assert lines == []
    board.say("after")
    assert lines == ["after"]


def test_the_watch_shows_what_is_due_by_itself(lines):
    board = Board(False, lines.append, 0.0)
    with board.phase("edit", None):
        for _ in range(600):
            if lines:
                break
            phases.time.sleep(0.05)
    assert lines[0].startswith("edit; ")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (190, "3 min 10 s"), (7500, "2 h 5 min")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text
