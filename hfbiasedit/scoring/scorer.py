"""What a scorer is: it tells an audit how likely male and female continuations are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from hfbiasedit.codegenbias.records import Record
from hfbiasedit.documents.structures.audit_document import Backend
from hfbiasedit.documents.structures.shared import Model
from hfbiasedit.errors import BiasEditError
from hfbiasedit.scoring.batches import OnBatch
from hfbiasedit.scoring.engine import Scores
from hfbiasedit.scoring.extensions import ENGINE, SCORERS
from hfbiasedit.scoring.noise import NoiseFloor
from hfbiasedit.scoring.options import ScoringOptions

if TYPE_CHECKING:
    from hfbiasedit.console import Progress


@runtime_checkable
class Scorer(Protocol):
    """Scores the prompts that it was made with; every audit makes a new one.

    A package registers a class: `Scorer(loaded, records)`. Two class attributes are optional:
    `connect(model, options)` makes a `Subject` that takes the place of the loaded model, where the
    model is held elsewhere; `about()` of an instance is what reports say (`Backend`).
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

    def noise(self, scores: Scores) -> NoiseFloor | None:
        """How much rounding alone moves the numbers: a few prompts scored again in another way.

        None where that cannot be found out.
        """
        ...


@runtime_checkable
class Subject(Protocol):
    """What is measured: a `LoadedModel`, or what a scorer's `connect` made.

    Attributes:
        patch_digest: of the patch that it has, if any. tokenizer: its own. dtype: of its weights.
        device: where it computes. identity: a name for what answers, the same for the same answers.
    """

    patch_digest: str | None
    tokenizer: Any

    @property
    def dtype(self) -> str: ...  # noqa: D102 - see above
    @property
    def device(self) -> Any: ...  # noqa: D102
    @property
    def identity(self) -> str: ...  # noqa: D102

    def describe(self) -> Model:
        """The model's part of a report."""
        ...


def connects(name: str) -> bool:
    """Whether a scorer holds or reaches models itself, instead of taking one loaded here.

    Raises:
        UsageError: nobody registered the name.
    """
    return hasattr(SCORERS.load(name), "connect")


def connected(model: str | Path, options: ScoringOptions) -> Subject:
    """The model as a scorer that `connects` reaches it.

    Raises:
        BiasEditError: it cannot be reached.
    """
    made: Subject = SCORERS.load(options.backend).connect(model, options)
    return made


def scorer_of(name: str, subject: Subject, records: Sequence[Record]) -> Scorer:
    """A new scorer of some prompts.

    Raises:
        UsageError: nobody registered the name. BiasEditError: what is registered is no scorer.
    """
    made = SCORERS.load(name)
    found = made(subject, records) if isinstance(made, type) else None
    if not isinstance(found, Scorer):
        raise BiasEditError(f"the scorer {name!r} is not a class with methods score and noise")
    return found


def backend_of(name: str, scorer: Scorer, noise: NoiseFloor | None) -> Backend | None:
    """What a report says of where its numbers come from; nothing of the built-in engine."""
    if name == ENGINE:
        return None
    about = getattr(scorer, "about", None)
    missing = [] if noise is not None else ["noise floor"]
    found: Backend = {"name": name, "missing": missing} if about is None else about()
    return found
