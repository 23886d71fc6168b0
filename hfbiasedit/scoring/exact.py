"""The scorer that comes with the package: exact log-probabilities from the model itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hfbiasedit.codegenbias.records import Record
from hfbiasedit.scoring.batches import OnBatch
from hfbiasedit.scoring.continuations import encode
from hfbiasedit.scoring.engine import Scores, score
from hfbiasedit.scoring.noise import NoiseFloor, noise_floor

if TYPE_CHECKING:
    from hfbiasedit.console import Progress
    from hfbiasedit.models.loading import LoadedModel


class Exact:
    """`engine.score` of the prompts, tokenised once."""

    def __init__(self, loaded: LoadedModel, records: Sequence[Record]) -> None:
        self.loaded, self.encoded = loaded, encode(loaded.tokenizer, records)

    def score(
        self,
        *,
        batch_size: int | str,
        progress: Progress,
        known: Mapping[int, tuple[float, float]] | None,
        on_batch: OnBatch | None,
    ) -> Scores:
        """See `engine.score`."""
        return score(
            self.loaded,
            self.encoded,
            batch_size=batch_size,
            progress=progress,
            known=known,
            on_batch=on_batch,
        )

    def noise(self, scores: Scores) -> NoiseFloor:
        """See `noise_floor`."""
        return noise_floor(self.loaded, self.encoded, scores)
