"""What an audit can be asked for. Imports nothing heavy: the command line reads its defaults."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from hfbiasedit.codegenbias.options import ChoiceOptions, ChoiceOverrides
from hfbiasedit.errors import UsageError
from hfbiasedit.fields import documented, option
from hfbiasedit.scoring.options import ScoringOptions, ScoringOverrides
from hfbiasedit.tracking import TrackingOptions, TrackingOverrides

RecordFormat = Literal["parquet", "jsonl"]
RECORD_FORMATS = get_args(RecordFormat)
# Where an interrupted audit without an output directory leaves its partial results.
DEFAULT_PARTIAL = "hfbiasedit-audit.partial.jsonl"


@documented
@dataclass(frozen=True, kw_only=True)
class AuditConfig(ChoiceOptions, ScoringOptions, TrackingOptions):
    """Options of `audit`; the command line has the same ones with the same defaults."""

    samples: int = option(2000, "Bootstrap resamples behind the intervals.", least=1, hidden=True)
    patch: str | Path | None = option(
        None, "Apply this patch (file, run or Hub id) in memory first; nothing is written."
    )
    out: str | Path | None = option(None, "Directory for audit.json, figures/ and report.html.")
    records: RecordFormat | None = option(
        None, f"Also write one row per prompt into --out: {' or '.join(RECORD_FORMATS)}."
    )
    partial: str | Path | None = option(
        None,
        "File that takes results while the audit runs.",
        note="It stays behind when the audit is interrupted; by default beside `out`, or none.",
        hidden=True,
    )
    resume: bool = option(False, "Continue an interrupted audit (same options).")

    def __post_init__(self) -> None:
        """Refuse what can be refused before anything is loaded."""
        super().__post_init__()
        if self.records is not None and self.out is None:
            raise UsageError("records need a directory to go to; name one with --out")

    @property
    def partial_path(self) -> Path | None:
        """The partial file's path, if there is to be one."""
        if self.partial is not None:
            return Path(self.partial)
        if self.out is not None:
            out = Path(self.out).absolute()
            return out.with_name(out.name + ".partial.jsonl")
        return None


class AuditOverrides(ChoiceOverrides, ScoringOverrides, TrackingOverrides, total=False):
    """`AuditConfig` as keywords."""

    samples: int
    patch: str | Path | None
    out: str | Path | None
    records: RecordFormat | None
    partial: str | Path | None
    resume: bool
