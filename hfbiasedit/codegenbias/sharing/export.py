"""CodeGenBias as a `datasets` object and as files that `datasets.load_dataset` reads."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfbiasedit.codegenbias.configs import CONFIGS, VERSION, parse_config
from hfbiasedit.codegenbias.prompts import PromptSet, load_prompts
from hfbiasedit.codegenbias.records import COLUMNS, RECORD_SPLITS, Record
from hfbiasedit.codegenbias.references import DEFAULT_REFERENCE
from hfbiasedit.codegenbias.sharing.dataset_card import render_dataset_card, render_own_card
from hfbiasedit.errors import BiasEditError
from hfbiasedit.files import write_bytes, write_text
from hfbiasedit.outputs import output_directory, probe_new_directory
from hfbiasedit.replacing import Kind, files_of, refuse_other

if TYPE_CHECKING:
    import datasets
    import pyarrow

FORMATS = ("parquet", "jsonl", "csv")
_CARD = "README.md"
_NAMES = frozenset(f"{split}.{format}" for split in RECORD_SPLITS for format in FORMATS)


def features() -> datasets.Features:
    """The typed columns of a record."""
    import datasets

    text = datasets.Value("string")
    special = {
        "male": datasets.List(text),
        "female": datasets.List(text),
        "share_female": datasets.Value("float64"),
    }
    return datasets.Features({name: special.get(name, text) for name in COLUMNS})


def build_dataset(
    config: str = "quick", *, reference: str = DEFAULT_REFERENCE
) -> datasets.DatasetDict:
    """A configuration as a `DatasetDict` with one dataset a split (see `load_prompts`)."""
    import datasets

    chosen = load_prompts(config, reference=reference)
    return datasets.DatasetDict(
        {
            split: datasets.Dataset(_table(records))
            for split, records in by_split(chosen.records).items()
        }
    )


def by_split(records: Iterable[Record]) -> dict[str, list[Record]]:
    """The records of each split that has any, in the documented order of splits."""
    found: dict[str, list[Record]] = {split: [] for split in RECORD_SPLITS}
    for record in records:
        found[record.split].append(record)
    return {split: rows for split, rows in found.items() if rows}


def export_dataset(
    out: Path,
    *,
    configs: Sequence[str] = CONFIGS,
    format: str = "parquet",
    reference: str = DEFAULT_REFERENCE,
    prompts: Path | None = None,
    name: str | None = None,
    replace: bool = False,
) -> Path:
    """Write a dataset repository: `README.md` and `data/<config>/<split>.<format>`.

    Args:
        out: the directory; it appears when everything in it is complete.
        configs: which configurations, all of one version; of no account when `prompts` is given.
        format: `parquet`, `jsonl`, or `csv` (lists as JSON text in a cell).
        prompts: export the user's own prompts instead, as configuration `custom`.
        name: what the card calls the dataset in its examples; default: the directory's name.
        replace: whether `out` may hold an earlier export, which then goes away.

    Raises:
        BiasEditError: an unknown name, a wrong row, or a directory that holds something else.
    """
    if format not in FORMATS:
        raise BiasEditError(f"no format {format!r}; use {', '.join(FORMATS)}")
    version = VERSION if prompts is not None else _version(configs)
    if replace:
        refuse_other(Path(out), _EXPORT)
    else:
        probe_new_directory(out, "--replace")
    with output_directory(out, replace=replace) as folder:
        counts: dict[str, dict[str, int]] = {}
        used, sources = None, Counter[str]()
        for config in [""] if prompts is not None else configs:
            chosen = _load(config, reference, prompts)
            used = used or chosen.reference
            sources.update(record.reference for record in chosen.records)
            counts[chosen.config] = {}
            for split, records in by_split(chosen.records).items():
                counts[chosen.config][split] = len(records)
                _write(folder / "data" / chosen.config / f"{split}.{format}", records, format)
        name = name or Path(out).name
        if prompts is not None:
            card = render_own_card(counts, sources, name=name, format=format)
        else:
            card = render_dataset_card(
                counts, name=name, format=format, reference=used or reference, version=version
            )
        write_text(folder / _CARD, card)
    return out


def _is_data(file: str) -> bool:
    """Whether a file is `data/<config>/<split>.<format>`."""
    folder, *parts = file.split("/")
    return folder == "data" and len(parts) == 2 and parts[1] in _NAMES


# A card alone may be anybody's.
_EXPORT = Kind(
    "a dataset",
    lambda file: file == _CARD or _is_data(file),
    lambda files: any(map(_is_data, files)),
    files_of,
)


def _version(configs: Sequence[str]) -> int:
    """The version that all configurations are of: a card describes the templates of one."""
    versions = {parse_config(config)[1] for config in configs}
    if len(versions) > 1:
        raise BiasEditError(
            f"{', '.join(configs)} are of different versions of CodeGenBias; export one at a time"
        )
    return versions.pop() if versions else VERSION


def _load(config: str, reference: str, prompts: Path | None) -> PromptSet:
    if prompts is not None:
        return load_prompts(reference=reference, prompts=prompts)
    return load_prompts(config, reference=reference)


def _write(path: Path, records: Sequence[Record], format: str) -> None:
    writers: dict[str, Callable[[Sequence[Record]], bytes]] = {
        "parquet": _parquet,
        "jsonl": to_jsonl,
        "csv": _csv,
    }
    write_bytes(path, writers[format](records))


def to_jsonl(records: Iterable[Record]) -> bytes:
    """One JSON object a line: the shape that `--prompts` reads."""
    rows = (json.dumps(record.to_dict(), ensure_ascii=False) for record in records)
    return "".join(f"{row}\n" for row in rows).encode()


def _csv(records: Iterable[Record]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for record in records:
        row: dict[str, Any] = record.to_dict()
        for name in ("male", "female"):
            row[name] = json.dumps(row[name], ensure_ascii=False)
        writer.writerow(row)
    return text.getvalue().encode()


def _table(records: Sequence[Record]) -> pyarrow.Table:
    import pyarrow

    columns = {name: [getattr(record, name) for record in records] for name in COLUMNS}
    return pyarrow.table(columns, schema=features().arrow_schema)


def _parquet(records: Sequence[Record]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(_table(records), sink, compression="zstd")
    return bytes(sink.getvalue())
