"""Where log-probabilities come from: the options of commands that score prompts."""

from __future__ import annotations

from dataclasses import dataclass

from hfbiasedit.errors import UsageError
from hfbiasedit.fields import check_batch_size, documented, option
from hfbiasedit.models.options import CHAT, MeasuringOptions, MeasuringOverrides
from hfbiasedit.scoring.extensions import ENGINE, HARNESS, SCORERS


@documented
@dataclass(frozen=True, kw_only=True)
class ScoringOptions(MeasuringOptions):
    """How a model is loaded, or reached, and asked."""

    batch_size: int | str = option(
        "auto",
        "auto (halves when memory runs out) or a number of sequences.",
        check=check_batch_size,
    )
    backend: str = option(
        ENGINE,
        "What log-probabilities come from: engine or lm-eval (servers, vLLM, ...).",
        note="An installed package may add others.",
        choices=SCORERS.names,
        check=lambda _, name: SCORERS.check(name),
    )
    backend_args: str | None = option(
        None, "A model of lm-eval and its arguments: local-completions,base_url=http://..."
    )
    chat: bool = option(False, CHAT, flags=("--chat",))

    def __post_init__(self) -> None:
        """Refuse arguments for nobody."""
        super().__post_init__()
        if self.backend_args is not None and self.backend != HARNESS:
            raise UsageError(f"backend_args go with the backend {HARNESS}")


class ScoringOverrides(MeasuringOverrides, total=False):
    """`ScoringOptions` as keywords."""

    batch_size: int | str
    backend: str
    backend_args: str | None
    chat: bool
