"""What went wrong with the Hub, in one line with the next step.

`explain` is the only place that knows the exceptions of `huggingface_hub` and its HTTP
library; nothing else in the program words such a failure.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator

import httpx2
from huggingface_hub import constants, errors, get_token

LOG_IN = "log in with `hf auth login` (or set HF_TOKEN)"
_TOKEN = re.compile(r"\b(?:(?:hf|api_org)_[A-Za-z0-9]{20,}|hf_(?:oauth|jwt)_[\w.-]{20,})")


def redact(text: str) -> str:
    """The text without any token of the Hub in it."""
    token = get_token()
    if token:
        text = text.replace(token, "hf_***")
    return _TOKEN.sub("hf_***", text)


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from, outermost first."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def status_of(error: BaseException) -> int | None:
    """The HTTP status behind an error, if there is one."""
    for link in chain(error):
        if isinstance(link, errors.HfHubHTTPError) and link.response is not None:
            return int(link.response.status_code)
    return None


def explain(error: BaseException) -> str | None:
    """One line for a failure of the Hub or on the way to it; None for any other failure."""
    links = list(chain(error))
    for describe in (_local, _network, _answer):
        for link in links:
            if text := describe(link):
                return redact(" ".join(text.split()))
    return None


def _local(error: BaseException) -> str | None:
    """Failures on this machine: disk, offline mode, login, names."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return (
            f"the disk is full (cache: {constants.HF_HUB_CACHE}); free some space, "
            "or set HF_HOME to another disk"
        )
    if isinstance(error, errors.OfflineModeIsEnabled) or (
        constants.is_offline_mode()
        and isinstance(error, (errors.LocalEntryNotFoundError, errors.RevisionResolutionError))
    ):
        return (
            "offline mode is on (HF_HUB_OFFLINE) and the files are not in the cache "
            f"({constants.HF_HUB_CACHE}); run once with HF_HUB_OFFLINE=0, or give a local directory"
        )
    if isinstance(error, errors.LocalTokenNotFoundError):
        return f"not logged in to {constants.ENDPOINT}; {LOG_IN}"
    if isinstance(error, errors.HFValidationError):
        return f"not a name of a Hub repository: {error}"
    token = get_token() or ""
    unprintable = not (token.isascii() and token.isprintable())
    if unprintable and isinstance(error, (UnicodeError, httpx2.LocalProtocolError)):
        return f"the Hub token holds characters that no token has; correct HF_TOKEN, or {LOG_IN}"
    if isinstance(error, ValueError) and "Invalid metadata in README.md" in str(error):
        return f"the Hub does not accept the metadata of the card: {error}; correct README.md"
    return None


def _network(error: BaseException) -> str | None:
    """Failures between this machine and the Hub."""
    where = constants.ENDPOINT
    if isinstance(error, (httpx2.UnsupportedProtocol, httpx2.InvalidURL)):
        return (
            f"{where!r} is no address of a Hub; set HF_ENDPOINT to one, with https://, or unset it"
        )
    if isinstance(error, httpx2.ProxyError):
        return f"the proxy does not let requests to {where} through; check HTTPS_PROXY"
    if isinstance(error, httpx2.ConnectError):
        return f"cannot reach {where}; check the network and HF_ENDPOINT, then run again"
    if isinstance(error, httpx2.TimeoutException):
        return f"{where} does not answer in time; run again, finished files are kept"
    if isinstance(error, (httpx2.TransportError, httpx2.TooManyRedirects)):
        return f"the connection to {where} broke off; run again, finished files are kept"
    if isinstance(error, errors.FileMetadataError):
        return f"{where} does not answer like a Hub; check HF_ENDPOINT and the proxy"
    return None


def _answer(error: BaseException) -> str | None:
    """Failures that the Hub itself reports."""
    if isinstance(error, errors.FileDuplicationError):
        return f"the Hub does not copy the files between the repositories: {error}"
    if not isinstance(error, errors.HfHubHTTPError):
        if isinstance(error, OSError) and "Consistency check failed" in str(error):
            return "a download arrived incomplete; run again"
        return None
    status = error.response.status_code
    name = _repository(error)
    logged_in = get_token() is not None
    if isinstance(error, errors.GatedRepoError):
        page = f"{constants.ENDPOINT}/{name}"
        then = "wait until access is granted" if logged_in else LOG_IN
        return f"{name} is gated: accept its conditions at {page}, then {then}"
    if isinstance(error, errors.DisabledRepoError):
        return f"the Hub has disabled access to {name}; use another repository"
    if isinstance(error, errors.RevisionNotFoundError):
        revision = _revision(error)
        return f"{name} has no revision{revision}; give a branch, tag or commit that exists"
    if isinstance(error, errors.EntryNotFoundError):
        return f"{name} does not hold the file {error.response.url.path.rsplit('/', 1)[-1]}"
    if status == 401 and "Invalid credentials" in error.response.headers.get("X-Error-Message", ""):
        return (
            "the Hub does not know this token; log in again with `hf auth login --force`, "
            "or correct HF_TOKEN"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        then = (
            "if it is private, use a token that may see it"
            if logged_in
            else f"if private, {LOG_IN}"
        )
        return f"{name} is not on {constants.ENDPOINT}, or is private; check the name, {then}"
    return _by_status(status, error, name)


def _by_status(status: int, error: errors.HfHubHTTPError, name: str) -> str:
    said = (error.server_message or "").strip()
    tokens_page = f"{constants.ENDPOINT}/settings/tokens"
    if status == 401:
        return f"the Hub wants to know who you are; {LOG_IN}"
    if status == 403 and "create_pr" in said:
        return f"you may not write to {name}; add --create-pr to open a pull request instead"
    if status == 403:
        return f"your token may not do this ({said}); make one with the write role at {tokens_page}"
    if status in (409, 412):
        return f"{name} has changed meanwhile ({said}); run again, or add --create-pr"
    if status == 402:
        return f"the Hub asks for a paid plan here: {said}"
    if status == 413:
        return f"the Hub finds the request too large: {said}"
    if status == 429:
        wait = error.response.headers.get("Retry-After")
        when = f"in {wait} s" if wait and wait.isdigit() else "in a few minutes"
        then = "" if get_token() else f"; {LOG_IN} for a higher limit"
        return f"rate limit of the Hub reached; run again {when}{then}"
    if status >= 500:
        return f"the Hub has a problem of its own ({status}); run again in a few minutes"
    return f"the Hub refused ({status}): {said or error}"


def _repository(error: errors.HfHubHTTPError) -> str:
    """`org/name` of the repository an error is about."""
    known = getattr(error, "repo_id", None)
    if known:
        return str(known)
    path = error.response.url.path
    match = re.search(r"/api/(?:models|datasets|spaces)/([^/]+/[^/]+)", path) or re.search(
        r"/(?:datasets/|spaces/)?([^/]+/[^/]+?)(?:\.git)?/(?:resolve|info)/", path
    )
    return match.group(1) if match else "the repository"


def _revision(error: errors.HfHubHTTPError) -> str:
    match = re.search(
        r"/(?:revision|resolve|tree|commit|preupload)/([^/]+)", error.response.url.path
    )
    return f" {match.group(1)!r}" if match else ""
