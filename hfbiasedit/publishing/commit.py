"""Carrying out a plan as one commit, also when answers get lost on the way.

A commit whose answer is lost exists all the same; sent again it would be made twice. So
after every failure the repository is looked at before anything is tried again.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    HfApi,
    constants,
    errors,
)

from hfbiasedit.console import transfer, warn
from hfbiasedit.errors import BiasEditError
from hfbiasedit.hub.failures import chain, status_of
from hfbiasedit.hub.remote import RemoteFile, files_at
from hfbiasedit.hub.retries import with_retries
from hfbiasedit.publishing.plan import Plan, PlannedFile

_CONFLICTS = (409, 412)


@dataclass(frozen=True)
class Outcome:
    """Where the files are now."""

    commit: str
    url: str
    pr_url: str | None = None


def commit_plan(api: HfApi, plan: Plan, author: str) -> Outcome:
    """Make the commit of a plan, or find that it has been made.

    Args:
        api: The client.
        plan: What to do; its repository and branch exist.
        author: Name of the user whose token is used; pull requests are looked for by it.

    Raises:
        BiasEditError: The branch has moved since the plan was made.
        Exception: Whatever failed for good; see `hub.failures.explain`.
    """

    def after(error: Exception) -> Outcome | None:
        if plan.copy_from and _is_copy_failure(error):
            warn("the Hub does not copy the unchanged weights; they are uploaded instead")
            return commit_plan(api, plan.without_copies(), author)
        if (done := _find_commit(api, plan, author, error)) is not None:
            return done
        if status_of(error) in _CONFLICTS:
            raise BiasEditError(
                f"{plan.repo_id} has changed while this was under way; run again, "
                "or add --create-pr"
            ) from error
        return None

    return with_retries(lambda: _send(api, plan), "there is no commit yet; committing", after=after)


def find_pull_request(api: HfApi, plan: Plan, author: str) -> Outcome | None:
    """An open pull request of the author that holds exactly what the plan would bring."""

    def look() -> Outcome | None:
        for item in api.get_repo_discussions(
            plan.repo_id,
            author=author,
            discussion_type="pull_request",
            discussion_status="open",
            repo_type=plan.kind,
        ):
            if item.title != plan.message:
                continue
            ref = f"refs/pr/{item.num}"
            files = files_at(api, plan.repo_id, plan.kind, ref)
            if _holds(files, plan.files):
                info = api.repo_info(plan.repo_id, repo_type=plan.kind, revision=ref)
                commit = info.sha or ref
                return Outcome(commit, _commit_url(plan, commit), item.url)
        return None

    return with_retries(look, f"looking for pull requests of {plan.repo_id}")


def files_of(api: HfApi, plan: Plan, outcome: Outcome) -> dict[str, RemoteFile]:
    """What lies in the repository at the commit, by path, as the Hub says."""
    return with_retries(
        lambda: files_at(api, plan.repo_id, plan.kind, outcome.commit), f"checking {plan.repo_id}"
    )


def missing_files(plan: Plan, files: dict[str, RemoteFile]) -> list[str]:
    """Paths that the commit should hold and does not (a .gitignore there can hide them)."""
    return [
        f.path for f in plan.files if f.local is not None and not f.local.same_as(files.get(f.path))
    ]


def _send(api: HfApi, plan: Plan) -> Outcome:
    size = sum(file.size for file in plan.changes if file.action == "upload")
    with (
        warnings.catch_warnings(record=True) as caught,
        transfer(f"sending {size / 1e6:,.1f} MB to {plan.repo_id}"),
    ):
        warnings.simplefilter("always", UserWarning)
        info = api.create_commit(
            plan.repo_id,
            operations=list(_operations(plan)),  # the client writes into them: new ones each time
            commit_message=plan.message,
            repo_type=plan.kind,
            revision=plan.revision,
            create_pr=plan.create_pr,
            parent_commit=plan.remote.head,
        )
    for item in caught:
        if "metadata" in str(item.message):
            warn(" ".join(str(item.message).split()))
    return Outcome(info.oid, str(info.commit_url), info.pr_url)


def _operations(
    plan: Plan,
) -> Iterator[CommitOperationAdd | CommitOperationCopy | CommitOperationDelete]:
    for file in plan.changes:
        if file.action == "delete":
            yield CommitOperationDelete(file.path, is_folder=False)
        elif file.action == "copy":
            assert plan.copy_from is not None
            assert file.source is not None
            yield CommitOperationCopy(
                src_path_in_repo=file.source,
                path_in_repo=file.path,
                src_revision=plan.copy_from.commit,
                src_repo_id=plan.copy_from.repo_id,
                src_repo_type=constants.REPO_TYPE_MODEL,
            )
        else:
            assert file.local is not None
            addition = CommitOperationAdd(file.path, file.local.file)
            addition.upload_info.sha256 = bytes.fromhex(file.local.sha256)  # known already
            yield addition


def _is_copy_failure(error: BaseException) -> bool:
    """Whether the Hub refused to copy files between repositories, for good."""
    for link in chain(error):
        if isinstance(link, errors.FileDuplicationError):
            return True
        if isinstance(link, ValueError) and "Cannot duplicate" in str(link):
            return True
        if isinstance(link, errors.HfHubHTTPError):
            status = link.response.status_code
            copying = link.response.url.path.endswith("/lfs-files/duplicate")
            return copying and status < 500 and status not in (401, 408, 429)
        if isinstance(link, errors.EntryNotFoundError) and "Cannot copy" in str(link):
            return True
    return False


def _find_commit(api: HfApi, plan: Plan, author: str, error: Exception) -> Outcome | None:
    """The commit (or pull request) that was made although its answer did not arrive."""
    status = status_of(error)
    if status is not None and status < 500 and status not in (408, *_CONFLICTS):
        return None
    try:
        if plan.create_pr:
            return find_pull_request(api, plan, author)
        return with_retries(lambda: _on_branch(api, plan), f"looking at {plan.repo_id}")
    except Exception:  # the first failure says more than the second
        raise error from None


def commit_made(api: HfApi, plan: Plan, author: str) -> Outcome | None:
    """The commit (or pull request) of a plan, where it is on the Hub already."""
    return find_pull_request(api, plan, author) if plan.create_pr else _on_branch(api, plan)


def _on_branch(api: HfApi, plan: Plan) -> Outcome | None:
    """A commit after the plan's parent that leaves the files as planned; others may follow it."""
    for item in api.list_repo_commits(plan.repo_id, repo_type=plan.kind, revision=plan.revision):
        if item.commit_id == plan.remote.head:
            return None
        if item.title == plan.message and _holds(
            files_at(api, plan.repo_id, plan.kind, item.commit_id), plan.files
        ):
            return Outcome(item.commit_id, _commit_url(plan, item.commit_id))
    return None


def _holds(files: dict[str, RemoteFile], planned: tuple[PlannedFile, ...]) -> bool:
    return all(
        file.path not in files if file.local is None else file.local.same_as(files.get(file.path))
        for file in planned
    )


def _commit_url(plan: Plan, commit: str) -> str:
    return f"{repository_url(plan.repo_id, plan.kind)}/commit/{commit}"


def repository_url(repo_id: str, kind: str) -> str:
    """The page of a repository."""
    prefix = "" if kind == constants.REPO_TYPE_MODEL else f"{kind}s/"
    return f"{constants.ENDPOINT}/{prefix}{repo_id}"
