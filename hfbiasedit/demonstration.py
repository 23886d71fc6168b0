"""The whole path on the model that ships with the package, offline.

Audit, edit, patch, apply, audit and card are what `edit` does with any model; the demonstration
adds the proof that the patch applies to the files and comes off again bit for bit.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hfbiasedit import console
from hfbiasedit.errors import BiasEditError
from hfbiasedit.files import sha256_file
from hfbiasedit.resources import DEMO, demo_model_path

if TYPE_CHECKING:
    from hfbiasedit.documents.runs import Run
    from hfbiasedit.levels import Granularity

_PROMPTS = 512  # to edit with, so that the demo takes a minute or two
_AUDIT = "quick@1"  # what the demo model was trained to know; of version 2 it has hardly seen half


def demo(out: Path | str, granularity: Granularity | None = None) -> Run:
    """Audit and edit the demo model, and write the run directory `out`.

    Args:
        out: directory to write; an earlier run there is replaced.
        granularity: level of the edit; None: the default of `edit`.

    Raises:
        BiasEditError: `out` holds something else, or nothing can be written there.
    """
    from hfbiasedit.documents.public import command_line
    from hfbiasedit.editing.config import EditConfig
    from hfbiasedit.editing.editor import edit

    # Fewer prompts to learn from than `edit` takes by itself: a demonstration should be short.
    config = EditConfig(ability=True, limit=_PROMPTS, audit=_AUDIT)
    if granularity is not None:
        config = replace(config, granularity=granularity)
    asked = [] if granularity is None else ["--granularity", granularity]
    command = command_line(["demo", "--out", str(out), *asked])
    run = edit(DEMO, config, out=Path(out), command=command)
    check_reversal(run)
    return run


def check_reversal(run: Run) -> None:
    """Apply the patch of a run of the demo model to its files and take it back.

    Raises:
        BiasEditError: the weights do not come back bit for bit.
    """
    from hfbiasedit.patches.checkpoint import apply_patch

    base = demo_model_path()
    with tempfile.TemporaryDirectory() as folder:
        patched, restored = Path(folder, "patched"), Path(folder, "restored")
        apply_patch(base, run.patch_path, patched)
        apply_patch(patched, run.patch_path, restored, reverse=True)
        shards = sorted(base.glob("*.safetensors"))
        changed = [s for s in shards if sha256_file(s) != sha256_file(patched / s.name)]
        lost = [s.name for s in shards if sha256_file(s) != sha256_file(restored / s.name)]
    if lost:
        raise BiasEditError(f"the patch does not come off bit for bit: {', '.join(lost)} differ")
    console.message(
        f"The patch changes {len(changed)} of {len(shards)} weight files "
        "and comes off again bit for bit."
    )
