"""Where a solver is: its last move and its best state; kept between steps."""

from __future__ import annotations

from dataclasses import dataclass, fields

from hfbiasedit.editing.keeping import Kept
from hfbiasedit.editing.solving.candidates import State
from hfbiasedit.editing.solving.task import Outcome, Score

_NAME = "steps"
_PLAIN = [f.name for f in fields(Outcome) if f.name not in ("state", "kl")]


@dataclass(frozen=True)
class Reached:
    """What was reached after a step; `done` where no other step follows."""

    step: int
    state: State
    outcome: Outcome
    done: bool

    def save(self, kept: Kept) -> None:
        """Keep it in the place of the step before."""
        state, outcome = self.state, self.outcome
        tensors = {"move": state.move, "kl": state.score.kl, "best_kl": outcome.kl}
        tensors |= {f"best/{name}": value for name, value in (outcome.state or {}).items()}
        facts = {
            "step": self.step,
            "done": self.done,
            "state": {name: getattr(state, name) for name in ("predicted", "price", "bend")},
            "score": {"fb": state.score.fb, "mass": state.score.mass},
            "outcome": {name: getattr(outcome, name) for name in _PLAIN},
            "helped": outcome.state is not None,
        }
        kept.save(_NAME, tensors, facts)

    @classmethod
    def load(cls, kept: Kept) -> Reached | None:
        """The last step that was kept."""
        known = kept.load(_NAME)
        if known is None:
            return None
        tensors, facts = known
        best = {n.removeprefix("best/"): v for n, v in tensors.items() if n.startswith("best/")}
        outcome = Outcome(
            state=best if facts["helped"] else None, kl=tensors["best_kl"], **facts["outcome"]
        )
        score = Score(kl=tensors["kl"], **facts["score"])
        state = State(tensors["move"], score=score, **facts["state"])
        return cls(facts["step"], state, outcome, facts["done"])
