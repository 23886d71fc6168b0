"""What a push is asked to do, and what it did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from huggingface_hub import constants

from hfbiasedit.publishing.commit import Outcome
from hfbiasedit.publishing.plan import Plan


@dataclass(frozen=True)
class PushResult:
    """What a push did. `outcome` is None after a dry run and when there was nothing to do.

    `held` is what lies in the repository after the commit, path to bytes, asked of the Hub; None
    where nothing was committed or the Hub did not say.
    """

    plan: Plan
    url: str
    outcome: Outcome | None = None
    held: Mapping[str, int] | None = None

    @property
    def changed(self) -> bool:
        """Whether the plan holds anything to do (or that was done)."""
        return bool(self.plan.changes)

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            **self.plan.to_dict(),
            "url": self.url,
            "changed": self.changed,
            "commit": self.outcome.commit if self.outcome else None,
            "pull_request_url": self.outcome.pr_url if self.outcome else None,
            "held": None if self.held is None else dict(self.held),
        }


@dataclass(frozen=True)
class Target:
    """Where to publish and how: the options of a push that do not depend on its contents."""

    repo_id: str
    kind: str = constants.REPO_TYPE_MODEL
    what: str = "model"
    revision: str | None = None
    create_pr: bool = False
    private: bool = False
    overwrite: bool = False
    dry_run: bool = False
