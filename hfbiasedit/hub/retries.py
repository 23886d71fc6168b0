"""Waiting out what passes by itself: rate limits, a busy Hub, broken connections."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TypeVar

import httpx2
from huggingface_hub import constants, errors
from huggingface_hub.utils import parse_ratelimit_headers

from hfbiasedit.console import message
from hfbiasedit.errors import BiasEditError
from hfbiasedit.hub.failures import chain
from hfbiasedit.hub.session import CONNECT_TIMEOUT, PASSING, READ_TIMEOUT, patience

T = TypeVar("T")

ATTEMPTS = 6  # with the waits below, half a minute of trouble
UNREACHED = 3  # tries of a Hub that cannot be reached at all
PATIENCE = 60.0  # seconds of trouble, those that a rate limit asks for not counted
FIRST_WAIT = 1.0  # seconds; doubles from try to try
LONGEST_WAIT = 30.0  # seconds
LONGEST_LIMIT = 600.0  # seconds; a rate limit that lasts longer is reported instead of waited out


def with_retries(
    call: Callable[[], T], what: str, after: Callable[[Exception], T | None] | None = None
) -> T:
    """Run `call` until it succeeds or fails for a reason that will not pass.

    Says what it waits for on standard error. The last error is raised as it came.

    Args:
        call: Must be safe to run again.
        what: What is being done, for the message: "listing org/name".
        after: Asked after every failure, before anything is tried again; what it returns
            (other than None) stands for the answer that did not arrive.
    """
    trouble = 0.0
    for attempt in range(1, ATTEMPTS + 1):
        begun = time.monotonic()
        try:
            with patience():
                return call()
        except Exception as error:
            if after is not None and (found := after(error)) is not None:
                return found
            wait = waiting_time(error, attempt)
            # What lasted longer was under way when it broke off.
            trouble += min(time.monotonic() - begun, READ_TIMEOUT + CONNECT_TIMEOUT)
            if wait is None or (trouble + wait > PATIENCE and not is_rate_limit(error)):
                refuse_nonsense(error)
                raise
            tries = f"try {attempt + 1} of at most {most_tries(error)}"
            message(f"{failure(error)}; {what} again in {wait:.0f} s ({tries})")
            time.sleep(wait)
            trouble += 0.0 if is_rate_limit(error) else wait
    raise AssertionError("unreachable")


def waiting_time(error: BaseException, attempt: int) -> float | None:
    """Seconds to wait before the next try, or None when there should be none."""
    if attempt >= most_tries(error):
        return None
    wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempt - 1))
    for link in chain(error):
        if isinstance(link, errors.HfHubHTTPError):
            if link.response.status_code not in PASSING:
                return None
            limit = _rate_limit(link)
            if limit is not None and limit > LONGEST_LIMIT:
                return None
            return max(wait, limit or 0.0)
        if is_broken_connection(link):
            return wait
    return None


def most_tries(error: BaseException) -> int:
    """How often something is tried that fails in this way."""
    for link in chain(error):
        if isinstance(link, errors.HfHubHTTPError):
            return ATTEMPTS
        if isinstance(link, httpx2.ConnectError):  # more likely no network than a busy Hub
            return UNREACHED
    return ATTEMPTS


def is_rate_limit(error: BaseException) -> bool:
    """Whether the Hub said how long to wait."""
    return any(
        isinstance(link, errors.HfHubHTTPError) and _rate_limit(link) is not None
        for link in chain(error)
    )


def is_broken_connection(error: BaseException) -> bool:
    """Whether an error means that no (complete) answer arrived."""
    if constants.is_offline_mode() or isinstance(
        error, (httpx2.ProxyError, httpx2.UnsupportedProtocol)
    ):
        return False
    if isinstance(error, (httpx2.TransportError, json.JSONDecodeError)):
        return True  # JSON: a page of some machine in between, instead of the Hub's answer
    return isinstance(error, OSError) and "Consistency check failed" in str(error)


def refuse_nonsense(error: BaseException) -> None:
    """BiasEditError when an answer was none of a Hub's; any other error is left to speak."""
    if any(isinstance(link, json.JSONDecodeError) for link in chain(error)):
        raise BiasEditError(
            f"{constants.ENDPOINT} does not answer like a Hub; check HF_ENDPOINT and the proxy, "
            "or run again in a few minutes"
        ) from error


def _rate_limit(error: errors.HfHubHTTPError) -> float | None:
    """Seconds that the Hub asks to wait (Retry-After, or its rate limit headers)."""
    if error.response.status_code not in (429, 503):
        return None
    asked = error.response.headers.get("Retry-After", "").strip()
    if asked.isdigit():
        return float(asked)
    info = parse_ratelimit_headers(error.response.headers)
    return float(info.reset_in_seconds) if info and info.remaining == 0 else None


def failure(error: BaseException) -> str:
    """What went wrong, in a few words for a message about waiting."""
    for link in chain(error):
        if isinstance(link, errors.HfHubHTTPError):
            status = link.response.status_code
            return "rate limit of the Hub reached" if status == 429 else f"the Hub answers {status}"
        if isinstance(link, httpx2.TimeoutException):
            return "the Hub does not answer"
        if isinstance(link, json.JSONDecodeError):
            return "the Hub's answer makes no sense"
        if isinstance(link, httpx2.ConnectError):
            return f"cannot reach {constants.ENDPOINT}"
    return "the connection broke off"
