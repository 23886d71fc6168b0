#!/usr/bin/env python3
"""Copy audits and runs as they may be shared: what a leaderboard reads, no paths, no prompts.

python examples/leaderboard/collect.py MEASURED AUDITS

Every folder of MEASURED (outputs of `audit --out`, run directories) becomes one of AUDITS, with the
coding ability that is in it (`ability*.json`) or beside it (`NAME.corpus.json` and
`NAME.humaneval.json`, as benchmarks/real_models.py writes them). Models made by
examples/real_models are called by their publishers' names, and what they were made from is said.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

from hfbiasedit.documents import runs
from hfbiasedit.documents.public import public, public_command
from hfbiasedit.documents.reading import AUDIT
from hfbiasedit.files import canonical_json, read_json, write_text

_AUDITS = (AUDIT, runs.AUDIT_BEFORE, runs.AUDIT_AFTER)
_MADE = Path(__file__).parents[1] / "real_models" / "make_checkpoint.py"
_NOTES = {
    "demo": (
        "hfbiasedit demo model",
        "Ships with hfbiasedit; its bias was planted, and it hardly knows half of these templates.",
    )
}
_NOTE = (
    "Dequantised from the publisher's {} GGUF file, not bit-equal to the originals on the Hub; "
    "nobody at the publisher has reviewed it."
)


def collect(measured: Path, audits: Path) -> None:
    """Write what is in each folder of `measured` and may be shared into `audits`."""
    known = _NOTES | {
        name: (model.publisher, _NOTE.format(model.quantisation))
        for name, model in runpy.run_path(str(_MADE))["MODELS"].items()
    }
    for folder in sorted(path for path in measured.iterdir() if path.is_dir()):
        model = next((folder / name for name in _AUDITS if (folder / name).is_file()), None)
        if model is None:
            continue
        target = audits / folder.name
        for name, path in _files(folder).items():
            _write(target / name, _shared(read_json(path)))
        called = known.get(Path(read_json(model)["model"]["id"]).name)
        if called is not None:
            about = {"schema": "hfbiasedit.about/1", "name": called[0], "note": called[1]}
            _write(target / "about.json", about)


def _files(folder: Path) -> dict[str, Path]:
    """What is shared of a folder, by the name that it gets."""
    found = {name: folder / name for name in (*_AUDITS, runs.EDIT)}
    found |= {path.name: path for path in folder.glob("ability*.json")}
    for kind in ("corpus", "humaneval"):
        found.setdefault(f"ability.{kind}.json", folder.with_name(f"{folder.name}.{kind}.json"))
    return {name: path for name, path in found.items() if path.is_file()}


def _shared(document: dict[str, Any]) -> dict[str, Any]:
    """A document without paths and without what ships with the program or is of no use here."""
    shown = public(document, document["model"])
    if "command" in shown:
        shown["command"] = public_command(shown["command"], document["model"])
    if "professions" in shown:
        shown.pop("examples", None)  # of an audit: the prompts ship with the program
    for side in ("before", "after"):
        (shown.get("humaneval", {}).get(side) or {}).pop("results", None)
    return shown


def _write(path: Path, document: dict[str, Any]) -> None:
    write_text(path, canonical_json(document) + "\n")


if __name__ == "__main__":
    collect(*map(Path, sys.argv[1:3]))
