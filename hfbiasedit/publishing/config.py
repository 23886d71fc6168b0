"""The options of a push, with their defaults."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict

from hfbiasedit.errors import UsageError
from hfbiasedit.fields import Options, documented, option
from hfbiasedit.patches.export.config import MAX_RANK, Kind

BASE_MODEL = (
    "Where the local base model is on the Hub, org/name or org/name@revision; checked by hashes."
)
Content = Literal["model", "patch", "adapter"]


@documented
@dataclass(frozen=True, kw_only=True)
class PushConfig(Options):
    """What to publish, where, and how careful to be."""

    what: Content = option(
        "model", "The whole patched model, only the patch, or the patch as an adapter."
    )
    private: bool = option(
        False, "Make a new repository private.", note="An existing public one is refused."
    )
    create_pr: bool = option(False, "Open a pull request instead of writing to the branch.")
    revision: str | None = option(None, "Branch; made if missing. [default: main]")
    message: str | None = option(None, "Title of the commit. [default: base model and scores]")
    dry_run: bool = option(False, "List what would be copied, uploaded or skipped.")
    overwrite: bool = option(False, "Also replace files that hfbiasedit did not write.")
    base: Path | None = option(None, "Directory of the base model, if the run's is not at hand.")
    base_model: str | None = option(None, BASE_MODEL)
    kind: Kind = option("lora", "Of an adapter: lora or shira.", flags=("--as",))
    max_rank: int = option(MAX_RANK, "Of an adapter: refuse an edit of a larger rank.", least=1)
    check: bool = option(
        False, "Of an adapter: measure how far its logits are from the patch's (needs peft)."
    )

    def __post_init__(self) -> None:
        """Refuse what cannot be published."""
        super().__post_init__()
        if self.message is not None and not self.message.strip():
            raise UsageError(
                "the message is empty; leave --message out for one made from the scores"
            )


class PushOverrides(TypedDict, total=False):
    """`PushConfig` as keywords."""

    what: Content
    private: bool
    create_pr: bool
    revision: str | None
    message: str | None
    dry_run: bool
    overwrite: bool
    base: Path | None
    base_model: str | None
    kind: Kind
    max_rank: int
    check: bool
