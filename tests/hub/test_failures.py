"""Every failure on the way to the Hub has one line with the next step, and no token in it."""

from __future__ import annotations

import errno

import httpx2
import pytest
from huggingface_hub import constants, errors
from huggingface_hub.utils import hf_raise_for_status

from hfbiasedit.hub.failures import chain, explain, redact, status_of
from tests.hub_server import ALICE_TOKEN

HUB = "https://huggingface.co"


def answer(status: int, path: str = "/api/models/acme/model/commit/main", body=None, **headers):
    """The error that the client makes of an answer."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    request = httpx2.Request("POST", HUB + path)
    response = httpx2.Response(status, json=body or {}, headers=headers, request=request)
    with pytest.raises(errors.HfHubHTTPError) as caught:
        hf_raise_for_status(response)
    return caught.value


@pytest.fixture(autouse=True)
def _logged_in(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", ALICE_TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (lambda: answer(401), "acme/model is not on"),
        (lambda: answer(401, "/api/whoami-v2"), "log in with `hf auth login`"),
        (lambda: answer(403), "make one with the write role at"),
        (lambda: answer(403, body={"error": "pass `create_pr=1`"}), "add --create-pr"),
        (lambda: answer(404, X_Error_Code="RepoNotFound"), "acme/model is not on"),
        (lambda: answer(403, X_Error_Code="GatedRepo"), "acme/model is gated: accept its conditions at"),
        (lambda: answer(404, "/acme/model/resolve/v9/config.json", X_Error_Code="RevisionNotFound"), "no revision 'v9'"),
        (lambda: answer(404, "/acme/model/resolve/main/x.json", X_Error_Code="EntryNotFound"), "acme/model does not hold the file x.json"),
        (lambda: answer(403, X_Error_Message="Access to this resource is disabled."), "disabled access to"),
        (lambda: answer(409), "has changed meanwhile"),
        (lambda: answer(412, body={"error": "A commit has happened since."}), "A commit has happened since"),
        (lambda: answer(402), "paid plan"),
        (lambda: answer(413), "too large"),
        (lambda: answer(429, Retry_After="17"), "run again in 17 s"),
        (lambda: answer(429), "in a few minutes"),
        (lambda: answer(500), "problem of its own (500)"),
        (lambda: answer(504), "problem of its own (504)"),
        (lambda: answer(400, body={"error": "bad thing"}), "refused (400): bad thing"),
        (lambda: errors.LocalTokenNotFoundError("Token is required"), "not logged in to"),
        (lambda: errors.OfflineModeIsEnabled("no"), "offline mode is on"),
        (lambda: errors.HFValidationError("a b"), "not a name of a Hub repository"),
        (lambda: errors.FileMetadataError("no header"), "does not answer like a Hub"),
        (lambda: errors.FileDuplicationError("regions"), "does not copy the files"),
        (lambda: ValueError("Invalid metadata in README.md.\n- bad"), "correct README.md"),
        (lambda: OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (lambda: OSError("Consistency check failed: file should be"), "arrived incomplete"),
        (lambda: httpx2.ConnectError("refused"), "cannot reach"),
        (lambda: httpx2.ReadTimeout("slow"), "does not answer in time"),
        (lambda: httpx2.RemoteProtocolError("closed"), "broke off"),
        (lambda: httpx2.ProxyError("no"), "check HTTPS_PROXY"),
    ],
)  # fmt: skip
def test_one_line_with_the_next_step(error, text):
    line = explain(error())
    assert text in line
    assert "\n" not in line
    assert len(line) < 300
    wrapped = RuntimeError("Error while uploading 'x' to the Hub.")
    wrapped.__cause__ = error()
    assert text in explain(wrapped)


def test_offline_errors_count_only_when_offline(monkeypatch):
    missing = errors.LocalEntryNotFoundError("not here")
    assert explain(missing) is None
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "offline mode is on" in explain(missing)


def test_other_failures_are_left_to_others():
    assert explain(KeyError("x")) is None
    assert explain(ValueError("something else")) is None
    assert explain(OSError(errno.EACCES, "Permission denied")) is None


def test_a_cycle_of_causes_ends():
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert list(chain(first)) == [first, second]
    assert explain(first) is None
    assert status_of(first) is None


def test_tokens_are_redacted():
    text = f"Bearer {ALICE_TOKEN} and hf_abcdefghijklmnopqrstuvwxyz0123456789"
    assert redact(text) == "Bearer hf_*** and hf_***"
    error = answer(400, body={"error": f"you sent {ALICE_TOKEN}"})
    assert ALICE_TOKEN not in explain(error)
    assert "hf_hub_download of hf_xet" in redact("hf_hub_download of hf_xet")
