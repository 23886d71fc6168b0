"""Reading files: `resolve` on the Hub, and the objects that large files are redirected to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.hub_server.exchange import Request, Response, route
from tests.hub_server.repository import Blob, HubError

if TYPE_CHECKING:
    from tests.hub_server.server import HubServer


@route(
    "GET",
    r"/(?:(?P<kind>datasets|spaces)/)?(?P<repo>[^/]+(?:/[^/]+)?)/resolve/(?P<revision>[^/]+)/(?P<path>.+)",
)
def resolve(
    hub: HubServer, request: Request, repo: str, revision: str, path: str, kind: str = "models"
) -> Response:
    repository = hub.find(request.access, kind, repo)
    request.access.require_content(repository)
    commit = repository.commit_at(revision)
    blob = commit.tree.get(path)
    common = {"X-Repo-Commit": commit.oid, "Accept-Ranges": "bytes"}
    if blob is None:
        missing = Response.error(HubError(404, "Entry not found", "EntryNotFound"))
        missing.headers |= common
        return missing
    if not blob.lfs:
        return ranged(request, blob.data, {**common, "ETag": f'"{blob.oid}"'})
    headers = {
        **common,
        "X-Linked-Size": str(len(blob.data)),
        "X-Linked-Etag": f'"{blob.sha256}"',
        "Location": f"{hub.cdn_url}/{repository.kind}s/{repo}/{blob.sha256}?signature=ok",
    }
    if repository.xet:
        headers["X-Xet-Hash"] = blob.xet_hash
        headers["X-Xet-Refresh-Route"] = (
            f"{hub.url}/api/{repository.kind}s/{repo}/xet-read-token/{commit.oid}"
        )
    return Response(302, b"Found", headers)


@route("GET", r"/-cdn-/(?P<kind>models|datasets|spaces)/(?P<repo>.+)/(?P<sha256>[0-9a-f]{64})")
def stored_object(hub: HubServer, request: Request, kind: str, repo: str, sha256: str) -> Response:
    repository = hub.repositories.get((kind.removesuffix("s"), repo))
    if repository is None or sha256 not in repository.objects or "signature" not in request.query:
        raise HubError(403, "AccessDenied")
    return ranged(
        request, repository.objects[sha256], {"ETag": f'"{sha256}"', "Accept-Ranges": "bytes"}
    )


def ranged(request: Request, data: bytes, headers: dict[str, str]) -> Response:
    """The bytes asked for by a Range header, or all."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("Range") or "")
    if not match or not any(match.groups()):
        return Response(200, data, headers)
    first, last = match.groups()
    start = int(first) if first else max(0, len(data) - int(last))
    stop = min(int(last) + 1, len(data)) if first and last else len(data)
    if start >= stop:
        return Response(416, b"", {**headers, "Content-Range": f"bytes */{len(data)}"})
    span = f"bytes {start}-{stop - 1}/{len(data)}"
    return Response(206, data[start:stop], {**headers, "Content-Range": span})


def file_row(blob: Blob, path: str, *, xet: bool) -> dict[str, object]:
    """A file as the file list and paths-info give it."""
    row: dict[str, object] = {"type": "file", "path": path, "oid": blob.oid, "size": len(blob.data)}
    if blob.lfs:
        row["lfs"] = {"oid": blob.sha256, "size": len(blob.data), "pointerSize": len(blob.pointer)}
        if xet:
            row["xetHash"] = blob.xet_hash
    return row
