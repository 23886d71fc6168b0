"""The directory `audit --out` writes: report, figures and page, complete or not at all."""

from __future__ import annotations

from pathlib import Path

from hfbiasedit.audits.report import AuditReport
from hfbiasedit.documents import runs
from hfbiasedit.documents.reading import AUDIT
from hfbiasedit.errors import BiasEditError
from hfbiasedit.outputs import contents_of, output_directory, probe_directory

_OURS = {AUDIT, "records.parquet", "records.jsonl", runs.FIGURES, runs.REPORT}


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
    if path.is_dir() and contents_of(path) and not _is_audit(path):
        raise BiasEditError(f"{path} holds something else than an audit; choose another directory")


def write_output(report: AuditReport, out: Path, records: str | None) -> None:
    """Write `audit.json`, `figures/`, `report.html`, and the records in the given format."""
    from hfbiasedit.figures.run import write_figures
    from hfbiasedit.reports.html import write_report

    with output_directory(out, replace=True, keep=True) as folder:
        report.save(folder / AUDIT)
        if records is not None:
            report.save_records(folder / f"records.{records}")
        write_report(folder, figures=write_figures(folder))


def _is_audit(path: Path) -> bool:
    """Whether a directory holds an audit's output and nothing else."""
    names = contents_of(path)
    return AUDIT in names and names <= _OURS
