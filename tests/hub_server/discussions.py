"""Discussions and pull requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.hub_server.exchange import REPO, Request, Response, route
from tests.hub_server.repository import HubError, PullRequest, Repository

if TYPE_CHECKING:
    from tests.hub_server.server import HubServer


def _row(repository: Repository, request: PullRequest) -> dict[str, Any]:
    return {
        "title": request.title,
        "num": request.num,
        "author": {"name": request.author},
        "createdAt": request.date,
        "status": request.status,
        "repo": {"name": repository.repo_id, "type": repository.kind},
        "isPullRequest": request.is_pull_request,
    }


@route("GET", rf"/api/{REPO}/discussions")
def listing(hub: HubServer, request: Request, kind: str, repo: str) -> Response:
    repository = hub.find(request.access, kind, repo)
    found = [_row(repository, item) for item in reversed(repository.discussions)]
    wanted = {name: values[0] for name, values in request.query.items()}
    if wanted.get("type") == "pull_request":
        found = [row for row in found if row["isPullRequest"]]
    if wanted.get("status") in ("open", "closed"):
        found = [
            row
            for row in found
            if (row["status"] in ("open", "draft")) == (wanted["status"] == "open")
        ]
    if "author" in wanted:
        found = [row for row in found if row["author"]["name"] == wanted["author"]]
    start = 10 * int(wanted.get("p", 0))
    page = found[start : start + 10]
    return Response.json({"discussions": page, "count": len(found), "start": start})


@route("POST", rf"/api/{REPO}/discussions")
def create(hub: HubServer, request: Request, kind: str, repo: str) -> Response:
    repository = hub.find(request.access, kind, repo)
    request.access.require_write_token()
    payload = request.json()
    assert request.access.name
    item = repository.open_discussion(
        payload["title"],
        request.access.name,
        description=payload.get("description", ""),
        pull=bool(payload.get("pullRequest")),
    )
    if item.is_pull_request:
        item.status = "draft"
    return Response.json({"num": item.num, "url": f"{hub.url}/{repo}/discussions/{item.num}"})


@route("GET", rf"/api/{REPO}/discussions/(?P<num>\d+)")
def details(hub: HubServer, request: Request, kind: str, repo: str, num: str) -> Response:
    repository = hub.find(request.access, kind, repo)
    item = _item(repository, num)
    first = {
        "id": f"{num}-0",
        "type": "comment",
        "createdAt": item.date,
        "author": {"name": item.author},
        "data": {"edited": False, "hidden": False, "latest": {"raw": item.description}},
    }
    answer = {**_row(repository, item), "events": [first], "filesWithConflicts": [], "diff": ""}
    if item.is_pull_request:
        answer["changes"] = {"base": item.base, "mergeCommitId": item.merge_commit}
    return Response.json(answer)


@route("POST", rf"/api/{REPO}/discussions/(?P<num>\d+)/merge")
def merge(hub: HubServer, request: Request, kind: str, repo: str, num: str) -> Response:
    repository = hub.find(request.access, kind, repo)
    request.access.require_write(repository)
    item = _item(repository, num)
    if not item.is_pull_request or item.status in ("merged", "closed"):
        raise HubError(400, "This pull request cannot be merged")
    repository.merge(item.num, request.access.name or "nobody")
    return Response.json({"success": True})


@route("POST", rf"/api/{REPO}/discussions/(?P<num>\d+)/status")
def status(hub: HubServer, request: Request, kind: str, repo: str, num: str) -> Response:
    repository = hub.find(request.access, kind, repo)
    request.access.require_write_token()
    item = _item(repository, num)
    item.status = request.json()["status"]
    event = {
        "id": f"{num}-status",
        "type": "status-change",
        "createdAt": item.date,
        "author": {"name": request.access.name},
        "data": {"status": item.status},
    }
    return Response.json({"newStatus": event})


def _item(repository: Repository, num: str) -> PullRequest:
    if not 1 <= int(num) <= len(repository.discussions):
        raise HubError(404, "Discussion not found", "EntryNotFound")
    return repository.discussions[int(num) - 1]
