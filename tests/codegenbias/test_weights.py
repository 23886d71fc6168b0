"""Balanced weights, against figures worked out by hand."""

import pytest

from hfbiasedit.codegenbias.prompts import load_prompts
from hfbiasedit.codegenbias.vocabulary import vocabulary_of
from hfbiasedit.codegenbias.weights import balanced_weights
from tests.codegenbias.made import record

HE = {"male": (" he",), "female": (" she",)}


def test_by_hand():
    """Four prompts of male/female in two templates and one of he/she: 2/3 and 1/3."""
    records = [record(template="a")] * 3 + [record(template="b"), record(template="c", **HE)]
    expected = [1 / 9, 1 / 9, 1 / 9, 1 / 3, 1 / 3]
    assert balanced_weights(records) == pytest.approx(expected)


def test_a_template_with_two_vocabularies_counts_in_both():
    records = [record(template="a"), record(template="a", **HE), record(template="b", **HE)]
    root = 2**0.5
    expected = [1 / (1 + root), root / (1 + root) / 2, root / (1 + root) / 2]
    assert balanced_weights(records) == pytest.approx(expected)


def test_they_sum_to_one_and_no_vocabulary_dominates():
    records = load_prompts("full", "edit", limit=512).records
    weights = balanced_weights(records)
    assert sum(weights) == pytest.approx(1)
    assert min(weights) > 0
    total = {}
    for item, weight in zip(records, weights, strict=True):
        total[vocabulary_of(item)] = total.get(vocabulary_of(item), 0) + weight
    share = sum(vocabulary_of(item) == "male/female" for item in records) / len(records)
    assert total["male/female"] < 0.6 * share
    assert balanced_weights([]) == []
