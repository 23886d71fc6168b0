"""Which prices are tried: dearer ones while dev falls, or those that approach the limit."""

import math
from dataclasses import replace

import pytest
import torch

from hfbiasedit.editing.solving import candidates as module
from hfbiasedit.editing.solving.bench import ROUNDS
from hfbiasedit.editing.solving.candidates import best_of, candidates
from hfbiasedit.editing.solving.task import Score
from tests.editing import worlds

LIMIT = 0.05


def _tried(monkeypatch, scores, hold=True, tries=4, free=False, **more):
    """The states of one search whose measurements are `scores`: pairs of dev and divergence."""
    loaded = worlds.loaded("llama")
    left = iter(scores)

    def scored(task, dev, limits, known):
        fb, kl = next(left)
        return Score(fb, torch.tensor([kl], dtype=torch.float64))

    monkeypatch.setattr(module, "scored", scored)
    with worlds.bench(loaded, worlds.selection(loaded.model, "rows"), max_kl=LIMIT) as bench:
        bench = replace(bench, **({"round": ROUNDS} | more))
        choice, found = candidates(bench, bench.linear(), tries=tries, hold=hold)
        states = list(found)
    assert states[0].price == choice.price or free
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


@pytest.mark.parametrize(("first", "tries"), [(9.4, 1), (9.6, 2)])
def test_a_further_round_that_does_well_tries_no_dearer_price(monkeypatch, first, tries):
    """By a twentieth of what was left to it."""
    scores = [(first, 0.01), (9.9, 0.008)]
    states, _ = _tried(monkeypatch, scores, spent=0.01, reached=10.0)
    assert len(states) == tries


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


def test_an_early_round_aims_at_its_own_limit(monkeypatch):
    """But a curve at what the edit is allowed in all."""
    scores = [(10.0, 0.08), (9.0, 0.02)]
    for hold, limit in ((True, LIMIT / math.sqrt(ROUNDS)), (False, LIMIT)):
        states, _ = _tried(monkeypatch, scores, hold=hold, tries=2, round=1)
        ratio = states[1].predicted / states[0].predicted
        assert ratio == pytest.approx(0.95 * limit / 0.08, rel=0.1)


def test_where_it_is_known_what_moves_cost_the_first_one_is_allowed(monkeypatch):
    """By what is left; one that comes out far from that is followed by others."""
    plain, _ = _tried(monkeypatch, [(10.0, 0.04)], tries=1)
    rate = 2 * LIMIT / plain[0].predicted
    more = {"spent": 0.01, "reached": 11.0, "rate": rate}
    states, prices = _tried(monkeypatch, [(10.0, 0.045)], free=True, **more)
    assert prices[0] > 1
    assert states[0].predicted * rate == pytest.approx(0.95 * LIMIT - 0.01, rel=0.2)
    states, _ = _tried(monkeypatch, [(10.0, 0.02), (9.0, 0.045)], free=True, **more)
    assert len(states) == 2  # no dearer one: it was made dearer already
    assert states[1].predicted / states[0].predicted == pytest.approx(3.75, rel=0.1)
    cheap = more | {"rate": 0.5 * rate / 4}
    states, prices = _tried(monkeypatch, [(10.0, 0.045)], **cheap)
    assert prices == [1]


def test_where_nothing_is_left_the_search_ends_at_what_it_aimed_at(monkeypatch):
    """It is drawn back then; one that costs far more than that is followed by another."""
    left = {"spent": 0.049, "reached": 11.0}
    assert len(_tried(monkeypatch, [(10.0, 0.0551), (9.0, 0.05)], **left)[0]) == 1
    assert len(_tried(monkeypatch, [(10.0, 0.06), (9.0, 0.05)], **left)[0]) == 2


@pytest.mark.parametrize("hold", [True, False])
def test_where_the_first_is_not_allowed_others_approach_the_limit(monkeypatch, hold):
    scores = [(10.0, 0.2), (9.0, 0.045)]
    _, prices = _tried(monkeypatch, scores, hold=hold, tries=2)
    assert len(prices) == 2
    assert prices[1] > 1
    assert prices[1] != pytest.approx(3)


def test_a_curve_measures_nothing_beside_a_price_that_is_allowed(monkeypatch):
    assert len(_tried(monkeypatch, [(10.0, 0.01), (9.0, 0.045)], hold=False)[0]) == 1


def test_no_more_than_so_many_are_tried(monkeypatch):
    assert len(_tried(monkeypatch, [(10.0 - n, 0.01) for n in range(9)], tries=3)[0]) == 3
    over = [(10.0 + n, 0.2) for n in range(9)]
    assert len(_tried(monkeypatch, over, tries=3)[0]) == 3
    assert len(_tried(monkeypatch, [(10.0, 0.01)], tries=1)[0]) == 1
