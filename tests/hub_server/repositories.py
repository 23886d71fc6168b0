"""Repositories and their metadata: who am I, create, info, file lists, refs, history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.hub_server.downloads import file_row
from tests.hub_server.exchange import REPO, Request, Response, route
from tests.hub_server.repository import HubError, Repository
from tests.hub_server.yaml_check import front_matter

if TYPE_CHECKING:
    from tests.hub_server.server import HubServer


@route("GET", r"/api/whoami-v2")
def whoami(hub: HubServer, request: Request) -> Response:
    access = request.access
    if access.user is None:
        raise HubError(401, "Invalid username or password.")
    return Response.json(
        {
            "type": "user",
            "id": access.user.name,
            "name": access.user.name,
            "fullname": access.user.name.title(),
            "orgs": [
                {"type": "org", "name": name, "roleInOrg": role}
                for name, role in access.user.orgs.items()
            ],
            "auth": {
                "type": "access_token",
                "accessToken": {"displayName": "test", "role": access.role},
            },
        }
    )


@route("POST", r"/api/repos/create")
def create(hub: HubServer, request: Request) -> Response:
    payload = request.json()
    access = request.access
    access.require_login()
    assert access.user
    namespace = payload.get("organization") or access.user.name
    kind, repo_id = payload.get("type") or "model", f"{namespace}/{payload['name']}"
    if access.role == "read" or not access.writes(namespace):
        text = f'You don\'t have the rights to create a {kind} under the namespace "{namespace}"'
        raise HubError(403, text)
    url = f"{hub.url}/{'' if kind == 'model' else kind + 's/'}{repo_id}"
    if (kind, repo_id) in hub.repositories:
        body = {"error": f"You already created this {kind} repo: {repo_id}", "url": url}
        return Response.json(body, 409)
    private = payload.get("visibility") == "private" or bool(payload.get("private"))
    repository = hub.create_repo(repo_id, kind=kind, private=private)
    if kind == "space":
        if payload.get("sdk") not in ("static", "gradio", "docker"):
            raise HubError(400, '"sdk" must be one of [static, gradio, docker]')
        if payload["sdk"] == "static":
            repository.begin({"README.md": b"---\nsdk: static\n---\n", "index.html": b"Welcome"})
    return Response.json({"url": url, "name": repo_id, "id": repo_id})


@route("DELETE", r"/api/repos/delete")
def delete(hub: HubServer, request: Request) -> Response:
    payload = request.json()
    assert request.access.user
    namespace = payload.get("organization") or request.access.user.name
    repository = hub.find(
        request.access, payload.get("type") or "model", f"{namespace}/{payload['name']}"
    )
    request.access.require_write(repository)
    del hub.repositories[repository.kind, repository.repo_id]
    return Response.json({})


@route("PUT", rf"/api/{REPO}/settings")
def settings(hub: HubServer, request: Request, kind: str, repo: str) -> Response:
    repository = hub.find(request.access, kind, repo)
    request.access.require_write(repository)
    payload = request.json()
    if "visibility" in payload:
        repository.private = payload["visibility"] == "private"
    if "gated" in payload:
        repository.gated = bool(payload["gated"])
    return Response.json({})


@route("GET", rf"/api/{REPO}/auth-check(?P<write>/write)?")
def auth_check(hub: HubServer, request: Request, kind: str, repo: str, write: str = "") -> Response:
    repository = hub.find(request.access, kind, repo)
    request.access.require_content(repository)
    if write:
        request.access.require_write(repository)
    return Response.json({})


@route("GET", rf"/api/{REPO}/tree/(?P<revision>[^/]+)(?:/(?P<folder>.+))?")
def tree(
    hub: HubServer, request: Request, kind: str, repo: str, revision: str, folder: str = ""
) -> Response:
    repository = hub.find(request.access, kind, repo)
    files = repository.commit_at(revision).tree
    prefix = f"{folder}/" if folder else ""
    rows: dict[str, dict[str, object]] = {}
    for path, blob in sorted(files.items()):
        if not path.startswith(prefix):
            continue
        parts = path[len(prefix) :].split("/")
        for depth in range(1, len(parts)):
            name = prefix + "/".join(parts[:depth])
            rows.setdefault(name, {"type": "directory", "path": name, "oid": "0" * 40, "size": 0})
        rows[path] = file_row(blob, path, xet=repository.xet)
    if not request.flag("recursive"):
        rows = {path: row for path, row in rows.items() if "/" not in path[len(prefix) :]}
    if folder and not rows:
        raise HubError(404, f"{folder} does not exist", "EntryNotFound")
    start = int(request.query.get("cursor", ["0"])[0])
    page = list(rows.values())[start : start + hub.page_size]
    headers = {}
    if start + hub.page_size < len(rows):
        following = start + hub.page_size
        recursive = str(request.flag("recursive")).lower()
        headers["Link"] = (
            f'<{hub.url}{request.path}?recursive={recursive}&cursor={following}>; rel="next"'
        )
    return Response.json(page, **headers)


@route("POST", rf"/api/{REPO}/paths-info/(?P<revision>[^/]+)")
def paths_info(hub: HubServer, request: Request, kind: str, repo: str, revision: str) -> Response:
    repository = hub.find(request.access, kind, repo)
    files = repository.commit_at(revision).tree
    wanted = request.form().get("paths", [])
    return Response.json(
        [file_row(files[path], path, xet=repository.xet) for path in wanted if path in files]
    )


@route("GET", rf"/api/{REPO}/refs")
def refs(hub: HubServer, request: Request, kind: str, repo: str) -> Response:
    repository = hub.find(request.access, kind, repo)

    def group(prefix: str) -> list[dict[str, str]]:
        return [
            {"name": ref.removeprefix(prefix), "ref": ref, "targetCommit": oid}
            for ref, oid in repository.refs.items()
            if ref.startswith(prefix)
        ]

    answer = {"branches": group("refs/heads/"), "converts": [], "tags": group("refs/tags/")}
    if request.flag("include_prs"):
        answer["pullRequests"] = group("refs/pr/")
    return Response.json(answer)


@route("GET", rf"/api/{REPO}/commits/(?P<revision>[^/]+)")
def history(hub: HubServer, request: Request, kind: str, repo: str, revision: str) -> Response:
    repository = hub.find(request.access, kind, repo)
    return Response.json(
        [
            {
                "id": commit.oid,
                "title": commit.title,
                "message": commit.message,
                "authors": [{"user": commit.author}],
                "date": commit.date,
            }
            for commit in repository.history(revision)
        ]
    )


@route("POST", rf"/api/{REPO}/branch/(?P<branch>[^/]+)")
def create_branch(hub: HubServer, request: Request, kind: str, repo: str, branch: str) -> Response:
    repository = hub.find(request.access, kind, repo)
    request.access.require_write(repository)
    ref = f"refs/heads/{branch}"
    if ref in repository.refs:
        raise HubError(409, f"Reference already exists: {ref}")
    start = (request.json() or {}).get("startingPoint") or "main"
    repository.refs[ref] = repository.commit_at(start).oid
    return Response.json({})


@route("DELETE", rf"/api/{REPO}/branch/(?P<branch>[^/]+)")
def delete_branch(hub: HubServer, request: Request, kind: str, repo: str, branch: str) -> Response:
    repository = hub.find(request.access, kind, repo)
    request.access.require_write(repository)
    if repository.refs.pop(f"refs/heads/{branch}", None) is None:
        raise HubError(404, f"Invalid rev id: {branch}", "RevisionNotFound")
    return Response.json({})


@route("POST", rf"/api/{REPO}/tag/(?P<revision>[^/]+)")
def create_tag(hub: HubServer, request: Request, kind: str, repo: str, revision: str) -> Response:
    repository = hub.find(request.access, kind, repo)
    request.access.require_write(repository)
    ref = f"refs/tags/{request.json()['tag']}"
    if ref in repository.refs:
        raise HubError(409, f"Tag reference exists already: {ref}")
    repository.refs[ref] = repository.commit_at(revision).oid
    return Response.json({})


@route("GET", rf"/api/{REPO}(?:/revision/(?P<revision>[^/]+))?")
def info(
    hub: HubServer, request: Request, kind: str, repo: str, revision: str = "main"
) -> Response:
    repository = hub.find(request.access, kind, repo)
    return Response.json(_info(repository, revision, blobs=request.flag("blobs")))


def _info(repository: Repository, revision: str, *, blobs: bool) -> dict[str, Any]:
    commit = repository.commit_at(revision)
    siblings = []
    for path, blob in sorted(commit.tree.items()):
        sibling: dict[str, Any] = {"rfilename": path}
        if blobs:
            sibling |= {"blobId": blob.oid, "size": len(blob.data)}
            if blob.lfs:
                sibling["lfs"] = {
                    "sha256": blob.sha256,
                    "size": len(blob.data),
                    "pointerSize": len(blob.pointer),
                }
        siblings.append(sibling)
    card = commit.tree.get("README.md")
    data = front_matter(card.data.decode()) if card else None
    return {
        "_id": repository.repo_id,
        "id": repository.repo_id,
        "modelId": repository.repo_id,
        "author": repository.owner,
        "sha": commit.oid,
        "lastModified": commit.date,
        "createdAt": repository.history(revision)[-1].date,
        "private": repository.private,
        "gated": "manual" if repository.gated else False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": [],
        "siblings": siblings,
        # Behind a gate not even the licence is told.
        "cardData": data if isinstance(data, dict) and not repository.gated else None,
    }
