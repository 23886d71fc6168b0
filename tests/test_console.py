"""What is written to which stream, and how much of it."""

import json

from hfbiasedit import console


def test_messages_and_warnings_go_to_standard_error(capsys):
    console.message("working [bold]on[/bold] it")
    console.warn("look out")
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "working [bold]on[/bold] it\nwarning: look out\n"


def test_quiet_leaves_warnings(capsys):
    console.set_verbosity(quiet=True)
    console.message("working")
    console.warn("look out")
    assert capsys.readouterr().err == "warning: look out\n"


def test_json_is_one_document_in_ascii(capsys):
    value = {"name": "Müller", "odd": "\ud800", "arrow": "→"}
    console.print_json(value)
    text = capsys.readouterr().out
    assert text.isascii()
    assert json.loads(text) == value


def test_tracked_counts_the_items_it_gives(monkeypatch):
    seen = []
    for item in console.tracked(["a", "b", "c"], "letters"):
        phase = console.board().phases[-1]
        seen.append((item, phase.done, phase.total))
    assert seen == [("a", 0, 3), ("b", 1, 3), ("c", 2, 3)]
    assert console.board().phases == []


def test_tracked_takes_what_has_no_length():
    for _ in console.tracked(iter("ab"), "letters"):
        assert console.board().phases[-1].total is None
    for _ in console.tracked(iter("ab"), "letters", 2):
        assert console.board().phases[-1].total == 2
