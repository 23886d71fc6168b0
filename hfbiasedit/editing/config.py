"""Options of `locate`, `edit` and `sweep`; the command line takes its defaults from here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hfbiasedit.editing.extensions import SOLVERS
from hfbiasedit.errors import UsageError
from hfbiasedit.levels import GRANULARITIES, LEVELS

SALIENCIES = ("taylor", "grad", "fisher", "contrastive", "random")
INCLUDES = ("embeddings", "head", "norms", "biases")


@dataclass(frozen=True)
class LocateConfig:
    """How weights are located.

    Attributes:
        saliency: one of `SALIENCIES`.
        blocks: decoder blocks that count: `auto`, `all`, or a range such as `3-7` (from 0).
        probe_prompts: prompts per probe (one probe per template and side of the bias).
        reference, prompts, professions, limit: which prompts and which reality; see `load_prompts`.
        anchor: general code (None: the default), for `contrastive`.
        seed: of every sample.
        checkpoint: recompute activations instead of keeping them (slower, less memory).
        revision, dtype, device, device_map, trust_remote_code: see `load_model`.
    """

    saliency: str = "contrastive"
    blocks: str = "auto"
    probe_prompts: int = 16
    reference: str | Path = "bls-2022"
    prompts: Path | None = None
    professions: Path | None = None
    limit: int | None = None
    anchor: str | None = None
    seed: int = 0
    checkpoint: bool = False
    revision: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    device_map: str | None = None
    trust_remote_code: bool = False


@dataclass(frozen=True)
class EditConfig(LocateConfig):
    """How weights are edited.

    Attributes:
        granularity: one of `GRANULARITIES`.
        budget: a count (`64`), a share of the level's items (`0.5%`) or of the model's weights
            (`0.5% of weights`); None: the level's default.
        include: parameters besides the projections that `full` and `layer` may edit.
        selection: a saved selection to use instead of locating.
        keep: initial weight of `loss_keep`; it grows while the divergence is above `max_kl`.
        max_kl: largest mean KL(original || edited) on general code, in nats per token; None: the
            level's default.
        mass: weight of the term that keeps the gender mass where it was.
        steps: of the optimiser. batch_size: prompts per step, over all processes.
        learning_rate: step size relative to the edited weights' typical size; None: the level's.
        patience: evaluations on `dev` without gain before stopping.
        solver: one of `SOLVERS`: `newton` (see `newton`; ignores keep, steps, batch_size,
            learning_rate), `adam`, `auto` (newton wherever its linear model fits into memory), or
            that of an installed package.
        audit: configuration of the prompts that the outcome is measured on.
        ability: measure coding ability too.
    """

    granularity: str = "row"
    budget: str | None = None
    include: tuple[str, ...] = ()
    selection: Path | None = None
    keep: float = 4.0
    max_kl: float | None = None
    mass: float = 0.1
    steps: int = 120
    batch_size: int = 32
    learning_rate: float | None = None
    patience: int = 8
    solver: str = "auto"
    audit: str = "quick"
    ability: bool = False

    def __post_init__(self) -> None:
        _one_of("granularity", self.granularity, GRANULARITIES)
        SOLVERS.check(self.solver)
        for name in self.include:
            _one_of("include", name, INCLUDES)
        check_locate(self)
        for name in ("keep", "allowed_kl", "mass"):
            if not getattr(self, name) >= 0:
                option = "max_kl" if name == "allowed_kl" else name
                raise UsageError(f"{option} is {getattr(self, name)}; give 0 or more")
        for name in ("steps", "batch_size", "patience"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; give at least 1")
        if self.learning_rate is not None and not self.learning_rate > 0:
            raise UsageError("learning_rate must be above 0")

    @property
    def chosen_budget(self) -> str:
        """The budget, or the level's default."""
        return self.budget or LEVELS[self.granularity].budget

    @property
    def allowed_kl(self) -> float:
        """`max_kl`, or the level's default."""
        return LEVELS[self.granularity].max_kl if self.max_kl is None else self.max_kl

    def with_(self, **changes: Any) -> EditConfig:
        """A copy with some options changed."""
        return replace(self, **changes)


@dataclass(frozen=True)
class SweepConfig:
    """What `sweep` compares.

    Attributes:
        granularities: levels to edit at. saliencies: of each; empty: the default one.
        baselines: `random`, `full`, `lora`.
        edit: the protocol that all have in common.
    """

    granularities: tuple[str, ...] = GRANULARITIES
    saliencies: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ()
    edit: EditConfig = field(default_factory=EditConfig)

    def __post_init__(self) -> None:
        for name in self.granularities:
            _one_of("granularity", name, GRANULARITIES)
        for name in self.saliencies:
            _one_of("saliency", name, SALIENCIES)
        for name in self.baselines:
            _one_of("baseline", name, ("random", "full", "lora"))


def check_locate(config: LocateConfig) -> None:
    """Raise `UsageError` for options of `locate` that make no sense."""
    _one_of("saliency", config.saliency, SALIENCIES)
    if config.probe_prompts < 1:
        raise UsageError(f"probe_prompts is {config.probe_prompts}; give at least 1")


def _one_of(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"unknown {option} {value!r}; use one of {', '.join(known)}")
