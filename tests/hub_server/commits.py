"""Commits: newline-delimited JSON of files, large files, copies and deletions."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from tests.hub_server.exchange import REPO, Request, Response, route
from tests.hub_server.repository import LFS_SIZE, Blob, HubError, Repository

if TYPE_CHECKING:
    from tests.hub_server.server import HubServer


@route("POST", rf"/api/{REPO}/commit/(?P<revision>[^/]+)")
def commit(hub: HubServer, request: Request, kind: str, repo: str, revision: str) -> Response:
    repository = hub.find(request.access, kind, repo)
    create_pr = request.flag("create_pr")
    request.access.require_write(repository, create_pr or revision.startswith("refs/pr/"))
    lines = [json.loads(line) for line in request.body.splitlines() if line.strip()]
    if not lines or lines[0]["key"] != "header":
        raise HubError(400, "The first line must be a header")
    header = lines[0]["value"]
    title, description = header["summary"], header.get("description", "")
    parent = header.get("parentCommit")
    ref = repository.ref_of(revision)
    if ref is None:
        raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    if parent and parent not in repository.commits:
        raise HubError(404, f"Invalid rev id: {parent}", "RevisionNotFound")
    if parent and not create_pr and repository.refs[ref] != parent:
        raise HubError(412, "A commit has happened since. Please refresh and try again.")
    start = repository.commits[parent or repository.refs[ref]]
    changes = _changes(repository, dict(start.tree), lines[1:])
    author = request.access.name or "nobody"
    pull_url = None
    if create_pr:
        pull = repository.open_discussion(title, author, revision, description)
        ref, pull_url = pull.ref, f"{hub.url}/{repo}/discussions/{pull.num}"
    added = repository.add_commit(
        ref, changes, title, message=description, author=author, parent=start.oid
    )
    return Response.json(
        {
            "success": True,
            "commitOid": added.oid,
            "commitUrl": f"{hub.url}/{repo}/commit/{added.oid}",
            "hookOutput": "",
            "pullRequestUrl": pull_url,
        }
    )


def _changes(
    repository: Repository, tree: dict[str, Blob], operations: list[dict[str, Any]]
) -> dict[str, Blob | None]:
    """Path to new content (None: deleted) for the operations of a commit."""
    changes: dict[str, Blob | None] = {}
    for operation in operations:
        key, value = operation["key"], operation["value"]
        path = value["path"]
        if key == "file":
            data = base64.b64decode(value["content"])
            if len(data) >= LFS_SIZE:
                raise HubError(400, f"File {path} is too large: use LFS")
            changes[path] = Blob(data)
        elif key == "lfsFile":
            if value["oid"] not in repository.objects:
                text = f"LFS pointer pointed to a file that does not exist: {path}"
                raise HubError(400, text)
            changes[path] = Blob(repository.objects[value["oid"]], lfs=True)
        elif key == "copyFile":
            source = repository.commit_at(value.get("srcRevision") or "main").tree
            changes[path] = _existing(source, value["srcPath"])
        elif key == "deletedFile":
            _existing(tree, path)
            changes[path] = None
        elif key == "deletedFolder":
            prefix = path.rstrip("/") + "/"
            changes |= {name: None for name in tree if name.startswith(prefix)}
        else:
            raise HubError(400, f"Unknown operation: {key}")
    return changes


def _existing(tree: dict[str, Blob], path: str) -> Blob:
    if path not in tree:
        raise HubError(404, f'A file with this name doesn\'t exist: "{path}"', "EntryNotFound")
    return tree[path]
