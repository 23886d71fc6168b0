"""Fixtures around the local Hub, for any test module:

from tests.hub_server.fixtures import hub, hub_client  # noqa: F401
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub_server.server import ALICE_TOKEN, HubServer


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """No long waits before something is tried again, in modules that import this."""
    from hfbiasedit.hub import retries

    monkeypatch.setattr(retries, "FIRST_WAIT", 0.01)


@pytest.fixture
def hub() -> Iterator[HubServer]:
    """A running Hub, empty but for its users."""
    with HubServer() as server:
        yield server


@pytest.fixture
def hub_client(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[HubServer]:
    """The Hub, with this process's `huggingface_hub` set to it: a cache of its own, alice's token.

    The client reads its variables once, at import, so the constants it made of them are
    set here; none of its functions is replaced.
    """
    from huggingface_hub import constants, file_download
    from huggingface_hub.utils import close_session

    home = tmp_path / "hf_home"
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    for name, value in {
        "ENDPOINT": hub.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": template,
        "HF_HOME": str(home),
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_TOKEN_PATH": str(home / "token"),
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_XET": True,
    }.items():
        monkeypatch.setattr(constants, name, value)
    assert file_download.constants is constants
    monkeypatch.setenv("HF_TOKEN", ALICE_TOKEN)
    yield hub
    close_session()
