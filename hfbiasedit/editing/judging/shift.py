"""What one constant shift would give: the yardstick of an edit on a model that leans one way.

A model that writes men too often everywhere gets better by adding one number to every logit(m).
That needs no knowledge of professions; what an edit gains beyond it has been learnt.
"""

from __future__ import annotations

import numpy as np

from hfbiasedit.audits.breakdowns import PromptScores

_STEPS = np.arange(-4.0, 4.0001, 0.05)  # of logit(m)


def best_shift(scores: PromptScores) -> float:
    """The shift of logit(m) with the lowest FB-Score on these prompts (0 where none helps)."""
    found = [shifted_score(scores, step) for step in _STEPS]
    best = int(np.argmin(found))
    return float(_STEPS[best]) if found[best] < shifted_score(scores, 0.0) else 0.0


def shifted_score(scores: PromptScores, shift: float) -> float:
    """The FB-Score (times 100) with `shift` added to every logit(m)."""
    logit = scores.log_female - scores.log_male + shift
    share = np.exp(-np.logaddexp(0.0, -logit))
    return float(100 * scores.per_profession(np.abs(share - scores.factual)).mean())
