"""The local Hub and the client set to it, and what is published there, for all tests here."""

import pytest

from tests.hub_server.fixtures import hub, hub_client, short_waits  # noqa: F401
from tests.publishing.runs import BASE, make_base, make_run


@pytest.fixture
def base(hub_client):  # noqa: F811
    return make_base(hub_client)


@pytest.fixture
def run(base, tmp_path):
    return make_run(tmp_path / "run", BASE, base.head)
