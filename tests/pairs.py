"""Two processes of one program, joined as a launcher joins them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Ended(NamedTuple):
    status: int
    out: str
    err: str


def run_two(*arguments: str, cwd: Path | None = None) -> list[Ended]:
    """Run `python ARGUMENTS` twice at the same time, as processes 0 and 1 of two."""
    with kept_port() as port:
        return _run_two(arguments, cwd, port)


@contextmanager
def kept_port() -> Iterator[int]:
    """A port that the system gives to nobody else in the block.

    It is bound and nothing listens, so that a process which is told its number may listen there
    (not on Windows: there it can only be hoped that nobody else does).
    """
    with socket.socket() as kept:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        number = kept.getsockname()[1]
        if os.name == "nt":
            kept.close()
        yield number


def _run_two(arguments: tuple[str, ...], cwd: Path | None, port: int) -> list[Ended]:
    started = []
    for rank in range(2):
        given = {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
            "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        started.append(
            subprocess.Popen(
                [sys.executable, *arguments],
                env=os.environ | given,
                cwd=cwd,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    try:
        heard = [process.communicate(timeout=240) for process in started]
        return [Ended(p.returncode, *said) for p, said in zip(started, heard, strict=True)]
    finally:
        for process in started:
            process.kill()
