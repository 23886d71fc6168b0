"""Which prices are tried: dearer ones while dev falls, cheaper ones towards the allowed divergence."""

import pytest
import torch

from hfbiasedit.editing.solving import candidates as module
from hfbiasedit.editing.solving.candidates import best_of, candidates
from hfbiasedit.editing.solving.task import Score
from tests.editing import worlds

LIMIT = 0.05


def _tried(monkeypatch, scores, hold=True, tries=4):
    """The states of one search whose measurements are `scores`: pairs of dev and divergence."""
    loaded = worlds.loaded("llama")
    left = iter(scores)

    def scored(task, dev):
        fb, kl = next(left)
        return Score(fb, torch.tensor([kl], dtype=torch.float64), 1.0)

    monkeypatch.setattr(module, "scored", scored)
    with worlds.bench(loaded, worlds.selection(loaded.model, "rows"), max_kl=LIMIT) as bench:
        choice, found = candidates(bench, bench.linear(None), tries=tries, hold=hold)
        states = list(found)
    assert states[0].price == choice.price
    return states, [state.price / choice.price for state in states]


def test_dearer_prices_are_tried_while_dev_falls(monkeypatch):
    states, prices = _tried(monkeypatch, [(10.0, 0.01), (9.0, 0.008), (8.0, 0.006), (8.0, 0.004)])
    assert prices == pytest.approx([1, 3, 9, 27])
    assert best_of(states, LIMIT) is states[2]
    lengths = [float(state.move.norm()) for state in states]
    assert lengths == sorted(lengths, reverse=True)
    # As soon as one is worse, the search is over: the one before was dearer than the first.
    assert len(_tried(monkeypatch, [(10.0, 0.01), (9.0, 0.008), (9.5, 0.006)])[0]) == 3


def test_where_the_dearer_price_is_no_better_cheaper_ones_follow(monkeypatch):
    _, prices = _tried(monkeypatch, [(10.0, 0.01), (10.0, 0.008), (9.0, 0.03), (8.5, 0.045)])
    assert prices[:2] == pytest.approx([1, 3])
    assert 1 > prices[2] > prices[3]


@pytest.mark.parametrize(("first", "hold"), [(0.2, True), (0.01, False)])
def test_a_curve_and_a_move_that_is_not_allowed_only_approach_the_limit(monkeypatch, first, hold):
    scores = [(10.0, first), (9.0, 0.045)]
    states, prices = _tried(monkeypatch, scores, hold=hold, tries=2)
    assert len(states) == 2
    assert (prices[1] > 1) == (first > LIMIT)
    assert prices[1] != pytest.approx(3)


def test_no_more_than_so_many_are_tried(monkeypatch):
    assert len(_tried(monkeypatch, [(10.0 - n, 0.01) for n in range(9)], tries=3)[0]) == 3
    assert len(_tried(monkeypatch, [(10.0 + n, 0.01) for n in range(9)], tries=3)[0]) == 3
    assert len(_tried(monkeypatch, [(10.0, 0.01)], tries=1)[0]) == 1
