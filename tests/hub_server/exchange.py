"""One request and its answer, as the routes see them, and the table that joins both."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from tests.hub_server.accounts import Access
from tests.hub_server.repository import HubError

if TYPE_CHECKING:
    from tests.hub_server.server import HubServer


@dataclass
class Request:
    """What arrived. `path` is still quoted, `query` is not."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes
    access: Access = field(default_factory=Access)

    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            raise HubError(400, "Invalid JSON body") from None

    def form(self) -> dict[str, list[str]]:
        return parse_qs(self.body.decode())

    def flag(self, name: str) -> bool:
        """Whether a query parameter is switched on."""
        return self.query.get(name, ["0"])[0].lower() in ("1", "true")


@dataclass
class Response:
    """What goes back; a HEAD request gets the headers only."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, value: Any, status: int = 200, **headers: str) -> Response:
        return cls(
            status, json.dumps(value).encode(), {"Content-Type": "application/json", **headers}
        )

    @classmethod
    def error(cls, error: HubError) -> Response:
        """An error as the Hub words it: JSON body, and headers that the client reads."""
        headers = {"X-Error-Message": error.message.replace("\n", " ")}
        if error.code:
            headers["X-Error-Code"] = error.code
        return cls.json({"error": error.message}, error.status, **headers)

    @property
    def reason(self) -> str:
        return HTTPStatus(self.status).phrase


@dataclass(frozen=True)
class Record:
    """One line of the server's log. `user` is who the token belongs to; `host` is hub or cdn."""

    host: str
    method: str
    path: str
    status: int
    user: str | None
    range: str | None
    sent: int
    received: int


Route = Callable[..., Response]
_ROUTES: list[tuple[str, re.Pattern[str], Route]] = []

# A repository id is `name` or `namespace/name`; what follows it decides which.
REPO = r"(?P<kind>models|datasets|spaces)/(?P<repo>[^/]+(?:/[^/]+)?)"


def route(method: str, pattern: str) -> Callable[[Route], Route]:
    """Register a function(hub, request, **groups) for a method and a path."""

    def register(function: Route) -> Route:
        _ROUTES.append((method, re.compile(pattern), function))
        return function

    return register


def dispatch(hub: HubServer, request: Request) -> Response:
    """Answer a request; every HubError becomes an answer."""
    method = "GET" if request.method == "HEAD" else request.method
    try:
        for wanted, pattern, function in _ROUTES:
            match = pattern.fullmatch(request.path) if wanted == method else None
            if match:
                groups = {
                    name: unquote(value) for name, value in match.groupdict().items() if value
                }
                return function(hub, request, **groups)
        raise HubError(404, f"Sorry, we can't find the page you are looking for: {request.path}")
    except HubError as error:
        return Response.error(error)
