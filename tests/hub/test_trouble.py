"""A Hub in trouble: every retry is said, and there is an end to them."""

import pytest
from huggingface_hub import constants

from hfbiasedit.errors import BiasEditError
from hfbiasedit.hub import failures, retries, session
from hfbiasedit.hub.pull import pull_model
from hfbiasedit.hub.retries import with_retries
from hfbiasedit.hub.session import patience

MODEL = {"config.json": b"{}", "model.safetensors": b"1"}


class Clock:
    """Stands for the module `time`: nothing takes any time but waiting."""

    def __init__(self):
        self.now, self.waits = 0.0, []

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.waits.append(seconds)
        self.now += seconds


def test_reading_has_a_shorter_limit_than_sending(hub_client, monkeypatch):
    limits = {}

    def note(request):
        session._limit_time(request)
        limits[request.method] = request.extensions["timeout"]["read"]

    client = session.get_session()
    with client.stream("GET", hub_client.url) as answer:
        note(answer.request)
    with client.stream("POST", hub_client.url) as answer:
        answer.request.extensions.pop("timeout")
        note(answer.request)
    assert limits["POST"] == session.WRITE_TIMEOUT > session.READ_TIMEOUT == 10


def test_a_hub_that_keeps_failing_is_given_up_within_the_limit(hub_client, monkeypatch, capsys):
    hub_client.create_repo("acme/model", MODEL)
    hub_client.fault("/api/models/acme/model", status=500, times=99)
    clock = Clock()
    monkeypatch.setattr(retries, "time", clock)
    monkeypatch.setattr(retries, "FIRST_WAIT", 20.0)
    with pytest.raises(Exception, match="500"):
        pull_model("acme/model")
    assert clock.waits == [20.0, 30.0]  # another one would be more than a minute
    said = capsys.readouterr().err
    assert said.count("the Hub answers 500; ") == len(clock.waits)


@pytest.mark.parametrize(
    ("error", "tries"),
    [(session.httpx2.ConnectError("no network"), 3), (session.httpx2.ReadError("gone"), 6)],
)
def test_as_many_tries_are_made_as_are_announced(monkeypatch, capsys, error, tries):
    monkeypatch.setattr(retries, "time", Clock())
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    calls = []

    def call():
        calls.append(1)
        raise error

    with pytest.raises(type(error)):
        with_retries(call, "asking")
    assert len(calls) == tries
    assert capsys.readouterr().err.rstrip().endswith(f"(try {tries} of at most {tries})")


def test_a_rate_limit_is_waited_out_however_long_it_was(hub_client, monkeypatch):
    hub_client.create_repo("acme/model", MODEL)
    hub_client.fault("/api/models/acme/model", status=429, headers={"Retry-After": "300"}, times=2)
    clock = Clock()
    monkeypatch.setattr(retries, "time", clock)
    assert pull_model("acme/model").commit
    assert clock.now == 600


def test_what_the_library_repeats_by_itself_is_said_and_ends(monkeypatch, capsys):
    watch, clock = session.Watch(), Clock()
    monkeypatch.setattr(session, "time", clock)
    request = session.httpx2.Request("GET", "https://hub.example/api/models/x")
    watch.asked(request)
    for _ in range(3):
        watch.asked(request)
        clock.now += 20
    assert capsys.readouterr().err.count("no answer from hub.example; asking again") == 3
    clock.now += 20
    with pytest.raises(BiasEditError, match="has not answered for 60 s"):
        watch.asked(request)


def test_an_answer_ends_the_trouble(monkeypatch, capsys):
    watch = session.Watch()
    request = session.httpx2.Request("GET", "https://hub.example/api/models/x")
    watch.asked(request)
    watch.answered(session.httpx2.Response(200, request=request))
    watch.asked(request)
    assert capsys.readouterr().err == ""


def test_a_page_of_html_in_answer_to_an_upload_is_named(hub_client):
    hub_client.fault(
        "/preupload/",
        body=b"<html>log in</html>",
        status=200,
        headers={"Content-Type": "text/html"},
    )
    from hfbiasedit.hub.session import hub_api

    hub_client.create_repo("alice/model", MODEL)
    with pytest.raises(BiasEditError, match="a page of HTML came back"), patience():
        hub_api().upload_file(path_or_fileobj=b"1", path_in_repo="a.txt", repo_id="alice/model")


@pytest.mark.parametrize("endpoint", ["nonsense", "htp://huggingface.co", "https://"])
def test_a_bad_endpoint_is_named(hub_client, monkeypatch, endpoint):
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    with pytest.raises(Exception) as caught, patience():
        session.get_session().get(f"{endpoint}/api/models/x")
    assert "no address of a Hub" in failures.explain(caught.value)


@pytest.mark.parametrize("token", ["hf_\u00e9\u00e8", "hf_abc\ndef"])
def test_a_token_with_odd_characters_is_named_and_not_shown(hub_client, monkeypatch, token):
    monkeypatch.setattr(failures, "get_token", lambda: token)
    with pytest.raises(Exception) as caught:
        session.get_session().get(hub_client.url, headers={"authorization": f"Bearer {token}"})
    said = failures.explain(caught.value)
    assert "holds characters that no token has" in said
    assert token not in said


def test_offline_is_never_retried(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    calls = []

    def call():
        calls.append(1)
        raise session.httpx2.ReadError("gone")

    with pytest.raises(session.httpx2.ReadError):
        with_retries(call, "asking")
    assert calls == [1]
