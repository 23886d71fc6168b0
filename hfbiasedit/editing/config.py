"""Options of `locate`, `edit` and `sweep`; the command line takes its defaults from here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from hfbiasedit.codegenbias.configs import CONFIGS
from hfbiasedit.codegenbias.options import (
    DEFAULT_CONFIG,
    PromptOptions,
    PromptOverrides,
    check_config,
    refuse_both,
)
from hfbiasedit.editing.extensions import SALIENCIES, SOLVERS
from hfbiasedit.errors import UsageError
from hfbiasedit.fields import Options, documented, option
from hfbiasedit.levels import GRANULARITIES, LEVELS, Granularity
from hfbiasedit.models.options import ModelOptions, ModelOverrides, Quantization
from hfbiasedit.publishing.config import BASE_MODEL
from hfbiasedit.tracking import TrackingOptions, TrackingOverrides

Include = Literal["embeddings", "head", "norms", "biases"]
Baseline = Literal["random", "full", "lora"]
INCLUDES = get_args(Include)


_BUDGETS = ", ".join(f"{name} {level.budget}" for name, level in LEVELS.items())


@documented
@dataclass(frozen=True, kw_only=True)
class LocateConfig(PromptOptions, ModelOptions):
    """How weights are located."""

    saliency: str = option(
        "joint",
        f"How weights are judged: {', '.join(SALIENCIES)}.",
        note="An installed package may add others.",
        choices=SALIENCIES.names,
        check=lambda _, name: SALIENCIES.check(name),
    )
    blocks: str = option(
        "auto",
        "Blocks that may be edited: auto, all, or a list such as 0,3-7.",
        note="The first is 0.",
    )
    probe_prompts: int = option(
        16, "Prompts per probe (one probe per template and side of the bias).", least=1, hidden=True
    )
    anchor: str | None = option(
        None,
        "General code to compare with and to leave alone: file, folder or dataset.",
        note="None: the default anchor.",
    )
    checkpoint: bool = option(
        False,
        "Less memory, more time.",
        note="Activations are computed again instead of kept.",
        flags=("--gradient-checkpointing",),
    )
    limit: int | None = option(
        None, "At most so many prompts to learn from (a balanced sample).", least=1, hidden=True
    )


@documented
@dataclass(frozen=True, kw_only=True)
class EditConfig(LocateConfig, TrackingOptions):
    """How weights are edited."""

    granularity: Granularity = option("row", f"What is edited: {', '.join(GRANULARITIES)}.")
    budget: str | float | None = option(
        None,
        "A count, a share of the level's items (1%) or of the model's weights (0.1% of weights), "
        f"or auto, the smallest of some that does as well as the largest ({_BUDGETS}).",
    )
    include: tuple[Include, ...] = option(
        (), f"Let full and layer edit these too: {', '.join(INCLUDES)}.", repeat=True
    )
    selection: Path | None = option(None, "Edit the weights of a saved selection.json.")
    keep: float = option(
        4.0,
        "Weight of leaving general code alone, at the start.",
        note="It grows while the divergence is above `max_kl`.",
        least=0,
    )
    max_kl: float | None = option(
        None,
        "Largest divergence on general code; default: the level's.",
        note="Mean KL(original || edited) beyond the noise of arithmetic, in nats per token.",
        above=0,
    )
    mass: float = option(4.0, "Weight of keeping the probability of gender words.", least=0)
    steps: int = option(120, "Steps of the optimiser.", least=1)
    batch_size: int = option(32, "Prompts per step.", note="Over all processes.", least=1)
    learning_rate: float | None = option(
        None, "Step size relative to the weights' (by default the level's).", above=0
    )
    patience: int = option(8, "Evaluations without gain before stopping.", least=1)
    solver: str = option(
        "auto",
        "auto, newton or adam.",
        note="newton (see `solving.newton`) ignores keep, steps, batch_size and learning_rate; "
        "auto is newton wherever what passes through the weights can be recorded; "
        "an installed package may add others.",
        choices=SOLVERS.names,
        check=lambda _, name: SOLVERS.check(name),
    )
    audit: str = option(
        DEFAULT_CONFIG,
        "Prompts that the outcome is measured on: quick, core or full; of an older version of the "
        "dataset (quick@1), from which the edit then learns as well.",
        choices=CONFIGS,
        check=check_config,
    )
    ability: bool = option(False, "Measure coding ability before and after.")
    check_quantized: tuple[Quantization, ...] = option(
        (),
        "Measure the original and the edited model quantised too: int8, int4 (commas).",
        note="With torchao, as `audit --quantize` does it.",
        one="quantisation",
    )
    base_model: str | None = option(None, BASE_MODEL)

    def __post_init__(self) -> None:
        """Refuse what makes no sense before anything is loaded."""
        super().__post_init__()
        refuse_both(self.prompts, "--audit", self.audit, DEFAULT_CONFIG)
        if self.check_quantized and self.device_map is not None:
            raise UsageError(
                "check_quantized needs the whole model on one device, not a device_map"
            )

    @property
    def chosen_budget(self) -> str:
        """The budget, or the level's default."""
        return str(self.budget or LEVELS[self.granularity].budget)

    @property
    def allowed_kl(self) -> float:
        """`max_kl`, or the level's default."""
        return LEVELS[self.granularity].max_kl if self.max_kl is None else self.max_kl


@documented
@dataclass(frozen=True)
class SweepConfig(Options):
    """What `sweep` compares; `edit` is the protocol that all have in common."""

    granularities: tuple[Granularity, ...] = option(
        GRANULARITIES, "Levels to edit at, separated by commas.", one="granularity"
    )
    saliencies: tuple[str, ...] = option(
        (),
        "Saliencies to compare, separated by commas.",
        note="None: the default one.",
        choices=SALIENCIES.names,
        check=lambda _, name: SALIENCIES.check(name),
    )
    baselines: tuple[Baseline, ...] = option(
        (),
        "Compare with random selections, full fine-tuning, lora (commas).",
        flags=("--baseline",),
        one="baseline",
    )
    edit: EditConfig = field(default_factory=EditConfig)


class LocateOverrides(PromptOverrides, ModelOverrides, total=False):
    """`LocateConfig` as keywords."""

    saliency: str
    blocks: str
    probe_prompts: int
    anchor: str | None
    checkpoint: bool


class EditOverrides(LocateOverrides, TrackingOverrides, total=False):
    """`EditConfig` as keywords."""

    granularity: Granularity
    budget: str | float | None
    include: tuple[Include, ...]
    selection: Path | None
    keep: float
    max_kl: float | None
    mass: float
    steps: int
    batch_size: int
    learning_rate: float | None
    patience: int
    solver: str
    audit: str
    ability: bool
    check_quantized: tuple[Quantization, ...]
    base_model: str | None
