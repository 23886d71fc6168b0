"""The differentiable loss against the scoring engine and against formulas written out."""

import math

import pytest
import torch

from hfbiasedit.editing.material.batches import pack
from hfbiasedit.editing.material.objective import Original, bias_loss, bias_terms, divergences
from hfbiasedit.editing.running.execution import logits_at
from hfbiasedit.scoring.continuations import EncodedPrompt
from hfbiasedit.scoring.engine import score
from tests.editing import worlds


def _logits(model, batch):
    return logits_at(model.model, batch.input_ids, batch.sequence, batch.position)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_probabilities_are_those_of_the_audit(family):
    model = worlds.loaded(family)
    prompts = worlds.prompts(model)
    assert any(item.multi_token for item in prompts.encoded)
    expected = score(model, prompts.encoded)
    batch = prompts.batch(range(len(prompts)))
    with torch.no_grad():
        male, female = batch.log_probabilities(_logits(model, batch))
    assert torch.allclose(male.double(), torch.tensor(expected.log_male), atol=1e-4)
    assert torch.allclose(female.double(), torch.tensor(expected.log_female), atol=1e-4)


def test_candidates_that_extend_one_of_the_other_gender_are_taken_off():
    logits = torch.randn(2, 9, generator=torch.Generator().manual_seed(0))
    prompt = EncodedPrompt((1, 2), male=((3,),), female=((3, 4), (5,)), male_minus=((3, 4),))
    record = worlds.records()[0]
    batch = pack([prompt], [record], [0])
    assert batch.input_ids.tolist() == [[1, 2, 3]]
    assert list(zip(batch.sequence.tolist(), batch.position.tolist(), strict=True)) == [
        (0, 1),
        (0, 2),
    ]
    male, female = batch.log_probabilities(logits)
    first, second = logits.softmax(-1)
    assert math.isclose(male.exp(), first[3] * (1 - second[4]), rel_tol=1e-5)
    assert math.isclose(female.exp(), first[3] * second[4] + first[5], rel_tol=1e-5)


def test_the_loss_written_out():
    model = worlds.loaded()
    prompts = worlds.prompts(model)
    prompts.log_mass = [value + 0.3 for value in prompts.log_mass]
    batch = prompts.batch([0, 5, 7], [0.5, 0.3, 0.2])
    logits = _logits(model, batch)
    male, female = (values.exp().double() for values in batch.log_probabilities(logits))
    total = 0.0
    for number, weight in enumerate([0.5, 0.3, 0.2]):
        f = prompts.records[[0, 5, 7][number]].share_female
        m = float(female[number] / (male[number] + female[number]))
        kl = f * math.log(f / m) + (1 - f) * math.log((1 - f) / (1 - m))
        total += weight * (kl + 2.0 * 0.3**2)
    assert math.isclose(float(bias_loss(batch, logits, 2.0)), total, rel_tol=1e-4)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_reference_without_women_or_men_has_a_finite_loss(share):
    from dataclasses import replace

    model = worlds.loaded()
    prompts = worlds.prompts(model)
    records = tuple(replace(record, share_female=share) for record in prompts.records)
    batch = pack(prompts.encoded, records, [0, 1])
    logits = _logits(model, batch).requires_grad_(True)
    terms = bias_terms(batch, logits)
    expected = -(terms.share.log() if share else (1 - terms.share).log())
    assert torch.allclose(terms.divergence, expected, atol=1e-5)
    bias_loss(batch, logits, 0.1).backward()
    assert torch.isfinite(logits.grad).all()


def test_divergence_over_all_tokens_is_the_textbook_one():
    generator = torch.Generator().manual_seed(1)
    before, after = torch.randn(2, 5, 30, generator=generator)
    log_p, log_q = before.log_softmax(-1), after.log_softmax(-1)
    expected = (log_p.exp() * (log_p - log_q)).sum(-1)
    assert torch.allclose(divergences(Original.of(before, 30), after), expected, atol=1e-5)
    partial = divergences(Original.of(before, 10), after)
    assert (partial <= expected + 1e-6).all()
    assert (partial > 0.3 * expected).all()
    assert divergences(Original.of(before, 10), before).abs().max() < 1e-6


def test_an_unchanged_model_has_no_gradient_to_keep():
    logits = torch.randn(4, 50, generator=torch.Generator().manual_seed(2), requires_grad=True)
    divergences(Original.of(logits.detach(), 8), logits).sum().backward()
    assert logits.grad.abs().max() < 1e-6
