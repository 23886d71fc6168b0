"""What a scorer is: it tells an audit how likely male and female continuations are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from hfbiasedit.codegenbias.records import Record
from hfbiasedit.errors import BiasEditError
from hfbiasedit.scoring.batches import OnBatch
from hfbiasedit.scoring.engine import Scores
from hfbiasedit.scoring.extensions import SCORERS
from hfbiasedit.scoring.noise import NoiseFloor

if TYPE_CHECKING:
    from hfbiasedit.console import Progress
    from hfbiasedit.models.loading import LoadedModel


@runtime_checkable
class Scorer(Protocol):
    """Scores the prompts that it was made with; every audit makes a new one.

    A package registers a class: `Scorer(loaded, records)`.
    """

    def score(
        self,
        *,
        batch_size: int | str,
        progress: Progress,
        known: Mapping[int, tuple[float, float]] | None,
        on_batch: OnBatch | None,
    ) -> Scores:
        """Log-probabilities, in the order of the records.

        Args:
            batch_size: most prompts at a time, or `auto`.
            progress: advanced by the number of prompts done.
            known: results of an interrupted run (index -> log_male, log_female).
            on_batch: takes the indices of a batch and its two log-probabilities, as they appear.

        Raises:
            BiasEditError: the prompts cannot be scored.
        """
        ...

    def noise(self, scores: Scores) -> NoiseFloor:
        """How much rounding alone moves the numbers: a few prompts scored again in another way."""
        ...


def scorer_of(name: str, loaded: LoadedModel, records: Sequence[Record]) -> Scorer:
    """A new scorer of some prompts.

    Raises:
        UsageError: nobody registered the name. BiasEditError: what is registered is no scorer.
    """
    made = SCORERS.load(name)
    found = made(loaded, records) if isinstance(made, type) else None
    if not isinstance(found, Scorer):
        raise BiasEditError(f"the scorer {name!r} is not a class with methods score and noise")
    return found
