"""The scorer that comes with the package: exact log-probabilities from the model itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hfbiasedit.codegenbias.records import Record
from hfbiasedit.console import warn
from hfbiasedit.errors import BiasEditError
from hfbiasedit.scoring.batches import OnBatch
from hfbiasedit.scoring.continuations import encode
from hfbiasedit.scoring.engine import Scores, score
from hfbiasedit.scoring.noise import NoiseFloor, noise_floor

if TYPE_CHECKING:
    from hfbiasedit.console import Progress
    from hfbiasedit.models.loading import LoadedModel


class Exact:
    """`engine.score` of the prompts, tokenised once.

    A few models give a prompt another result in company than alone (a rotary switch on the longest
    row, attention that looks ahead). The noise that is measured shows them; they are scored
    prompt by prompt.
    """

    def __init__(self, loaded: LoadedModel, records: Sequence[Record]) -> None:
        self.loaded, self.encoded = loaded, encode(loaded.tokenizer, records)
        self._noise: NoiseFloor | None = None

    def score(
        self,
        *,
        batch_size: int | str,
        progress: Progress,
        known: Mapping[int, tuple[float, float]] | None,
        on_batch: OnBatch | None,
    ) -> Scores:
        """See `engine.score`.

        Raises:
            BiasEditError: also where a prompt gets another result each time.
        """
        scores = score(
            self.loaded,
            self.encoded,
            batch_size=batch_size,
            progress=progress,
            known=known,
            on_batch=on_batch,
        )
        self._noise = noise_floor(self.loaded, self.encoded, scores)
        if not self._noise.beyond_rounding(self.loaded.dtype):
            return scores
        warn(
            f"this model's result for a prompt depends on what else is in the batch (by "
            f"{self._noise.largest:.2g} points); every prompt is scored alone"
        )
        scores = score(self.loaded, self.encoded, batch_size=1, share_prefixes=False)
        self._noise = noise_floor(self.loaded, self.encoded, scores)
        if self._noise.beyond_rounding(self.loaded.dtype):
            raise BiasEditError(
                "this model gives the same prompt another result each time (by "
                f"{self._noise.largest:.2g} points); no score of it means anything"
            )
        return scores

    def noise(self, scores: Scores) -> NoiseFloor:
        """See `noise_floor`; measured while scoring."""
        return self._noise or noise_floor(self.loaded, self.encoded, scores)
