"""Moves that one linear model speaks for, measured: the price is what is searched for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from hfbiasedit.editing.material.dual import Solution, solution_at, solution_for
from hfbiasedit.editing.solving.bench import Bench
from hfbiasedit.editing.solving.held import Held, held
from hfbiasedit.editing.solving.leftout import LeftOut, left_out
from hfbiasedit.editing.solving.linearisation import Linear
from hfbiasedit.editing.solving.task import Score, scored

TRIES = 4  # prices of a round, each measured by passes over dev and the watched windows
TARGET = 0.95  # of the allowed divergence
_LEAST = 0.1  # of the allowed divergence: aimed at even where nothing of it is left
_CLOSE = 0.8  # of the allowed divergence: near enough not to try again
_FAR = 1.25  # of what is left of it: in a further round that is for drawing back
_LITTLE = 1.1  # growth of the predicted divergence that is not worth a try
DEARER = 3.0  # times the price, tried where the first price is allowed
WELL = 0.95  # of the distance on dev: a further round that comes below tries no dearer price
_LARGEST = 10.0  # change of the predicted divergence from try to try


@dataclass(frozen=True)
class State:
    """A move [D], the divergence that was predicted for it, its price and its score."""

    move: Tensor
    predicted: float
    price: float
    score: Score


def candidates(
    bench: Bench,
    linear: Linear,
    columns: Tensor | None = None,
    tries: int = TRIES,
    hold: bool = False,
    gram: Tensor | None = None,
) -> tuple[LeftOut, Iterator[State]]:
    """The best moves of a linear model at a few prices, measured; of some coordinates only.

    The first is the one that prompts left out speak for (which is handed on too), in a further
    round no longer than the allowed divergence leaves room for. Where it costs more all the same,
    others approach what is allowed: the prediction is off by a factor that hardly changes. With
    `hold` each is solved for again after a look at what it does to the gender mass (`held`), and
    where the first is allowed and does not do well dearer prices are tried. What cheaper ones would
    gain at once the next round gains for less, so that they only follow where nothing is better
    than the original. `gram` are the inner products, where they are known.
    """
    gram = linear.gram(columns) if gram is None else gram
    choice = left_out(linear, gram)
    return choice, _tried(bench, linear, gram, choice.price, columns, tries, hold)


def _tried(
    bench: Bench,
    linear: Linear,
    gram: Tensor,
    price: float,
    columns: Tensor | None,
    tries: int,
    hold: bool,
) -> Iterator[State]:
    allowed = bench.task.config.allowed_kl
    limit, part = (bench.limit, bench.part) if hold else (allowed, allowed)
    room = max(TARGET * part - bench.spent, _LEAST * part)

    last: Held | None = None

    def measured(found: Solution) -> State:
        nonlocal last
        if hold:
            more = last.more_for(found) if last is not None else 0.0
            last = held(bench, linear, gram, found, columns, more)
            own, move, known = last.solution, last.move, last.judged
        else:
            own, move, known = found, linear.pulled(found.y, columns), None
        bench.write(move)
        score = scored(bench.task, bench.dev, (limit, allowed), known)
        return State(move, own.predicted, own.price, score)

    found = solution_for(gram, linear.targets, price)
    cut = bench.rate is not None and found.predicted * bench.rate > room
    if bench.rate is not None and cut:
        found = solution_at(gram, linear.targets, room / bench.rate, found)
    state = measured(found)
    yield state
    left = tries - 1
    if state.score.mean_kl <= limit and not cut:
        if not hold or (bench.reached is not None and state.score.fb < WELL * bench.reached):
            return
        # A linear model may promise too much: then less of the move is worth more.
        best, times = state, DEARER
        while left:
            dearer = measured(solution_for(gram, linear.targets, times * best.price, found.values))
            left, times = left - 1, times * DEARER  # ever faster: the first may be far too cheap
            yield dearer
            if dearer.score.fb >= best.score.fb:
                break
            best = dearer
        if best.score.fb < bench.task.before(bench.dev).fb:
            return
    while left and not _CLOSE * part <= state.score.mean_kl <= limit:
        cost = state.score.mean_kl - bench.spent
        if bench.spent and state.score.mean_kl > limit and cost <= _FAR * room:
            return
        ratio = room / max(cost, 1e-3 * limit, 1e-30)
        wanted = found.predicted * min(max(ratio, 1 / _LARGEST), _LARGEST)
        before, found = found, solution_at(gram, linear.targets, wanted, found)
        if ratio > 1 and found.predicted < _LITTLE * before.predicted:  # nothing is left to gain
            return
        state = measured(found)
        left -= 1
        yield state


def best_of(found: list[State], limit: float) -> State:
    """The lowest dev score within the allowed divergence; else the smallest divergence."""
    allowed = [state for state in found if state.score.mean_kl <= limit]
    if allowed:
        return min(allowed, key=lambda state: state.score.fb)
    return min(found, key=lambda state: state.score.mean_kl)
