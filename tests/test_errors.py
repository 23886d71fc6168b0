import pytest

from hfbiasedit.errors import first_line, listed


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], ""),
        (["a"], "a"),
        (["a", "b"], "a, b"),
        (["a", "b", "c"], "a, b and 1 more"),
        (list("abcdefg"), "a, b and 5 more"),
    ],
)
def test_a_list_of_names_is_cut(names, text):
    assert listed(names, 2) == text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("one.\ntwo", "one."),
        ("one of:\n  (1) this\n\n  (2) that", "one of: (1) this (2) that"),
        ("", "ValueError"),
    ],
)
def test_a_line_that_announces_others_is_not_cut_off(text, line):
    assert first_line(ValueError(text)) == line
