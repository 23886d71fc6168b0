"""The local Hub: an HTTP server that the real `huggingface_hub` client talks to.

Two ports: the Hub itself, and a "CDN" of another origin that large files are redirected
to, so that a token that leaks to other hosts is seen.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.hub_server import commits, discussions, downloads, repositories, uploads, yaml_check
from tests.hub_server.accounts import Access, Accounts
from tests.hub_server.exchange import Record, Request, Response, dispatch
from tests.hub_server.faults import Fault, Faults
from tests.hub_server.repository import HubError, Repository

_ROUTE_MODULES = (commits, discussions, downloads, repositories, uploads, yaml_check)
PIECE = 16 * 1024

ALICE_TOKEN = "hf_alicewritesAAAAAAAAAAAAAAAAAAAAAAAA"
ALICE_READ_TOKEN = "hf_alicereadsAAAAAAAAAAAAAAAAAAAAAAAAA"
BOB_TOKEN = "hf_bobwritesBBBBBBBBBBBBBBBBBBBBBBBBBB"


class HubServer:
    """A Hub on this machine. Use as a context manager.

    Users `alice` (a token that writes, one that reads) and `bob` exist; `alice` and `bob`
    are in the organisation `acme`, bob as a reader.
    """

    def __init__(self) -> None:
        self.accounts = Accounts()
        self.faults = Faults()
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.moved: dict[str, str] = {}  # old repository id -> new one
        self.records: list[Record] = []
        self.leaks: list[str] = []  # paths of the CDN that saw an Authorization header
        self.page_size = 50  # rows of a file list per answer
        self.duplication = True  # False: the Hub refuses to copy large files between repositories
        self.lock = threading.RLock()
        self.accounts.add_user("alice", token=ALICE_TOKEN, orgs={"acme": "admin"})
        self.accounts.add_user("alice", token=ALICE_READ_TOKEN, role="read")
        self.accounts.add_user("bob", token=BOB_TOKEN, orgs={"acme": "read"})
        self._servers = [_Server(self, "hub"), _Server(self, "cdn")]
        self.url, self.cdn_url = (f"http://127.0.0.1:{s.server_address[1]}" for s in self._servers)

    def __enter__(self) -> HubServer:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def stop(self) -> None:
        """Go away: from now on, connections are refused."""
        self.__exit__()

    def create_repo(
        self,
        repo_id: str,
        files: Mapping[str, bytes] | None = None,
        *,
        kind: str = "model",
        private: bool = False,
        gated: bool = False,
        xet: bool = True,
    ) -> Repository:
        """Make a repository, with a second commit that adds `files`."""
        repository = Repository(repo_id, kind, private, gated, xet)
        if files:
            repository.write(files, "add files")
        self.repositories[kind, repo_id] = repository
        return repository

    def repo(self, repo_id: str, kind: str = "model") -> Repository:
        """A repository, whoever may see it."""
        return self.repositories[kind, repo_id]

    def find(self, access: Access, kind: str, repo_id: str) -> Repository:
        """A repository as the client names it (`models` or `model`), if this user sees it."""
        repository = self.repositories.get((kind.removesuffix("s"), repo_id))
        return access.require_sight(repository, repo_id)

    def fault(self, path: str, **effect: Any) -> Fault:
        """Order a fault; see `Fault`."""
        return self.faults.add(Fault(path, **effect))

    def environment(self, home: str, token: str | None = ALICE_TOKEN) -> dict[str, str]:
        """Variables for a subprocess that is to use this Hub, with a cache under `home`."""
        variables = {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_OFFLINE": "0",
            "OMP_NUM_THREADS": "1",
        }
        return variables | ({"HF_TOKEN": token} if token else {})

    def count(self, method: str, fragment: str) -> int:
        """How many requests of a method had `fragment` in their path."""
        return sum(r.method == method and fragment in r.path for r in self.records)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub: HubServer, role: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub, self.role = hub, role
        self.resets: set[socket.socket] = set()

    def shutdown_request(self, request: Any) -> None:
        if request in self.resets:  # an orderly shutdown would be no reset
            self.resets.discard(request)
            request.close()
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are part of the tests; real mistakes of the server are not."""
        import sys

        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def handle_one_request(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle_one_request()
            return
        self.close_connection = True

    def do_any(self) -> None:
        hub, role = self.server.hub, self.server.role
        body = self._read_body()
        fault = hub.faults.take(self.command, self.path)
        if fault:
            if fault.before:
                fault.before()
            if fault.drop:
                self._record(0, None, 0, len(body))
                self._hang_up(fault.reset)
                return
        request = self._request(body)
        if fault and fault.status:
            response = Response(fault.status, fault.payload(), dict(fault.headers))
        else:
            response = self._answer(request)
        if role == "cdn" and "Authorization" in self.headers:
            hub.leaks.append(self.path)
        if fault and fault.lose_answer:
            self._record(response.status, request.access.name, 0, len(body))
            self._hang_up(fault.reset)
            return
        self._send(response, fault, request, len(body))

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_any

    def _request(self, body: bytes) -> Request:
        parts = urlsplit(self.path)
        prefix = "/-cdn-" if self.server.role == "cdn" else ""
        return Request(self.command, prefix + parts.path, parse_qs(parts.query), self.headers, body)

    def _answer(self, request: Request) -> Response:
        hub = self.server.hub
        try:
            if self.server.role == "hub":
                request.access = hub.accounts.access(self.headers.get("Authorization"))
            if moved := self._redirect(request.path):
                return Response(307, headers={"Location": moved})
            with hub.lock:
                return dispatch(hub, request)
        except HubError as error:
            return Response.error(error)

    def _redirect(self, path: str) -> str | None:
        for old, new in self.server.hub.moved.items():
            if f"/{old}/" in f"{path}/":
                return self.path.replace(f"/{old}", f"/{new}", 1)
        return None

    def _read_body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            pieces = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _send(
        self, response: Response, fault: Fault | None, request: Request, received: int
    ) -> None:
        body = bytearray(response.body)
        if fault and fault.flip is not None and fault.flip < len(body):
            body[fault.flip] ^= 1
        payload = b"" if self.command == "HEAD" else bytes(body)
        cut = fault is not None and fault.cut is not None
        if cut:
            payload = payload[: fault.cut]
        # Before anything is sent: an answer without a body is complete with its headers.
        self._record(response.status, request.access.name, len(payload), received)
        self.send_response(response.status)
        headers = {"Content-Length": str(len(body)), **response.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        for start in range(0, len(payload), PIECE):
            self.wfile.write(payload[start : start + PIECE])
            if fault and fault.pace:
                self.wfile.flush()
                time.sleep(fault.pace)
        self.wfile.flush()
        if cut:
            if fault.reset:
                time.sleep(0.2)  # a reset overtakes bytes that were not read yet
            self._hang_up(fault.reset)

    def _hang_up(self, reset: bool) -> None:
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.server.resets.add(self.connection)
        self.close_connection = True

    def _record(self, status: int, user: str | None, sent: int, received: int) -> None:
        self.server.hub.records.append(
            Record(
                self.server.role,
                self.command,
                self.path,
                status,
                user,
                self.headers.get("Range"),
                sent,
                received,
            )
        )
