"""The directory `audit --out` writes: report, figures and page, complete or not at all."""

from __future__ import annotations

from pathlib import Path

from hfbiasedit.audits.report import AuditReport
from hfbiasedit.documents import runs
from hfbiasedit.documents.reading import AUDIT
from hfbiasedit.outputs import output_directory, probe_directory
from hfbiasedit.replacing import Kind, refuse_other

_NAMES = frozenset((AUDIT, "records.parquet", "records.jsonl", runs.FIGURES, runs.REPORT))
_OUTPUT = Kind("an audit", _NAMES.__contains__, lambda names: AUDIT in names)


def check_output(out: str | Path | None) -> None:
    """Refuse, before any work is done, a directory that could not be written in the end.

    An earlier audit is replaced; anything else is left alone.

    Raises:
        BiasEditError: `out` is a file, holds something else, or cannot be written.
    """
    if out is None:
        return
    path = Path(out)
    probe_directory(path)
    refuse_other(path, _OUTPUT)


def write_output(report: AuditReport, out: Path, records: str | None) -> None:
    """Write `audit.json`, `figures/`, `report.html`, and the records in the given format."""
    from hfbiasedit.figures.run import write_figures
    from hfbiasedit.reports.html import write_report

    with output_directory(out, replace=True, keep=True) as folder:
        report.save(folder / AUDIT)
        if records is not None:
            report.save_records(folder / f"records.{records}")
        write_report(folder, figures=write_figures(folder))
