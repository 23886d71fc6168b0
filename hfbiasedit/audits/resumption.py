"""The partial file: results of an audit that is still running, or was interrupted.

JSON lines. The first names the measurement (see `identity`); every further one holds the prompts
of one finished batch: `of` (a mark of the measurement), `index`, `log_male`, `log_female`. A line
that a crash cut off, or that another audit wrote into the file by mistake, ends it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from hfbiasedit import console
from hfbiasedit.audits.identity import Identity, check_same
from hfbiasedit.errors import BiasEditError
from hfbiasedit.files import canonical_json, write_text

SCHEMA = "hfbiasedit.audit.partial/1"
Known = dict[int, tuple[float, float]]


class PartialFile:
    """Takes results batch by batch; removed when the audit is complete."""

    def __init__(self, path: Path, expected: Identity, prompts: int) -> None:
        self.path, self._identity, self._prompts = path, expected, prompts
        self._mark = hashlib.sha256(canonical_json(expected).encode()).hexdigest()[:16]
        self._file: IO[str] | None = None
        self._resumed = self._unwritable = False

    @property
    def written(self) -> bool:
        """Whether the file holds results."""
        return self._resumed or self._file is not None

    def resume(self) -> Known:
        """Read what an interrupted run left and continue behind it.

        Raises:
            BiasEditError: There is no file, it is none of ours, or of another measurement.
        """
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError as error:
            raise BiasEditError(
                f"nothing to resume: {self.path} does not exist; audit without --resume"
            ) from error
        except (OSError, UnicodeDecodeError) as error:
            raise BiasEditError(f"cannot read {self.path}: {error}") from error
        header = _parse(lines[0]) if lines else None
        if header is None or header.get("schema") != SCHEMA:
            raise BiasEditError(f"{self.path} is no partial audit; audit without --resume")
        check_same(header.get("identity") or {}, self._identity, self.path)
        known: Known = {}
        kept = [lines[0]]
        for line in lines[1:]:
            row = _parse(line)
            if row is None or row.get("of", self._mark) != self._mark:
                break
            known.update(_read_row(row, self._prompts, self.path))
            kept.append(line)
        self._rewrite(kept)
        self._resumed = True
        return known

    def add(self, index: Sequence[int], log_male: np.ndarray, log_female: np.ndarray) -> None:
        """Append one batch; it is with the operating system when this returns."""
        if self._file is None and not self._open():
            return
        row = {
            "of": self._mark,
            "index": list(index),
            "log_male": log_male.tolist(),
            "log_female": log_female.tolist(),
        }
        self._write(json.dumps(row))

    def close(self) -> None:
        """Stop writing; the file stays."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def remove(self) -> None:
        """The audit is complete: the file has served."""
        self.close()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            self.path.unlink()

    def _open(self) -> bool:
        """Open the file; where that is impossible the audit goes on without it."""
        if self._unwritable:
            return False
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.exists() and not self._resumed:
                aside = self.path.with_name(self.path.name + ".old")
                os.replace(self.path, aside)
                console.message(f"earlier partial results are kept in {aside}")
            mode = "a" if self._resumed else "w"
            self._file = open(self.path, mode, encoding="utf-8")  # noqa: SIM115 - open until close
        except OSError as error:
            self._unwritable = True
            console.warn(f"no partial results are kept: {self.path}: {error.strerror or error}")
            return False
        if not self._resumed:
            self._write(json.dumps({"schema": SCHEMA, "identity": self._identity}))
        return True

    def _write(self, line: str) -> None:
        if self._file is not None:
            self._file.write(line + "\n")
            self._file.flush()

    def _rewrite(self, lines: Sequence[str]) -> None:
        """Drop a line that was cut off, so that the next one starts on its own."""
        write_text(self.path, "".join(line + "\n" for line in lines))


def _parse(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def _read_row(row: dict[str, Any], prompts: int, path: Path) -> Known:
    try:
        triples = zip(row["index"], row["log_male"], row["log_female"], strict=True)
        known = {int(index): (float(male), float(female)) for index, male, female in triples}
    except (KeyError, TypeError, ValueError) as error:
        raise BiasEditError(f"{path} is damaged; audit without --resume") from error
    if any(not 0 <= index < prompts for index in known):
        raise BiasEditError(f"{path} is damaged; audit without --resume")
    return known
