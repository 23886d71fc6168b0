"""Prices by prompts left out, against every fold solved by itself; and what is left out together."""

from dataclasses import replace

import pytest
import torch

from hfbiasedit.editing.material.dual import Targets, dual
from hfbiasedit.editing.solving import leftout
from hfbiasedit.editing.solving.leftout import left_out
from hfbiasedit.editing.solving.linearisation import Linear
from tests.editing import worlds

LANGUAGES = ("python", "c", "go", "sql", "json", "rust")


def _linear(shared: float, seed=0):
    """Prompts in six languages whose gradients have a part in common, and noise of their own."""
    generator = torch.Generator().manual_seed(seed)
    base = worlds.records()
    records = tuple(
        replace(row, language=language, id=f"{language}/{row.id}", share_female=share)
        for language in LANGUAGES
        for row, share in zip(base[:12], torch.rand(12, generator=generator).tolist(), strict=True)
    )
    logits = torch.randn(len(records), generator=generator)
    facts = torch.tensor([r.share_female for r in records])
    wanted = facts.clamp(0.005, 0.995).logit() - logits
    rows = torch.randn(len(records), 60, generator=generator)
    rows[:, 0] += shared * wanted
    targets = Targets.of(logits, facts, torch.ones(len(records)))
    return Linear(rows.to(torch.bfloat16), targets, records, torch.ones(len(records)))


def _brute(linear, price):
    """The weighted mean distance of every language's prompts when the others are learnt from."""
    targets, rows = linear.targets, linear.rows.double()
    order = sorted({f"{r.language}/{leftout.vocabulary_of(r)}" for r in linear.records})
    fold = torch.tensor(
        [
            order.index(f"{r.language}/{leftout.vocabulary_of(r)}") % leftout.FOLDS
            for r in linear.records
        ]
    )
    total = 0.0
    for number in range(leftout.FOLDS):
        out = fold == number
        y, _ = dual(rows[~out] @ rows[~out].T, targets.part(~out), price)
        values = targets.start[out] + rows[out] @ (rows[~out].T @ y)
        total += float((values.sigmoid() - targets.goal[out].sigmoid()).abs().sum())
    return 100 * total / len(linear.records)


def test_scores_are_those_of_each_fold_solved_by_itself():
    linear = _linear(1.0)
    found = left_out(linear, linear.gram())
    facts = torch.tensor([r.share_female for r in linear.records]).clamp(0.005, 0.995)
    start = (linear.targets.start.sigmoid() - facts).abs().mean()
    assert found.before == pytest.approx(100 * float(start), rel=1e-4)
    assert found.after == pytest.approx(_brute(linear, found.price), rel=0.02)
    assert found.after < 0.8 * found.before
    scale = float((linear.targets.weight * linear.gram().diagonal()).sum())
    others = [_brute(linear, price * scale) for price in leftout.PRICES]
    close = min(others) + leftout.CLOSE * found.before
    assert found.after <= close * 1.02
    # The cheapest of those that are as good as the best.
    cheaper = [
        other
        for price, other in zip(leftout.PRICES, others, strict=True)
        if price * scale < 0.99 * found.price
    ]
    assert cheaper
    assert min(cheaper) > close * 0.98


@pytest.mark.parametrize(
    ("scores", "chosen"),
    [
        ([30.0, 28.0, 27.0, 27.2, 28.0, 28.0], 3),
        ([30.0, 28.0, 27.0, 27.31, 28.0], 2),
        # All that differ by little are gone through: the best is not where the search begins.
        ([29.9, 29.95, 29.95, 29.9, 30.1, 30.5, 31.0], 4),
        ([29.9, 30.3, 30.4, 20.0], 0),
    ],
)
def test_the_cheapest_price_that_is_as_good_as_the_best_is_taken(monkeypatch, scores, chosen):
    """By one in a hundred of 30, the score before; two in a row that are not end the search."""
    linear = _linear(1.0)
    left = iter([30.0, *scores])
    monkeypatch.setattr(leftout, "_score", lambda *_: next(left))
    found = left_out(linear, linear.gram())
    scale = float((linear.targets.weight * linear.gram().diagonal()).sum())
    assert found.price == pytest.approx(leftout.PRICES[chosen] * scale)
    assert (found.before, found.after) == (30.0, scores[chosen])


def test_noise_is_not_learnt_from_and_what_is_shared_is():
    noise, shared = (left_out(line, line.gram()) for line in (_linear(0.0), _linear(2.0)))
    assert noise.after > 0.95 * noise.before
    assert shared.after < 0.6 * shared.before
    assert noise.price > shared.price


def test_the_mass_of_prompts_left_out_may_be_held():
    """Values that are no shares belong to no fold and are not scored."""
    linear = _linear(1.0)
    count = len(linear.records)
    share = torch.arange(count) % 5 > 0
    targets = replace(linear.targets, share=share, goal=linear.targets.goal * share)
    linear = replace(linear, targets=targets)
    found = left_out(linear, linear.gram())
    start = (targets.start.sigmoid() - targets.goal.sigmoid()).abs()[share].mean()
    assert found.before == pytest.approx(100 * float(start), rel=1e-4)


def test_what_is_all_alike_is_left_out_by_template_and_then_by_profession():
    rows = worlds.records()
    assert set(leftout._kinds(rows)) == {"compare", "record"}
    one = [row for row in rows if row.template == "record"]
    assert set(leftout._kinds(one)) == set(worlds.PROFESSIONS)
    mixed = [replace(rows[0], language="go"), *rows[1:]]
    assert set(leftout._kinds(mixed)) == {"go/male/female", "python/male/female"}


def test_a_single_prompt_cannot_be_left_out():
    linear = _linear(1.0)
    mask = torch.zeros(len(linear.records), dtype=torch.bool)
    mask[0] = True
    one = Linear(linear.rows[:1], linear.targets.part(mask), linear.records[:1], torch.ones(1))
    found = left_out(one, one.gram())
    assert found.after == found.before
