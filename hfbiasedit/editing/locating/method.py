"""What a saliency is: it says how much every weight of a model matters for the bias."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from torch import Tensor

from hfbiasedit.editing.config import LocateConfig
from hfbiasedit.editing.extensions import SALIENCIES
from hfbiasedit.editing.keeping import Kept
from hfbiasedit.editing.locating.saliency import Sums
from hfbiasedit.editing.material.forward import code_losses, run
from hfbiasedit.editing.material.objective import bias_loss
from hfbiasedit.editing.material.price import Price
from hfbiasedit.editing.material.prompts import Prompts, bias_probes
from hfbiasedit.editing.material.windows import prepare_windows
from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.architecture import Projection
from hfbiasedit.texts.anchor import load_anchor

if TYPE_CHECKING:
    from hfbiasedit.models.loading import LoadedModel

CODE_WINDOWS = 32

Loss = Callable[[], Tensor]
# rows of every matrix -> saliency of their entries [rows, columns]
EntryScores = Callable[[dict[str, Tensor]], dict[str, Tensor]]


@dataclass(frozen=True)
class Evidence:
    """What a saliency may look at: a model, its projections, prompts of the edit split."""

    loaded: LoadedModel
    items: list[Projection]
    prompts: Prompts
    config: LocateConfig
    kept: Kept = field(default_factory=Kept)

    def bias_losses(self) -> list[Loss]:
        """One loss per probe: a kind of prompt, and a side of the bias."""
        groups = bias_probes(self.prompts, self.config.probe_prompts, self.config.seed)
        return [self._bias_loss(group) for group in groups]

    def code_losses(self) -> list[Loss]:
        """Losses of general code, the anchor's."""
        anchor = load_anchor(self.config.anchor)
        windows = prepare_windows(self.loaded, anchor, CODE_WINDOWS, self.config.seed)
        return code_losses(self.loaded, windows)

    def _bias_loss(self, group: list[int]) -> Loss:
        # The gradient of the mass term is zero at the original model: its weight does not matter.
        def loss() -> Tensor:
            batch = self.prompts.batch(group)
            return bias_loss(batch, run(self.loaded, batch), 0.0)

        return loss


@dataclass(frozen=True)
class Judgement:
    """What a saliency finds.

    Attributes:
        scores: of the rows and columns of every projection.
        entry_scores: judges the single weights of some rows, when a level asks for them.
        drawn: scores are drawn by seed and know nothing of the model.
        anywhere: scores compare blocks too, so that `auto` may take any of them.
        prices: of general code, where they were asked for on the way.
        instead: the saliency that took over, where this one cannot judge such a model.
    """

    scores: Mapping[str, Sums]
    entry_scores: EntryScores
    drawn: bool = False
    anywhere: bool = False
    prices: Mapping[str, Price] | None = None
    instead: str | None = None


@runtime_checkable
class Saliency(Protocol):
    """How weights are judged. A package may register one as an entry point, ready to use."""

    def judge(self, evidence: Evidence) -> Judgement:
        """Score every row and column; the model is unchanged after.

        Raises:
            BiasEditError: there is nothing to rank by, such as gradients that are all zero.
        """
        ...


def saliency_of(name: str) -> Saliency:
    """The saliency of a name.

    Raises:
        UsageError: nobody registered it. BiasEditError: what is registered is no saliency.
    """
    found = SALIENCIES.load(name)
    if isinstance(found, type) or not isinstance(found, Saliency):
        raise BiasEditError(f"the saliency {name!r} is not an object with a method judge")
    return found
