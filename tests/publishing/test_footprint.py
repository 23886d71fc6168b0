"""What is on the Hub after a push that failed or was interrupted, and that it is said."""

import pytest

from hfbiasedit.publishing import commit, publication
from hfbiasedit.publishing.push import push

REPO = "alice/edited"


def interrupted(monkeypatch, *, after):
    """Ctrl-C when the commit is sent: before it arrives, or before its answer does."""
    send = commit._send

    def stopped(api, plan):
        if after:
            send(api, plan)
        raise KeyboardInterrupt

    monkeypatch.setattr(commit, "_send", stopped)


def test_ctrl_c_before_the_commit_removes_the_empty_repository(
    hub_client, run, monkeypatch, capsys
):
    interrupted(monkeypatch, after=False)
    with pytest.raises(KeyboardInterrupt):
        push(run, REPO, what="patch")
    assert ("model", REPO) not in hub_client.repositories
    assert "nothing is left" in capsys.readouterr().err


def test_ctrl_c_after_the_commit_says_that_it_is_there(hub_client, run, monkeypatch, capsys):
    interrupted(monkeypatch, after=True)
    with pytest.raises(KeyboardInterrupt):
        push(run, REPO, what="patch")
    head = hub_client.repo(REPO).head
    assert f"the commit was finished: {hub_client.url}/{REPO}/commit/{head}" in (
        capsys.readouterr().err
    )


def test_a_repository_that_was_there_stays(hub_client, run, monkeypatch, capsys):
    head = hub_client.create_repo(REPO).head
    interrupted(monkeypatch, after=False)
    with pytest.raises(KeyboardInterrupt):
        push(run, REPO, what="patch")
    assert hub_client.repo(REPO).head == head
    assert f"nothing was committed; {REPO} is as it was" in capsys.readouterr().err


def test_a_refused_commit_leaves_no_empty_repository(hub_client, run, capsys):
    hub_client.fault("/commit/", method="POST", status=403, times=9)
    with pytest.raises(Exception, match="403"):
        push(run, REPO, what="patch")
    assert ("model", REPO) not in hub_client.repositories
    assert "nothing is left" in capsys.readouterr().err


def test_a_repository_into_which_somebody_wrote_meanwhile_stays(hub_client, run, capsys):
    def write():
        hub_client.repo(REPO).write({"x": b"1"})

    hub_client.fault("/commit/", method="POST", status=403, before=write, times=9)
    with pytest.raises(Exception, match="403"):
        push(run, REPO, what="patch")
    assert hub_client.repo(REPO).files()["x"] == b"1"
    assert "it stays" in capsys.readouterr().err


def test_a_refused_repository_is_not_said_to_be_left(hub_client, run, capsys):
    hub_client.fault("/api/repos/create", status=403, times=9)
    with pytest.raises(Exception, match="403"):
        push(run, REPO, what="patch")
    assert capsys.readouterr().err == ""  # the error says it all


def test_a_lost_answer_to_the_creation_is_no_claim_on_the_repository(hub_client, run, monkeypatch):
    hub_client.fault("/api/repos/create", lose_answer=True)
    hub_client.fault("/commit/", method="POST", status=403, times=9)
    with pytest.raises(Exception, match="403"):
        push(run, REPO, what="patch")
    assert ("model", REPO) in hub_client.repositories  # it may be somebody else's


def test_a_hub_that_cannot_be_asked_is_said(hub_client, run, monkeypatch, capsys):
    interrupted(monkeypatch, after=False)

    def away(*given):
        raise OSError("away")

    monkeypatch.setattr(publication.Footprint, "_account", away)
    with pytest.raises(KeyboardInterrupt):
        push(run, REPO, what="patch")
    assert f"look at {hub_client.url}/{REPO}" in capsys.readouterr().err
