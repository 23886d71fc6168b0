"""A Hub for tests: speaks the HTTP API of the Hub to the real `huggingface_hub` client.

    with HubServer() as hub:
        hub.create_repo("alice/model", {"config.json": b"{}"})
        hub.fault(r"/resolve/", method="GET", status=503)
        subprocess.run([...], env={**os.environ, **hub.environment(tmp_path)})

The fixtures `hub` and `hub_client` are in `tests.hub_server.fixtures`.
"""

from tests.hub_server.faults import Fault
from tests.hub_server.repository import Repository
from tests.hub_server.server import ALICE_READ_TOKEN, ALICE_TOKEN, BOB_TOKEN, HubServer

__all__ = ["ALICE_READ_TOKEN", "ALICE_TOKEN", "BOB_TOKEN", "Fault", "HubServer", "Repository"]
