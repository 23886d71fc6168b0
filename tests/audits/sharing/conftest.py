from tests.hub_server.fixtures import hub, hub_client  # noqa: F401
