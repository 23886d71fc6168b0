"""Adding single files to a repository that others write too: nothing else in it is touched.

Where the user may not write, a pull request is opened instead.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from huggingface_hub import errors

from hfbiasedit.console import message as say
from hfbiasedit.errors import BiasEditError
from hfbiasedit.hub.failures import status_of
from hfbiasedit.hub.retries import with_retries
from hfbiasedit.publishing.commit import commit_plan, find_pull_request, repository_url
from hfbiasedit.publishing.plan import LocalFile, Plan, plan_files
from hfbiasedit.publishing.publication import Publisher, refuse_token
from hfbiasedit.publishing.result import PushResult, Target


def adder(
    repo_id: str, kind: str = "model", *, create_pr: bool = False, dry_run: bool = False
) -> Publisher:
    """A publisher for a repository that exists, asked before any work is done.

    Args:
        repo_id: `owner/name`. kind: `model` or `dataset`.
        create_pr: open a pull request even where the user may write. dry_run: plan only.

    Raises:
        BiasEditError: not logged in to write, or there is no such repository.
    """
    publisher = Publisher(Target(repo_id, kind=kind, create_pr=create_pr, dry_run=dry_run))
    if publisher.remote.head is None:
        what = "" if kind == "model" else f" --repo-type {kind}"
        raise BiasEditError(
            f"{publisher.repo_id} does not exist, or you may not see it; check the name, or make "
            f"it with: hf repos create {publisher.repo_id}{what}"
        )
    if not create_pr and publisher.user and not _may_write(publisher):
        say(f"you may not write to {publisher.repo_id}; this becomes a pull request")
        publisher.target = replace(publisher.target, create_pr=True)
    return publisher


def _may_write(publisher: Publisher) -> bool:
    def ask() -> bool:
        try:
            publisher.api.auth_check(publisher.repo_id, repo_type=publisher.target.kind, write=True)
        except errors.HfHubHTTPError as error:
            if status_of(error) == 403 and not isinstance(error, errors.GatedRepoError):
                return False
            raise
        return True

    return with_retries(ask, f"asking for the right to write to {publisher.repo_id}")


def add_files(publisher: Publisher, files: Mapping[str, bytes], message: str) -> PushResult:
    """Put files into the repository in one commit or pull request; the same again makes none.

    Args:
        publisher: made by `adder`. files: path in the repository to content.
        message: title of the commit.

    Raises:
        BiasEditError: the repository has moved since `adder` looked, or a file holds the token.
    """
    target, remote = publisher.target, publisher.remote
    with tempfile.TemporaryDirectory(prefix="hfbiasedit-") as name:
        contents = []
        for number, (path, content) in enumerate(sorted(files.items())):
            file = Path(name, str(number))
            file.write_bytes(content)
            refuse_token(path, file)
            contents.append(LocalFile.read(path, file))
        plan = Plan(
            repo_id=publisher.repo_id,
            kind=target.kind,
            revision=target.revision,
            remote=remote,
            create_pr=target.create_pr,
            private=False,
            message=message,
            files=plan_files(contents, remote),
        )
        url = repository_url(plan.repo_id, plan.kind)
        if target.dry_run or not plan.changes:
            return PushResult(plan, url)
        if plan.create_pr and (known := find_pull_request(publisher.api, plan, publisher.user)):
            say("this pull request is open already")
            return PushResult(plan, url, known)
        return publisher.settled(plan, commit_plan(publisher.api, plan, publisher.user))


def read_file(publisher: Publisher, path: str) -> bytes | None:
    """A file of the repository as it was looked at; None where there is none."""
    if path not in publisher.remote.files:
        return None
    found = with_retries(
        lambda: publisher.api.hf_hub_download(
            publisher.repo_id,
            path,
            repo_type=publisher.target.kind,
            revision=publisher.remote.head,
        ),
        f"reading {path} of {publisher.repo_id}",
    )
    return Path(found).read_bytes()
