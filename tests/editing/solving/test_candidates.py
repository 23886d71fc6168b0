"""Which prices are tried: dearer ones while dev falls, or those that approach the limit."""

from dataclasses import replace

import pytest
import torch

from hfbiasedit.editing.solving import candidates as module
from hfbiasedit.editing.solving.candidates import best_of, candidates
from hfbiasedit.editing.solving.task import Score
from tests.editing import worlds

LIMIT = 0.05


def _tried(monkeypatch, scores, hold=True, tries=4, spent=0.0):
    """The states of one search whose measurements are `scores`: pairs of dev and divergence."""
    loaded = worlds.loaded("llama")
    left = iter(scores)

    def scored(task, dev):
        fb, kl = next(left)
        return Score(fb, torch.tensor([kl], dtype=torch.float64), 1.0)

    monkeypatch.setattr(module, "scored", scored)
    with worlds.bench(loaded, worlds.selection(loaded.model, "rows"), max_kl=LIMIT) as bench:
        bench = replace(bench, spent=spent)
        choice, found = candidates(bench, bench.linear(), tries=tries, hold=hold)
        states = list(found)
    assert states[0].price == choice.price
    return states, [state.price / choice.price for state in states]


def test_dearer_prices_are_tried_while_dev_falls(monkeypatch):
    states, prices = _tried(monkeypatch, [(10.0, 0.01), (9.0, 0.008), (8.0, 0.006), (8.0, 0.004)])
    assert prices == pytest.approx([1, 3, 27, 729])
    assert best_of(states, LIMIT) is states[2]
    lengths = [float(state.move.norm()) for state in states]
    assert lengths == sorted(lengths, reverse=True)
    # As soon as one is worse, the search is over: the one before was dearer than the first.
    assert len(_tried(monkeypatch, [(10.0, 0.01), (9.0, 0.008), (9.5, 0.006)])[0]) == 3


def test_where_the_dearer_price_is_no_better_the_search_is_over(monkeypatch):
    states, prices = _tried(monkeypatch, [(10.0, 0.01), (10.0, 0.008)])
    assert prices == pytest.approx([1, 3])
    assert best_of(states, LIMIT) is states[0]


def test_where_nothing_is_better_than_the_original_cheaper_prices_follow(monkeypatch):
    scores = [(90.0, 0.01), (91.0, 0.008), (90.0, 0.03), (85.0, 0.045)]
    _, prices = _tried(monkeypatch, scores)
    assert prices[:2] == pytest.approx([1, 3])
    assert 1 > prices[2] > prices[3]


@pytest.mark.parametrize(
    ("spent", "cost", "aim"), [(0.0, 0.1, 0.95), (0.03, 0.04, 0.35), (0.06, 0.04, 0.1)]
)
def test_a_further_round_aims_at_what_is_left_of_the_limit(monkeypatch, spent, cost, aim):
    """By what the move itself costs; at a tenth of the limit where nothing is left."""
    scores = [(10.0, spent + cost), (9.0, LIMIT)]
    states, _ = _tried(monkeypatch, scores, spent=spent, tries=2)
    ratio = states[1].predicted / states[0].predicted
    assert ratio == pytest.approx(aim * LIMIT / cost, rel=0.1)


@pytest.mark.parametrize(("first", "hold"), [(0.2, True), (0.01, False)])
def test_a_curve_and_a_move_that_is_not_allowed_only_approach_the_limit(monkeypatch, first, hold):
    scores = [(10.0, first), (9.0, 0.045)]
    states, prices = _tried(monkeypatch, scores, hold=hold, tries=2)
    assert len(states) == 2
    assert (prices[1] > 1) == (first > LIMIT)
    assert prices[1] != pytest.approx(3)


def test_no_more_than_so_many_are_tried(monkeypatch):
    assert len(_tried(monkeypatch, [(10.0 - n, 0.01) for n in range(9)], tries=3)[0]) == 3
    over = [(10.0 + n, 0.2) for n in range(9)]
    assert len(_tried(monkeypatch, over, tries=3)[0]) == 3
    assert len(_tried(monkeypatch, [(10.0, 0.01)], tries=1)[0]) == 1
