"""Where a solver is: the best state so far; kept between rounds."""

from __future__ import annotations

from dataclasses import dataclass, fields

from hfbiasedit.editing.keeping import Kept
from hfbiasedit.editing.solving.task import Outcome

_NAME = "rounds"
_PLAIN = [f.name for f in fields(Outcome) if f.name not in ("state", "kl")]


@dataclass(frozen=True)
class Reached:
    """What was reached after a round; `done` where no other one follows."""

    round: int
    outcome: Outcome
    done: bool

    def save(self, kept: Kept) -> None:
        """Keep it in the place of the round before."""
        outcome = self.outcome
        tensors = {"kl": outcome.kl}
        tensors |= {f"best/{name}": value for name, value in (outcome.state or {}).items()}
        facts = {
            "round": self.round,
            "done": self.done,
            "outcome": {name: getattr(outcome, name) for name in _PLAIN},
            "helped": outcome.state is not None,
        }
        kept.save(_NAME, tensors, facts)

    @classmethod
    def load(cls, kept: Kept) -> Reached | None:
        """The last round that was kept."""
        known = kept.load(_NAME)
        if known is None:
            return None
        tensors, facts = known
        best = {n.removeprefix("best/"): v for n, v in tensors.items() if n.startswith("best/")}
        state = best if facts["helped"] else None
        outcome = Outcome(state=state, kl=tensors["kl"], **facts["outcome"])
        return cls(facts["round"], outcome, facts["done"])
