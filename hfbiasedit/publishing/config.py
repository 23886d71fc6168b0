"""The options of a push, with their defaults."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hfbiasedit.errors import UsageError

CONTENTS = ("model", "patch")


@dataclass(frozen=True)
class PushConfig:
    """What to publish, where, and how careful to be.

    Attributes:
        what: `model` (the patched weights with everything around them) or `patch`.
        private: Make a new repository private; an existing public one is refused.
        create_pr: Open a pull request instead of writing to the branch.
        revision: Branch to write to (made if missing), or to open the pull request against.
        message: Title of the commit; made from the scores when None.
        dry_run: Only say what would be done.
        overwrite: Also replace files that this program did not write.
        base: Directory of the base model, where the one of the run is not at hand.
    """

    what: str = "model"
    private: bool = False
    create_pr: bool = False
    revision: str | None = None
    message: str | None = None
    dry_run: bool = False
    overwrite: bool = False
    base: Path | None = None

    def __post_init__(self) -> None:
        if self.what not in CONTENTS:
            raise UsageError(f"cannot push {self.what!r}; --what is model or patch")
        if self.message is not None and not self.message.strip():
            raise UsageError(
                "the message is empty; leave --message out for one made from the scores"
            )
