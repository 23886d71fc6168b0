"""Which prompts are asked, and what they are compared with: options of several commands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict

from hfbiasedit.codegenbias.configs import CONFIG_NAMES, CONFIGS, parse_config
from hfbiasedit.codegenbias.records import SPLITS
from hfbiasedit.codegenbias.references import DEFAULT_REFERENCE
from hfbiasedit.errors import UsageError
from hfbiasedit.fields import Options, documented, option

PANEL = "Prompts"
_LARGEST_SEED = 2**32 - 1  # of numpy; torch takes larger ones, also of what is made from it
DEFAULT_CONFIG = "quick"
ALL = "all"  # configurations, of an export


def check_config(name: str, value: str) -> None:
    """Raise `UsageError` for a configuration that there is not (`quick@1`: of version 1)."""
    parse_config(value)


def refuse_both(prompts: str | Path | None, flag: str, config: str, default: str) -> None:
    """Refuse a configuration beside prompts of one's own, which would take its place.

    The default beside them is nobody's wish.

    Raises:
        UsageError: both were asked for; the message names the option, `flag`, of the configuration.
    """
    if prompts is not None and config != default:
        raise UsageError(
            f"{prompts} and the configuration {config} are different prompts; leave "
            f"--prompts or {flag} out"
        )


@documented
@dataclass(frozen=True, kw_only=True)
class ReferenceOptions(Options):
    """What models are compared with, and the seed of what is drawn."""

    reference: str | Path = option(
        DEFAULT_REFERENCE,
        "What models are compared with: bls-2022, bls-2021, parity, or a CSV file with the "
        "columns profession, share_female.",
        kind=str,
        panel=PANEL,
    )
    seed: int = option(0, "Seed of everything that is random.", least=0, most=_LARGEST_SEED)


@documented
@dataclass(frozen=True, kw_only=True)
class PromptOptions(ReferenceOptions):
    """Which prompts (`load_prompts`)."""

    prompts: str | Path | None = option(
        None, "Your own prompts (JSONL in the record shape).", panel=PANEL
    )
    professions: str | Path | tuple[str, ...] | None = option(
        None,
        "Only these professions (a text file, one a line).",
        note="From Python also names.",
        panel=PANEL,
    )
    limit: int | None = option(
        None, "At most so many prompts (a balanced sample).", least=1, panel=PANEL
    )


@documented
@dataclass(frozen=True, kw_only=True)
class ChoiceOptions(PromptOptions):
    """Which prompts, by configuration and split."""

    config: str = option(
        DEFAULT_CONFIG,
        "quick (about 600 prompts), core (one template) or full (all axes).",
        choices=CONFIGS,
        check=check_config,
        panel=PANEL,
    )
    split: str = option(
        "all", f"{', '.join(SPLITS[:-1])} or {SPLITS[-1]}.", choices=SPLITS, panel=PANEL
    )

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        super().__post_init__()
        refuse_both(self.prompts, "--config", self.config, DEFAULT_CONFIG)


@documented
@dataclass(frozen=True, kw_only=True)
class ExportOptions(PromptOptions):
    """What of CodeGenBias is written or published."""

    config: str = option(
        ALL, f"{', '.join(CONFIGS)}, or all.", choices=(*CONFIG_NAMES, ALL), panel=PANEL
    )
    format: Literal["parquet", "jsonl", "csv"] = option(
        "parquet", "Files to write: parquet, jsonl, csv.", flags=("--records",)
    )

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        super().__post_init__()
        refuse_both(self.prompts, "--config", self.config, ALL)


class ReferenceOverrides(TypedDict, total=False):
    """`ReferenceOptions` as keywords."""

    reference: str | Path
    seed: int


class PromptOverrides(ReferenceOverrides, total=False):
    """`PromptOptions` as keywords."""

    prompts: str | Path | None
    professions: str | Path | tuple[str, ...] | None
    limit: int | None


class ChoiceOverrides(PromptOverrides, total=False):
    """`ChoiceOptions` as keywords, but for `config`, which is an argument of its own."""

    split: str
