"""The client of the Hub: one `HfApi`, with time-outs and downloads that survive a reset.

`huggingface_hub` resumes a download when the server ends a connection too early, but not
when it resets it, and its API calls wait for ever. Both are settled here, on the client
objects that its own factory makes (so a proxy or a factory of the user's stays in use).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import httpx2
from huggingface_hub import HfApi, set_client_factory
from huggingface_hub.utils import _http

from hfbiasedit.versions import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable

CONNECT_TIMEOUT = 15.0
READ_TIMEOUT = 120.0  # a commit of thousands of files takes the Hub a while


def hub_api() -> HfApi:
    """A client for `HF_ENDPOINT` with the user's token (`HF_TOKEN` or `hf auth login`)."""
    _harden_sessions()
    return HfApi(library_name="hfbiasedit", library_version=__version__)


def _harden_sessions() -> None:
    """Make every session from now on a patient one; does nothing the second time."""
    current: Callable[[], httpx2.Client] = getattr(
        _http, "_GLOBAL_CLIENT_FACTORY", _http.default_client_factory
    )
    if not isinstance(current, _PatientFactory):
        set_client_factory(_PatientFactory(current))


class _PatientFactory:
    """Makes the sessions that another factory makes, with time-outs and resumable bodies."""

    def __init__(self, factory: Callable[[], httpx2.Client]) -> None:
        self._factory = factory

    def __call__(self) -> httpx2.Client:
        client = self._factory()
        hooks = client.event_hooks
        client.event_hooks = {
            "request": [*hooks["request"], _limit_time],
            "response": [*hooks["response"], _make_resumable],
        }
        return client


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
