"""Packages as they look when they are installed: metadata with entry points, on the path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest


def install(site: Path, group: str, points: Mapping[str, str], patch: pytest.MonkeyPatch) -> None:
    """Let an empty folder hold the metadata of a package with entry points, for one test."""
    info = site / "elsewhere-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    lines = "".join(f"{name} = {value}\n" for name, value in points.items())
    (info / "entry_points.txt").write_text(f"[{group}]\n{lines}")
    patch.syspath_prepend(site)
