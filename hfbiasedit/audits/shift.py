"""What one constant shift would give: how much of a score is a lean that all prompts share.

A model that writes men too often everywhere gets better by adding one number to every logit(m).
That needs no knowledge of professions: what is left is not one lean, and what an edit gains beyond
the shift has been learnt.
"""

from __future__ import annotations

import numpy as np

from hfbiasedit.audits.breakdowns import PromptScores
from hfbiasedit.documents.structures.audit_document import Shifted
from hfbiasedit.scoring.fb_score import log_odds

_STEPS = np.arange(-4.0, 4.0001, 0.05)  # of logit(m)


def shifted(scores: PromptScores) -> Shifted:
    """The best constant shift of these prompts and the FB-Score that is left with it."""
    shift = best_shift(scores)
    return {"shift": round(shift, 6), "fb_score": shifted_score(scores, shift)}


def best_shift(scores: PromptScores) -> float:
    """The shift of logit(m) with the lowest FB-Score on these prompts (0 where none helps)."""
    found = [shifted_score(scores, step) for step in _STEPS]
    best = int(np.argmin(found))
    return float(_STEPS[best]) if found[best] < shifted_score(scores, 0.0) else 0.0


def shifted_score(scores: PromptScores, shift: float) -> float:
    """The FB-Score (times 100) with `shift` added to every logit(m)."""
    logit = log_odds(scores.log_male, scores.log_female) + shift
    share = np.exp(-np.logaddexp(0.0, -logit))
    return float(100 * scores.per_profession(np.abs(share - scores.factual)).mean())
