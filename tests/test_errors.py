import pytest

from hfbiasedit.errors import listed


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
