"""Before a commit: which files are large, where to put them, and copies between repositories."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from tests.hub_server.exchange import REPO, Request, Response, route
from tests.hub_server.repository import HubError

if TYPE_CHECKING:
    from tests.hub_server.server import HubServer


@route("POST", rf"/api/{REPO}/preupload/(?P<revision>[^/]+)")
def preupload(hub: HubServer, request: Request, kind: str, repo: str, revision: str) -> Response:
    repository = hub.find(request.access, kind, repo)
    request.access.require_write(repository, request.flag("create_pr"))
    tree = repository.commit_at(revision).tree
    answers = []
    for file in request.json()["files"]:
        path, size = file["path"], file["size"]
        known = tree.get(path)
        large = repository.is_large(path, size)
        answer = {
            "path": path,
            "uploadMode": "lfs" if large else "regular",
            "shouldIgnore": path in repository.ignored,
        }
        if known:
            answer["oid"] = known.etag
        answers.append(answer)
    return Response.json({"files": answers, "commitOid": repository.commit_at(revision).oid})


@route(
    "POST",
    r"/(?:(?P<kind>datasets|spaces)/)?(?P<repo>[^/]+(?:/[^/]+)?)\.git/info/lfs/objects/batch",
)
def batch(hub: HubServer, request: Request, repo: str, kind: str = "models") -> Response:
    repository = hub.find(request.access, kind, repo)
    payload = request.json()
    # A pull request names no branch, as its author need not be allowed to write to one.
    request.access.require_write(repository, create_pr="ref" not in payload)
    objects = []
    for wanted in payload["objects"]:
        answer: dict[str, object] = {
            "oid": wanted["oid"],
            "size": wanted["size"],
            "authenticated": True,
        }
        if wanted["oid"] not in repository.objects:
            place = f"{repository.kind}s/{repo}/{wanted['oid']}"
            answer["actions"] = {
                "upload": {"href": f"{hub.cdn_url}/{place}?signature=ok"},
                "verify": {"href": f"{hub.url}/{place}/verify"},
            }
        objects.append(answer)
    return Response.json({"transfer": "basic", "objects": objects})


@route("PUT", r"/-cdn-/(?P<kind>models|datasets|spaces)/(?P<repo>.+)/(?P<sha256>[0-9a-f]{64})")
def put_object(hub: HubServer, request: Request, kind: str, repo: str, sha256: str) -> Response:
    repository = hub.repositories.get((kind.removesuffix("s"), repo))
    if repository is None or "signature" not in request.query:
        raise HubError(403, "AccessDenied")
    if hashlib.sha256(request.body).hexdigest() != sha256:
        raise HubError(400, "BadDigest: the content does not have the announced SHA-256")
    repository.objects[sha256] = request.body
    return Response(200, b"", {"ETag": f'"{sha256}"'})


@route("POST", r"/(?P<kind>models|datasets|spaces)/(?P<repo>.+)/(?P<sha256>[0-9a-f]{64})/verify")
def verify(hub: HubServer, request: Request, kind: str, repo: str, sha256: str) -> Response:
    repository = hub.find(request.access, kind, repo)
    stored = repository.objects.get(sha256)
    if stored is None or len(stored) != request.json()["size"]:
        raise HubError(404, "Object does not exist")
    return Response.json({})


@route("POST", rf"/api/{REPO}/lfs-files/duplicate")
def duplicate(hub: HubServer, request: Request, kind: str, repo: str) -> Response:
    """Make large files of this repository known to another one, without any transfer."""
    source = hub.find(request.access, kind, repo)
    request.access.require_content(source)
    payload = request.json()
    target = hub.find(request.access, payload["target"]["type"], payload["target"]["name"])
    request.access.require_write(target, create_pr=True)
    if not hub.duplication:
        raise HubError(400, "Cannot duplicate files between storage regions")
    hashes = {
        blob.sha256: blob.xet_hash
        for commit in source.commits.values()
        for blob in commit.tree.values()
        if blob.lfs
    }
    failed = []
    for file in payload["files"]:
        if hashes.get(file["sha256"]) != file["xetHash"]:
            failed.append({"sha256": file["sha256"], "error": "xet hash does not match"})
            continue
        target.objects[file["sha256"]] = source.objects[file["sha256"]]
    return Response.json({"failed": failed})
