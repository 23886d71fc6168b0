#!/usr/bin/env python3
"""Copy audits and runs as they may be shared: what a leaderboard reads, no paths, no prompts.

python examples/leaderboard/collect.py MEASURED AUDITS

Every folder of MEASURED (outputs of `audit --out`, run directories) becomes one of AUDITS.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hfbiasedit.documents import runs
from hfbiasedit.documents.public import public
from hfbiasedit.documents.reading import AUDIT
from hfbiasedit.files import canonical_json, read_json, write_text

_READ = (AUDIT, runs.AUDIT_BEFORE, runs.AUDIT_AFTER, runs.ABILITY)


def collect(measured: Path, audits: Path) -> None:
    """Write what is in each folder of `measured` and may be shared into `audits`."""
    for folder in sorted(path for path in measured.iterdir() if path.is_dir()):
        for name in _READ:
            if (folder / name).is_file():
                document = read_json(folder / name)
                shown = public(document, document["model"])
                shown.pop("examples", None)  # the prompts ship with the program
                write_text(audits / folder.name / name, canonical_json(shown) + "\n")


if __name__ == "__main__":
    collect(*map(Path, sys.argv[1:3]))
