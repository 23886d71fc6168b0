import threading

import pytest
from huggingface_hub import get_session

from hfbiasedit.hub.session import hub_api, patience


@pytest.fixture(autouse=True)
def fresh(hub_client):
    """A session of the test's own."""


def test_the_shared_session_is_left_as_it_was():
    before = get_session().event_hooks
    hub_api()
    assert get_session().event_hooks == before
    with pytest.raises(ZeroDivisionError), patience():
        assert len(get_session().event_hooks["request"]) == len(before["request"]) + 2
        raise ZeroDivisionError
    assert get_session().event_hooks == before


def test_blocks_inside_each_other_and_side_by_side_share_the_hooks():
    before = get_session().event_hooks
    inside, leave = threading.Event(), threading.Event()

    def other():
        with patience():
            inside.set()
            leave.wait(10)

    with patience():
        once = get_session().event_hooks
        with patience():
            assert get_session().event_hooks == once
        assert get_session().event_hooks == once
        thread = threading.Thread(target=other)
        thread.start()
        assert inside.wait(10)
    assert get_session().event_hooks == once
    leave.set()
    thread.join()
    assert get_session().event_hooks == before
