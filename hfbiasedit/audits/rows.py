"""The per-prompt records of an audit: one row per prompt, as Parquet or JSON lines."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from hfbiasedit.audits.breakdowns import PromptScores
from hfbiasedit.errors import BiasEditError
from hfbiasedit.files import write_bytes

_LABELS = (
    "id",
    "profession",
    "modifier",
    "polarity",
    "template",
    "language",
    "occupation",
    "group",
    "split",
    "reference",
)


def columns(scores: PromptScores) -> dict[str, list[Any]]:
    """Labels of the record, then what was measured (log-probabilities are natural logs)."""
    table: dict[str, list[Any]] = {
        name: [getattr(record, name) for record in scores.records] for name in _LABELS
    }
    table["share_female"] = scores.factual.tolist()
    table["log_male"] = scores.log_male.tolist()
    table["log_female"] = scores.log_female.tolist()
    table["model_share"] = scores.share.tolist()
    table["gender_mass"] = scores.mass.tolist()
    table["fb"] = scores.fb.tolist()
    return table


def write_records(scores: PromptScores, path: Path) -> None:
    """Write the records; the file appears complete or not at all.

    Raises:
        BiasEditError: The suffix is neither `.parquet` nor `.jsonl`.
    """
    table = columns(scores)
    if path.suffix == ".parquet":
        write_bytes(path, _parquet(table))
    elif path.suffix == ".jsonl":
        rows = (dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True))
        lines = (json.dumps(_finite(row), ensure_ascii=False, allow_nan=False) for row in rows)
        write_bytes(path, "".join(line + "\n" for line in lines).encode())
    else:
        raise BiasEditError(f"cannot tell the format of {path}; name it .parquet or .jsonl")


def _parquet(table: dict[str, list[Any]]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    buffer = io.BytesIO()
    parquet.write_table(pyarrow.table(table), buffer)
    return buffer.getvalue()


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinity: the log of a probability of zero becomes null."""
    return {
        key: None if isinstance(value, float) and value == float("-inf") else value
        for key, value in row.items()
    }
