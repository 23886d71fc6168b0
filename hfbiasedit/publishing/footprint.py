"""What a push that failed or was interrupted has left on the Hub: said, and taken back if empty."""

from __future__ import annotations

from huggingface_hub import HfApi, constants, errors

from hfbiasedit.console import message
from hfbiasedit.hub.failures import status_of
from hfbiasedit.hub.remote import files_at
from hfbiasedit.hub.retries import with_retries
from hfbiasedit.hub.session import patience
from hfbiasedit.publishing.commit import commit_made, repository_url
from hfbiasedit.publishing.plan import Plan

_OF_THE_HUB = {".gitattributes"}  # what the Hub puts into a new repository


class Footprint:
    """The traces of one push.

    Attributes:
        plan: what is being published, as far as it is known.
        sending: whether a commit may be under way.
    """

    def __init__(self, api: HfApi, plan: Plan, author: str) -> None:
        self.api, self.plan, self._author = api, plan, author
        self.sending = False
        self._created = self._creating = False

    def create(self) -> None:
        """Create the repository, and remember whether it was this push that did."""
        plan, self._creating = self.plan, True

        def make() -> bool:
            try:
                self.api.create_repo(
                    plan.repo_id,
                    repo_type=plan.kind,
                    private=plan.private or None,
                    space_sdk="static" if plan.kind == constants.REPO_TYPE_SPACE else None,
                )
            except errors.HfHubHTTPError as error:
                if error.response.status_code != 409:
                    raise
                return False  # another one did, or the answer to an earlier try was lost
            return True

        self._created = with_retries(make, f"creating {plan.repo_id}")
        self._creating = False

    def account(self, error: BaseException) -> None:
        """Say what is on the Hub after a failure; an empty repository of this push is removed."""
        status = status_of(error)
        if status is not None and status < 500:
            self._creating = False  # the Hub said no
        try:
            with patience():
                found = self._account()
            if found is not None:
                message(found)
            elif isinstance(error, KeyboardInterrupt):
                message(f"nothing was committed; {self.plan.repo_id} is as it was")
        except Exception:  # the failure itself says more
            message(f"the Hub does not say what is there now; look at {self._page}")

    @property
    def _page(self) -> str:
        return repository_url(self.plan.repo_id, self.plan.kind)

    def _account(self) -> str | None:
        name, kind = self.plan.repo_id, self.plan.kind
        if self.sending:
            done = commit_made(self.api, self.plan, self._author)
            if done is not None:
                return f"the commit was finished: {done.pr_url or done.url}"
        if self._created:
            files = files_at(self.api, name, kind, self.plan.remote.head or "main")
            if set(files) <= _OF_THE_HUB and not self._moved():
                self.api.delete_repo(name, repo_type=kind)
                return f"the empty repository {name}, made for this, is removed; nothing is left"
            return f"{self._page} was made for this and holds other files now; it stays"
        if self._creating:
            return f"nothing was committed; an empty repository may be left: {self._page}"
        return None

    def _moved(self) -> bool:
        """Whether anybody has committed since the repository was made."""
        return len(self.api.list_repo_commits(self.plan.repo_id, repo_type=self.plan.kind)) > 1
