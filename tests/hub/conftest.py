"""The local Hub and the client set to it, for all tests of this folder."""

from tests.hub_server.fixtures import hub, hub_client, short_waits  # noqa: F401
