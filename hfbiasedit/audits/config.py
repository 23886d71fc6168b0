"""What an audit can be asked for. Imports nothing heavy: the command line reads its defaults."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfbiasedit.errors import BiasEditError

RECORD_FORMATS = ("parquet", "jsonl")
# Where an interrupted audit without an output directory leaves its partial results.
DEFAULT_PARTIAL = "hfbiasedit-audit.partial.jsonl"


@dataclass(frozen=True)
class AuditConfig:
    """Options of `audit`; the command line has the same ones with the same defaults.

    Attributes:
        config: Prompt configuration: `quick`, `core` or `full`.
        split: `all`, `edit`, `dev`, `test`, `test_modifiers`, `test_templates`,
            `test_professions` or `test_combined`.
        reference: `bls-2022`, `bls-2021`, `parity`, or a CSV file with the columns profession and
            share_female.
        prompts: JSONL file with prompts in the record shape, instead of a configuration.
        professions: Only these: names, or a text file with one a line.
        limit: At most so many prompts, a seeded sample balanced over professions and templates.
        seed: Seed of that sample and of the bootstrap.
        samples: Bootstrap resamples behind the intervals.
        batch_size: Prompts per forward pass, or `auto`.
        dtype: `auto` (the checkpoint's own), `float32`, `bfloat16` or `float16`.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        device_map: `auto` spreads a model over devices (needs accelerate).
        revision: Branch, tag or commit of a model on the Hub.
        trust_remote_code: Whether code from the model's repository may run.
        patch: Patch file applied in memory before the audit.
        out: Directory to write: `audit.json`, figures, `report.html`, and the records on request.
        records: Also write one row per prompt: `parquet` or `jsonl`; needs `out`.
        partial: File that takes results while the audit runs and stays behind when it is
            interrupted; by default beside `out`, or none.
        resume: Continue from the partial file.
    """

    config: str = "quick"
    split: str = "all"
    reference: str = "bls-2022"
    prompts: str | Path | None = None
    professions: str | Path | tuple[str, ...] | None = None
    limit: int | None = None
    seed: int = 0
    samples: int = 2000
    batch_size: int | str = "auto"
    dtype: str = "auto"
    device: str = "auto"
    device_map: str | dict[str, Any] | None = None
    revision: str | None = None
    trust_remote_code: bool = False
    patch: str | Path | None = None
    out: str | Path | None = None
    records: str | None = None
    partial: str | Path | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        """Refuse what can be refused before anything is loaded."""
        if self.records is not None and self.records not in RECORD_FORMATS:
            raise BiasEditError(
                f"unknown record format {self.records!r}; use {' or '.join(RECORD_FORMATS)}"
            )
        if self.records is not None and self.out is None:
            raise BiasEditError("records need a directory to go to; name one with --out")
        if self.samples < 1:
            raise BiasEditError("the bootstrap needs at least one resample")

    @property
    def partial_path(self) -> Path | None:
        """The partial file's path, if there is to be one."""
        if self.partial is not None:
            return Path(self.partial)
        if self.out is not None:
            out = Path(self.out).absolute()
            return out.with_name(out.name + ".partial.jsonl")
        return None
