"""Publishing files as one commit: refuse, plan, create what is missing, commit, check.

This part knows nothing of runs; datasets are published through it as well.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import httpx2
from huggingface_hub import HfApi, constants, errors, get_token
from huggingface_hub.utils import validate_repo_id

from hfbiasedit.console import message as say
from hfbiasedit.console import progress, warn
from hfbiasedit.errors import BiasEditError, listed
from hfbiasedit.hub.failures import LOG_IN
from hfbiasedit.hub.layout import MANIFEST
from hfbiasedit.hub.remote import Remote, remote_state
from hfbiasedit.hub.retries import with_retries
from hfbiasedit.hub.session import hub_api
from hfbiasedit.publishing.commit import (
    Outcome,
    commit_plan,
    files_of,
    find_pull_request,
    missing_files,
    repository_url,
)
from hfbiasedit.publishing.footprint import Footprint
from hfbiasedit.publishing.plan import (
    CopySource,
    LocalFile,
    Manifest,
    Plan,
    foreign_files,
    manifest_of,
    plan_files,
)
from hfbiasedit.publishing.result import PushResult, Target

_TEXT_SIZE = 10 * 1024 * 1024  # bytes; weights are not searched for tokens


def check_target(target: Target) -> None:
    """Refuse where nothing can be published to, as far as that is known without asking the Hub.

    Raises:
        BiasEditError: offline, or a name without its owner in a dry run of nobody in particular.
        huggingface_hub.errors.LocalTokenNotFoundError: not logged in; a dry run only says so.
        huggingface_hub.errors.HFValidationError: not a name of a repository.
    """
    validate_repo_id(target.repo_id)
    if constants.is_offline_mode():
        raise BiasEditError("offline mode is on (HF_HUB_OFFLINE); publishing needs the network")
    if get_token() is not None:
        return
    if not target.dry_run:
        raise errors.LocalTokenNotFoundError("publishing needs a token")
    if "/" not in target.repo_id:
        raise BiasEditError(
            f"without a login nobody knows whose {target.repo_id} is; name it owner/name, or "
            f"{LOG_IN}"
        )
    say(f"publishing will need a login: {LOG_IN}")


class Publisher:
    """A push in steps: `look` at the repository, then `publish` files to it."""

    def __init__(self, target: Target) -> None:
        """Find out who is pushing.

        Raises:
            BiasEditError: not logged in to write, or not a name of a repository.
        """
        check_target(target)
        self.api: HfApi = hub_api()
        self.target = target
        self.user = self._who_am_i()
        self.repo_id = target.repo_id if "/" in target.repo_id else f"{self.user}/{target.repo_id}"
        validate_repo_id(self.repo_id)
        self.remote = self.look()
        self.repo_id = self.remote.repo_id

    def _who_am_i(self) -> str:
        """The name of who pushes; empty in a dry run of somebody who is not logged in."""
        if get_token() is None:
            return ""
        me = with_retries(self.api.whoami, "asking who you are")
        role = me.get("auth", {}).get("accessToken", {}).get("role")
        if role == "read" and not self.target.dry_run:
            raise BiasEditError(
                "your token can only read; make one with the write role at "
                f"{constants.ENDPOINT}/settings/tokens, then {LOG_IN}"
            )
        return str(me["name"])

    def look(self) -> Remote:
        """The repository as it is now."""
        target = self.target
        remote = remote_state(self.api, self.repo_id, target.kind, target.revision)
        if remote.head is None and target.create_pr:
            raise BiasEditError(
                f"{self.repo_id} does not exist, or you may not see it; leave --create-pr out to "
                "create it"
            )
        if remote.head is not None and target.private and not remote.private:
            raise BiasEditError(
                f"{self.repo_id} exists and is public; make it private on its settings page, "
                "or leave --private out"
            )
        if target.create_pr and not remote.has_branch:
            raise BiasEditError(
                f"{self.repo_id} has no branch {target.revision!r} to open a pull request on"
            )
        return remote

    def keep_closed(self, reason: str) -> None:
        """Make a new repository private; say so when an existing one is public."""
        if self.remote.head is None and not self.target.private:
            self.target = replace(self.target, private=True)
            say(f"{reason}, so {self.repo_id} is made private; its settings page can change that")
        elif self.remote.head is not None and not self.remote.private:
            warn(f"{reason}, and {self.repo_id} is public: check that its licence allows that")

    def publish(
        self, files: Mapping[str, Path], message: str, copy_from: CopySource | None = None
    ) -> PushResult:
        """Bring files into the repository in one commit.

        Args:
            files: Path in the repository to file on disk.
            message: Title of the commit.
            copy_from: Where large files may be copied from on the Hub.

        Raises:
            BiasEditError: The repository holds what this program did not write, or has moved.
        """
        with tempfile.TemporaryDirectory(prefix="hfbiasedit-") as folder:
            contents = self._contents(files, Path(folder))
            plan = self._plan(contents, message, copy_from)
            url = repository_url(plan.repo_id, plan.kind)
            if self.target.dry_run or not plan.changes:
                return PushResult(plan, url)
            if plan.create_pr and (known := find_pull_request(self.api, plan, self.user)):
                say("this pull request is open already")
                return PushResult(plan, url, known)
            plan, outcome = self._commit(plan)
        return self.settled(plan, outcome)

    def _commit(self, plan: Plan) -> tuple[Plan, Outcome]:
        """Create what is missing and commit; after a failure say what is on the Hub."""
        footprint = Footprint(self.api, plan, self.user)
        try:
            plan = self._prepare(plan, footprint)
            footprint.plan, footprint.sending = plan, True
            return plan, commit_plan(self.api, plan, self.user)
        except BaseException as error:
            footprint.account(error)
            raise

    def settled(self, plan: Plan, outcome: Outcome) -> PushResult:
        """The result of a commit after a look whether everything arrived.

        The commit stands, so a failure here is a warning.
        """
        url = repository_url(plan.repo_id, plan.kind)
        try:
            files = files_of(self.api, plan, outcome)
        except (OSError, httpx2.TransportError):
            warn("the commit is made, but the Hub did not let it be checked")
            return PushResult(plan, url, outcome)
        if missing := missing_files(plan, files):
            warn(f"not in the repository (does its .gitignore hide them?): {', '.join(missing)}")
        held = {path: files[path].size for path in sorted(files)}
        return PushResult(plan, url, outcome, held)

    def _contents(self, files: Mapping[str, Path], folder: Path) -> list[LocalFile]:
        contents = []
        with progress("hashing files", len(files)) as bar:
            for path, file in sorted(files.items()):
                refuse_token(path, file)
                contents.append(LocalFile.read(path, file))
                bar.advance()
        manifest = folder / "manifest.json"
        manifest.write_bytes(manifest_of(contents, self.target.what))
        return [*contents, LocalFile.read(MANIFEST, manifest)]

    def _plan(
        self, contents: Sequence[LocalFile], message: str, copy_from: CopySource | None
    ) -> Plan:
        target, remote = self.target, self.remote
        manifest = self._manifest()
        paths = {file.path for file in contents}
        stale = [path for path in manifest.files if path not in paths] if manifest else []
        if not (target.create_pr or target.overwrite):
            changing = [f.path for f in contents if not f.same_as(remote.files.get(f.path))]
            self._refuse_foreign(manifest, [*changing, *stale])
        return Plan(
            repo_id=self.repo_id,
            kind=target.kind,
            revision=target.revision,
            remote=remote,
            create_pr=target.create_pr,
            private=target.private,
            message=message,
            files=plan_files(contents, remote, copy_from=copy_from, stale=stale),
            copy_from=copy_from,
        )

    def _manifest(self) -> Manifest | None:
        if MANIFEST not in self.remote.files:
            return None
        return Manifest.parse(self._read(MANIFEST))

    def _refuse_foreign(self, manifest: Manifest | None, paths: Sequence[str]) -> None:
        """BiasEditError when the push would touch what this program did not write."""
        foreign = foreign_files(self.remote, manifest, paths)
        if foreign == ["README.md"] and not _card_body(self._read("README.md")):
            return  # the Hub's own page asks for a licence and writes only that
        if foreign:
            raise BiasEditError(
                f"{self.repo_id} holds files that hfbiasedit did not write or that have changed "
                f"since ({listed(foreign, 3)}); choose another repository, open a pull "
                "request with --create-pr, or replace them with --overwrite"
            )
        if manifest and manifest.what != self.target.what:
            raise BiasEditError(
                f"{self.repo_id} holds a {manifest.what} and this is a {self.target.what}; choose "
                "another repository, or replace it with --overwrite"
            )

    def _read(self, path: str) -> str:
        """The text of a small file of the repository."""
        file = with_retries(
            lambda: self.api.hf_hub_download(
                self.repo_id, path, repo_type=self.target.kind, revision=self.remote.head
            ),
            f"reading {path} of {self.repo_id}",
        )
        return Path(file).read_text(encoding="utf-8", errors="replace")

    def _prepare(self, plan: Plan, footprint: Footprint) -> Plan:
        """Create the repository and the branch; the plan then knows the commit to build on."""
        if plan.remote.head is None:
            footprint.create()
            self.remote = self.look()
            if plan.kind == constants.REPO_TYPE_SPACE and self._untouched():
                # The Hub begins a static Space with a page of its own.
                self.target = replace(self.target, overwrite=True)
            else:
                self._refuse_foreign(self._manifest(), [])
        if plan.revision and not self.remote.has_branch:
            branch = plan.revision
            with_retries(
                lambda: self.api.create_branch(
                    plan.repo_id, branch=branch, repo_type=plan.kind, exist_ok=True
                ),
                f"creating the branch {branch}",
            )
            self.remote = self.look()
        contents = [file.local for file in plan.files if file.local is not None]
        return self._plan(contents, plan.message, plan.copy_from)

    def _untouched(self) -> bool:
        """Whether nobody has committed to the new repository yet."""
        commits = with_retries(
            lambda: self.api.list_repo_commits(self.repo_id, repo_type=self.target.kind),
            f"looking at {self.repo_id}",
        )
        return len(commits) <= 1


def refuse_token(path: str, file: Path) -> None:
    """BiasEditError when a file to publish holds the token it would be published with."""
    token = get_token()
    small = file.stat().st_size <= _TEXT_SIZE
    if token and small and token.encode() in file.read_bytes():
        raise BiasEditError(f"{path} holds your Hub token; take it out before publishing")


def _card_body(card: str) -> str:
    """A card without its metadata."""
    return re.sub(r"\A\s*---\n.*?\n---\s*(\n|\Z)", "", card, flags=re.DOTALL).strip()
