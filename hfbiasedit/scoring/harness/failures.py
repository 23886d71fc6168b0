"""What goes wrong between lm-evaluation-harness and a server, in one line."""

from __future__ import annotations

import asyncio
from typing import Any

from hfbiasedit.errors import BiasEditError, first_line

_LOGS = (
    "gives no log-probabilities of the prompt's own tokens, which are what an audit needs; use "
    "an endpoint of completions that has `echo` and `logprobs`, as that of vLLM"
)


def explained(error: Exception, kind: str, values: Any) -> BiasEditError:
    """The line for an exception that a model of lm-evaluation-harness raised.

    Args:
        error: it. kind: the model's name in the registry. values: its arguments.
    """
    place = values.get("base_url")
    if place is None:
        return BiasEditError(f"{kind} of lm-eval failed: {first_line(error)}")
    return BiasEditError(f"{place} {_of_server(error, values)}")


def no_logs(kind: str, values: Any) -> BiasEditError:
    """The line for answers that cannot be log-probabilities."""
    return BiasEditError(f"{values.get('base_url') or kind} {_LOGS}")


def _of_server(error: Exception, values: Any) -> str:
    import aiohttp
    import requests

    if isinstance(error, asyncio.TimeoutError | requests.Timeout):
        limit = values.get("timeout", 300)
        return f"did not answer within {limit} s; give it longer with timeout=... in --backend-args"
    status, said = _status(error)
    if status == 404:
        return "is not there (404); base_url is the whole address, such as .../v1/completions"
    if status in (401, 403):
        return f"refuses the key ({status}); set OPENAI_API_KEY or auth_token=... in --backend-args"
    if status == 429:
        return "is asked too often (429); lower num_concurrent, or raise max_retries"
    if status is not None:
        return f"answers {status}{': ' if said else ''}{said}"
    if isinstance(error, requests.exceptions.JSONDecodeError | aiohttp.ContentTypeError):
        return "answers something else than JSON; base_url is the address of the completions"
    if isinstance(error, requests.RequestException | aiohttp.ClientError | OSError):
        return "cannot be reached; is the server running?"
    if isinstance(error, KeyError | TypeError | IndexError | AssertionError | ValueError):
        return _LOGS
    return f"failed: {first_line(error)}"


def _status(error: Exception) -> tuple[int | None, str]:
    """The HTTP status behind an error, and the first line of what came with it."""
    response = getattr(error, "response", None)
    if response is not None:
        return int(response.status_code), response.text.strip().partition("\n")[0][:200]
    status = getattr(error, "status", None)
    return (int(status), str(getattr(error, "message", ""))) if status else (None, "")
