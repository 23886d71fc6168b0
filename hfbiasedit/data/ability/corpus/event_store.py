from __future__ import annotations

import json
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Iterator

SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    stream   TEXT NOT NULL,
    version  INTEGER NOT NULL,
    kind     TEXT NOT NULL,
    payload  TEXT NOT NULL,
    recorded TEXT NOT NULL,
    UNIQUE (stream, version)
);
"""


class ConcurrencyError(Exception):
    """Somebody else wrote to the stream first."""


@dataclass(frozen=True)
class Event:
    stream: str
    version: int
    kind: str
    payload: dict


class EventStore:
    def __init__(self, path: str = ":memory:") -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.executescript(SCHEMA)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        with closing(self._connection.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
            except BaseException:
                cursor.execute("ROLLBACK")
                raise
            cursor.execute("COMMIT")

    def append(self, stream: str, expected: int, events: list[tuple[str, dict]]) -> int:
        now = datetime.now(timezone.utc).isoformat()
        with self._transaction() as cursor:
            cursor.execute("SELECT COALESCE(MAX(version), 0) FROM events WHERE stream = ?", (stream,))
            (current,) = cursor.fetchone()
            if current != expected:
                raise ConcurrencyError(f"{stream} is at {current}, not at {expected}")
            for version, (kind, payload) in enumerate(events, start=expected + 1):
                cursor.execute(
                    "INSERT INTO events (stream, version, kind, payload, recorded)"
                    " VALUES (?, ?, ?, ?, ?)",
                    (stream, version, kind, json.dumps(payload, sort_keys=True), now),
                )
        return expected + len(events)

    def read(self, stream: str, after: int = 0) -> Iterator[Event]:
        rows = self._connection.execute(
            "SELECT version, kind, payload FROM events WHERE stream = ? AND version > ?"
            " ORDER BY version",
            (stream, after),
        )
        for version, kind, payload in rows:
            yield Event(stream, version, kind, json.loads(payload))
