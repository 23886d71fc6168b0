"""Budgets: what they allow, what is refused."""

import math

import pytest

from hfbiasedit.editing.locating.drawn import random_ranking
from hfbiasedit.editing.selecting.allowance import budget_of, check_budget
from hfbiasedit.editing.selecting.budget import Budget, parse_budget
from hfbiasedit.editing.selecting.choosing import select
from hfbiasedit.errors import UsageError
from hfbiasedit.models.architecture import projections
from tests.tiny import tiny_model


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "0%",
        "-3",
        "101",
        "120%",
        "many",
        "",
        "nan%",
        "1e999%",
        "0% of weights",
        "5 of weights",
        "101% of weights",
    ],
)
def test_senseless_budgets_are_refused(text):
    with pytest.raises(UsageError, match="budget"):
        parse_budget(text, 100, 1000, 2000)


def test_budgets():
    assert parse_budget("7", 100, 1000, 2000) == Budget(7, 100, math.inf)
    assert parse_budget("2.5%", 100, 1000, 2000) == Budget(2, 100, 25)
    assert parse_budget("0.001%", 100, 1000, 2000).items == 1
    assert parse_budget("100%", 100, 1000, 2000).weights == 1000
    assert parse_budget("0.5% of weights", 100, 1000, 2000) == Budget(10, 100, 10)
    assert parse_budget("50% of weights", 100, 1000, 2000) == Budget(100, 100, 1000)


@pytest.mark.parametrize("level", ["row", "unit", "neuron"])
def test_a_share_of_the_weights_counts_every_weight(level):
    """Embeddings count although they are not edited, and so does a tied head, once."""
    model = tiny_model("llama")
    stored = {p.data_ptr(): p.numel() for p in model.parameters()}
    ranking = random_ranking(projections(model), 0, {"seed": 0})
    most = 0.2 * sum(stored.values())
    selection = select(model, ranking, level, "20% of weights")
    largest = {"row": 64, "unit": 3 * 32, "neuron": 1}[level]
    assert most - largest < selection.weights <= most


def test_a_count_may_be_a_number():
    model = tiny_model("llama")
    ranking = random_ranking(projections(model), 0, {"seed": 0})
    assert budget_of(model, ranking, "row", 3) == budget_of(model, ranking, "row", "3")
    with pytest.raises(UsageError, match="selects nothing"):
        budget_of(model, ranking, "row", 0)


@pytest.mark.parametrize("level", ["full", "layer", "module"])
def test_whole_matrices_have_no_share_of_the_weights(level):
    with pytest.raises(UsageError, match="does not fit granularity"):
        check_budget(tiny_model("llama"), level, "5% of weights")
