"""Budgets: what they allow, what is refused."""

import math

import pytest

from hfbiasedit.editing.budget import Budget, parse_budget
from hfbiasedit.errors import UsageError


@pytest.mark.parametrize("text", ["0", "0%", "-3", "101", "120%", "many", "", "nan%", "1e999%"])
def test_senseless_budgets_are_refused(text):
    with pytest.raises(UsageError, match="budget"):
        parse_budget(text, 100, 1000)


def test_budgets():
    assert parse_budget("7", 100, 1000).items == 7
    assert parse_budget("2.5%", 100, 1000).items == 2
    assert parse_budget("0.001%", 100, 1000).items == 1
    assert parse_budget("100%", 100, 1000).weights == 1000


@pytest.mark.parametrize(
    ("budget", "multiple", "expected"),
    [
        (Budget(5, 1000, 50.0), 6, Budget(30, 1000, 300.0)),
        (Budget(64, 100, math.inf), 6, Budget(100, 100, math.inf)),
        (Budget(3, 100, 90.0), 1.7, Budget(5, 100, 153.0)),
        (Budget(2, 7, math.inf), math.inf, Budget(7, 7, math.inf)),
    ],
)
def test_a_multiple_is_at_most_everything(budget, multiple, expected):
    assert budget.times(multiple) == expected
