"""The client of the Hub: one `HfApi`, and calls with time-outs and resumable downloads.

`huggingface_hub` resumes a download when the server ends a connection too early, but not
when it resets it, its API calls wait for ever, and it repeats others without a word. `patience`
settles this for the calls inside it, on the session that the library shares (so a proxy or a
factory of the user's stays in use), and leaves that session as it was.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx2
from huggingface_hub import HfApi, get_session

from hfbiasedit.console import message
from hfbiasedit.errors import BiasEditError
from hfbiasedit.versions import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable

CONNECT_TIMEOUT = 10.0  # seconds
READ_TIMEOUT = 10.0  # seconds; what is asked for is there
WRITE_TIMEOUT = 120.0  # seconds; a commit of thousands of files takes the Hub a while
TROUBLE = 60.0  # seconds of trouble with a request after which nothing is repeated any more
PASSING = (408, 429, 500, 502, 503, 504)  # statuses that pass by themselves


class Watch:
    """Says when the library asks again, and ends it when the trouble does not pass."""

    def __init__(self) -> None:
        self._open: dict[str, int] = {}  # requests without an answer: how often they were asked
        self._since: dict[str, float] = {}  # and since when there is trouble with them

    def asked(self, request: httpx2.Request) -> None:
        """A request goes out.

        Raises:
            BiasEditError: it has been going out in vain for too long.
        """
        name = f"{request.method} {request.url}"
        times = self._open[name] = self._open.get(name, 0) + 1
        if times == 1:
            return
        since = self._since.setdefault(name, time.monotonic())
        if time.monotonic() - since > TROUBLE:
            raise BiasEditError(
                f"{request.url.host} has not answered for {TROUBLE:.0f} s; run again later"
            )
        message(f"no answer from {request.url.host}; asking again ({times})")

    def answered(self, response: httpx2.Response) -> None:
        """An answer comes in.

        Raises:
            BiasEditError: it is a page for people instead of what the Hub says to a program.
        """
        request = response.request
        name, host = f"{request.method} {request.url}", request.url.host
        if response.status_code in PASSING:
            return  # it stays open: what follows is the same request again
        self._open.pop(name, None)
        self._since.pop(name, None)
        page = response.headers.get("Content-Type", "").startswith("text/html")
        if page and response.status_code == 200 and request.method not in ("GET", "HEAD"):
            raise BiasEditError(
                f"{host} does not answer like a Hub: a page of HTML came back for an upload; "
                "check the proxy and HF_ENDPOINT"
            )


_lock = threading.Lock()
_watches: dict[int, Watch] = {}  # by the id of their session
_inside: Counter[int] = Counter()  # blocks under way, by the id of their session


def hub_api() -> HfApi:
    """A client for `HF_ENDPOINT` with the user's token (`HF_TOKEN` or `hf auth login`)."""
    return HfApi(library_name="hfbiasedit", library_version=__version__)


@contextlib.contextmanager
def patience() -> Iterator[None]:
    """Limit the time of the Hub's calls in the block, and make their downloads resumable.

    A session that the library opens anew in the middle of a call, after it could not connect,
    is as the library makes it until the next block.
    """
    client = get_session()
    with _lock:
        _inside[id(client)] += 1
        if _inside[id(client)] == 1:
            hooks = client.event_hooks
            watch = Watch()
            _watches[id(client)] = watch
            client.event_hooks = {
                "request": [*hooks["request"], _limit_time, watch.asked],
                "response": [*hooks["response"], watch.answered, _make_resumable],
            }
    try:
        yield
    finally:
        with _lock:
            _inside[id(client)] -= 1
            if not _inside[id(client)]:
                del _inside[id(client)]
                watch = _watches.pop(id(client))
                ours = (_limit_time, _make_resumable, watch.asked, watch.answered)
                client.event_hooks = {
                    name: [hook for hook in hooks if hook not in ours]
                    for name, hooks in client.event_hooks.items()
                }


def _limit_time(request: httpx2.Request) -> None:
    """Put limits where the client asks for none (it says so explicitly, call by call)."""
    limits = request.extensions.setdefault("timeout", {})
    read = READ_TIMEOUT if request.method in ("GET", "HEAD") else WRITE_TIMEOUT
    wanted = {"connect": CONNECT_TIMEOUT, "read": read, "write": WRITE_TIMEOUT}
    for name, seconds in wanted.items():
        if limits.get(name) is None:
            limits[name] = seconds


def _make_resumable(response: httpx2.Response) -> None:
    if isinstance(response.stream, httpx2.SyncByteStream):
        response.stream = _ResumableStream(response.stream)


class _ResumableStream(httpx2.SyncByteStream):
    """A body in which a reset looks like an early end, which the client resumes after."""

    def __init__(self, stream: Iterable[bytes]) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except httpx2.ReadError as error:
            raise httpx2.RemoteProtocolError(str(error) or "connection reset") from error

    def close(self) -> None:
        if isinstance(self._stream, httpx2.SyncByteStream):
            self._stream.close()
