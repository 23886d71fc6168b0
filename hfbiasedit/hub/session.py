"""The client of the Hub: one `HfApi`, and calls with time-outs and resumable downloads.

`huggingface_hub` resumes a download when the server ends a connection too early, but not
when it resets it, and its API calls wait for ever. `patience` settles both for the calls
inside it, on the session that the library shares (so a proxy or a factory of the user's
stays in use), and leaves that session as it was.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx2
from huggingface_hub import HfApi, get_session

from hfbiasedit.versions import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable

CONNECT_TIMEOUT = 15.0  # seconds
READ_TIMEOUT = 120.0  # seconds; a commit of thousands of files takes the Hub a while
_lock = threading.Lock()
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
            client.event_hooks = {
                "request": [*hooks["request"], _limit_time],
                "response": [*hooks["response"], _make_resumable],
            }
    try:
        yield
    finally:
        with _lock:
            _inside[id(client)] -= 1
            if not _inside[id(client)]:
                del _inside[id(client)]
                client.event_hooks = {
                    name: [hook for hook in hooks if hook not in (_limit_time, _make_resumable)]
                    for name, hooks in client.event_hooks.items()
                }


def _limit_time(request: httpx2.Request) -> None:
    """Put limits where the client asks for none (it says so explicitly, call by call)."""
    limits = request.extensions.setdefault("timeout", {})
    wanted = {"connect": CONNECT_TIMEOUT, "read": READ_TIMEOUT, "write": READ_TIMEOUT}
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
