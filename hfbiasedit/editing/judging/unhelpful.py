"""What is said of an edit that does not help."""

from __future__ import annotations

from hfbiasedit.editing.config import EditConfig
from hfbiasedit.editing.solving.task import Outcome


def no_help(end: Outcome, config: EditConfig) -> str:
    """That no patch is written, why, and what to try."""
    return (
        f"no {config.granularity} edit helps within the budget: {_reached(end, config)}. No "
        "patch is written; allow more with --max-kl, or try another --granularity or --budget"
    )


def _reached(end: Outcome, config: EditConfig) -> str:
    """What came of it: moves that were too large, or none that helped."""
    before = end.dev_before
    closer = [row for row in end.history if row["dev_fb"] < before]
    if closer:
        row = min(closer, key=lambda row: row["kl"])
        return (
            f"the distance on dev comes down from {before:.2f} to {row['dev_fb']:.2f} only at a "
            f"divergence of {row['kl']:.2g}, and {config.allowed_kl:g} is allowed"
        )
    best = min((row["dev_fb"] for row in end.history), default=before)
    return f"the distance on dev is {before:.2f} before and {best:.2f} at best; {end.stopped}"
