"""What an edit minimises.

`bias_loss`: Bernoulli KL(f || m) between the factual share of women f and the model's share m, plus
the squared change of the log gender mass, so that the model does not solve the task by talking
about something else. `keep_loss`: KL(original || edited) over next tokens of general code, from the
original's `k` likeliest tokens and the rest as one (a lower bound of the full divergence that is
tight when the k tokens hold most of the probability).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hfbiasedit.editing.material.batches import PromptBatch

_FLOOR = 1e-12


@dataclass(frozen=True)
class Bias:
    """Per prompt [P]: the loss terms and what they are made of."""

    divergence: Tensor
    mass_change: Tensor
    log_share: Tensor
    log_mass: Tensor
    logit: Tensor

    @property
    def share(self) -> Tensor:
        """The model's share of women m."""
        return self.log_share.exp()


def bias_terms(batch: PromptBatch, logits: Tensor) -> Bias:
    """KL(f || m) and log-mass change of every prompt of a batch, from logits [N, vocabulary]."""
    batch = batch.to(logits.device)
    male, female = batch.log_probabilities(logits)
    mass = torch.logaddexp(male, female)
    log_female, log_male = female - mass, male - mass
    divergence = bernoulli_divergence(batch.target.to(mass.dtype), log_female, log_male)
    change = mass - batch.log_mass.to(mass.dtype)
    return Bias(divergence, change, log_female, mass, female - male)


def bernoulli_divergence(f: Tensor, log_m: Tensor, log_rest: Tensor) -> Tensor:
    """KL(f || m) elementwise, from shares f, log m and log(1 - m)."""
    cross = -(f * log_m + (1 - f) * log_rest)
    entropy = -(torch.xlogy(f, f) + torch.xlogy(1 - f, 1 - f))
    return cross - entropy


def bias_loss(batch: PromptBatch, logits: Tensor, mass_weight: float) -> Tensor:
    """Weighted sum over the batch of KL(f || m) + `mass_weight` * (log-mass change) squared."""
    terms = bias_terms(batch, logits)
    per_prompt = terms.divergence + mass_weight * terms.mass_change.square()
    return (per_prompt * batch.weight.to(per_prompt)).sum()


@dataclass(frozen=True)
class Original:
    """The original model's likeliest tokens at N places: ids and log-probabilities [N, k]."""

    tokens: Tensor
    log_probabilities: Tensor

    @classmethod
    def of(cls, logits: Tensor, k: int) -> Original:
        """Keep the k likeliest of logits [N, vocabulary]."""
        wide = torch.log_softmax(logits.float(), dim=-1)
        top = torch.topk(wide, min(k, wide.shape[-1]), dim=-1)
        return cls(top.indices.to(torch.int32).cpu(), top.values.cpu())


def divergences(original: Original, logits: Tensor) -> Tensor:
    """KL(original || edited) at each of N places, in nats, over k tokens and the rest."""
    wide = logits if logits.dtype == torch.float64 else logits.float()
    tokens = original.tokens.to(wide.device, torch.int64)
    log_p = original.log_probabilities.to(wide)
    log_q = wide.gather(-1, tokens) - torch.logsumexp(wide, dim=-1, keepdim=True)
    p, q = log_p.exp(), log_q.exp()
    # Differences of probabilities, not 1 - sum: their float32 error does not pile up.
    p_rest = (1 - p.sum(-1)).clamp_min(0)
    q_rest = (p_rest + (p - q).sum(-1)).clamp_min(_FLOOR)
    inside = (p * (log_p - log_q)).sum(-1)
    rest = torch.xlogy(p_rest, p_rest.clamp_min(_FLOOR)) - p_rest * q_rest.log()
    return inside + rest
