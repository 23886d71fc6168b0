"""What else the first step learns from: the edit split, or templates to practise with.

Where the move that prompts left out speak for is allowed, the divergence is not what limits the
edit: more kinds of templates make it carry over to more. Where it is not allowed, every kind of
template takes from what is left for the others, and the edit split goes on alone. (Two seeds of
SmolLM2, 600 held-out prompts: two or more unseen -16 % without, -21 and -22 % with practice; the
demo model, where the divergence binds: all held out -22 % without and -15 % with.)
"""

from __future__ import annotations

import torch

from hfbiasedit.editing.solving.bench import Bench
from hfbiasedit.editing.solving.candidates import candidates
from hfbiasedit.editing.solving.linearisation import Linear

_NAME = "practised"


def choose_further(bench: Bench, first: Linear | None) -> int:
    """Let the task learn from what suits it; how many prompts to practise with there are then.

    Args:
        first: the linear model at the original without further prompts; None: it is made where
            nothing was chosen before. The model is the original, before and after.
    """
    task = bench.task
    if not task.practice:
        return 0

    def leaves_room() -> bool:
        linear = bench.linear(None) if first is None else first
        state = next(candidates(bench, linear, tries=1)[1])
        bench.write(torch.zeros(bench.coordinates.total))
        return state.score.mean_kl <= task.config.allowed_kl

    if not task.kept.facts(_NAME, leaves_room):
        return 0
    task.more = task.practice
    return len(task.practice)
