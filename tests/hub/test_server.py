"""The local Hub answers the real client as the Hub does."""

from __future__ import annotations

import threading

import pytest
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    HfApi,
    errors,
)

from hfbiasedit.hub import session
from hfbiasedit.hub.pull import pull_model
from tests.hub_server import ALICE_READ_TOKEN, ALICE_TOKEN, BOB_TOKEN


@pytest.fixture
def api(hub_client):
    return HfApi(hub_client.url, token=ALICE_TOKEN)


def test_who_am_i(hub_client, api):
    me = api.whoami()
    assert me["name"] == "alice"
    assert me["auth"]["accessToken"]["role"] == "write"
    assert api.whoami(ALICE_READ_TOKEN)["auth"]["accessToken"]["role"] == "read"
    assert [org["name"] for org in me["orgs"]] == ["acme"]
    with pytest.raises(errors.HfHubHTTPError):
        api.whoami("hf_nobodyXXXXXXXXXXXXXXXXXXXX")


def test_creating_and_deleting(hub_client, api):
    assert api.create_repo("alice/new", private=True).repo_id == "alice/new"
    assert api.repo_info("alice/new").private
    with pytest.raises(errors.HfHubHTTPError):
        api.create_repo("alice/new")
    api.create_repo("alice/new", exist_ok=True)
    api.create_repo("alice/data", repo_type="dataset")
    assert api.dataset_info("alice/data").id == "alice/data"
    with pytest.raises(errors.HfHubHTTPError):
        api.create_repo("bob/not-mine")
    api.update_repo_settings("alice/new", private=False, gated="manual")
    assert hub_client.repo("alice/new").gated
    api.delete_repo("alice/new")
    assert not api.repo_exists("alice/new")


def test_files_large_and_small(hub_client, api, tmp_path):
    api.create_repo("alice/new")
    weights = bytes(range(256)) * 300
    api.create_commit(
        "alice/new",
        [
            CommitOperationAdd("a/b/small.txt", b"hello"),
            CommitOperationAdd("model.safetensors", weights),
            CommitOperationAdd("empty.txt", b""),
        ],
        commit_message="Add",
    )
    rows = {row.path: row for row in api.list_repo_tree("alice/new", recursive=True)}
    assert rows["model.safetensors"].lfs.size == len(weights)
    assert rows["model.safetensors"].xet_hash
    assert rows["a/b/small.txt"].lfs is None
    assert "a/b" in rows
    assert [row.path for row in api.list_repo_tree("alice/new", "a")] == ["a/b"]
    for path, data in {
        "a/b/small.txt": b"hello",
        "model.safetensors": weights,
        "empty.txt": b"",
    }.items():
        found = api.hf_hub_download("alice/new", path, cache_dir=tmp_path)
        with open(found, "rb") as file:
            assert file.read() == data
    api.create_commit(
        "alice/new",
        [
            CommitOperationCopy("model.safetensors", "copy.safetensors"),
            CommitOperationCopy("a/b/small.txt", "copy.txt"),
            CommitOperationDelete("a/"),
            CommitOperationDelete("empty.txt"),
        ],
        commit_message="Move",
    )
    files = hub_client.repo("alice/new").files()
    assert files["copy.safetensors"] == weights
    assert files["copy.txt"] == b"hello"
    assert "a/b/small.txt" not in files
    assert [c.title for c in api.list_repo_commits("alice/new")] == [
        "Move",
        "Add",
        "initial commit",
    ]
    assert hub_client.leaks == []


def test_long_lists_come_in_pages(hub_client, api):
    hub_client.page_size = 3
    files = {f"folder/{n}.txt": b"x" for n in range(10)}
    hub_client.create_repo("alice/many", files)
    assert set(api.list_repo_files("alice/many")) == {*files, ".gitattributes"}
    assert hub_client.count("GET", "/tree/") == 4


def test_branches_tags_and_pull_requests(hub_client, api):
    repository = hub_client.create_repo("bob/theirs", {"a.txt": b"1"})
    bob = HfApi(hub_client.url, token=BOB_TOKEN)
    bob.create_branch("bob/theirs", branch="feature/x")
    bob.create_tag("bob/theirs", tag="v1")
    change = [CommitOperationAdd("a.txt", b"2")]
    with pytest.raises(errors.HfHubHTTPError, match="create_pr"):
        api.create_commit("bob/theirs", change, commit_message="Mine")
    info = api.create_commit("bob/theirs", change, commit_message="Mine", create_pr=True)
    assert info.pr_revision == "refs/pr/1"
    refs = api.list_repo_refs("bob/theirs", include_pull_requests=True)
    assert {branch.name for branch in refs.branches} == {"main", "feature/x"}
    assert [tag.name for tag in refs.tags] == ["v1"]
    assert refs.pull_requests[0].target_commit == info.oid
    assert pull_error(api, "bob/theirs", "nowhere")
    assert api.get_discussion_details("bob/theirs", 1).title == "Mine"
    bob.merge_pull_request("bob/theirs", 1)
    assert repository.files()["a.txt"] == b"2"
    stale = [CommitOperationAdd("a.txt", b"3")]
    with pytest.raises(errors.HfHubHTTPError, match="A commit has happened since"):
        bob.create_commit("bob/theirs", stale, commit_message="Late", parent_commit=info.oid)


def pull_error(api, repo_id, revision):
    with pytest.raises(errors.RevisionNotFoundError):
        api.repo_info(repo_id, revision=revision)
    return True


def test_who_sees_what(hub_client, api):
    hub_client.create_repo("bob/secret", {"a.txt": b"1"}, private=True)
    hub_client.create_repo("bob/gated", {"a.txt": b"1"}, gated=True)
    with pytest.raises(errors.RepositoryNotFoundError):
        api.model_info("bob/secret")
    with pytest.raises(errors.RepositoryNotFoundError):
        api.model_info("bob/secret", token=False)
    assert api.model_info("bob/gated").gated == "manual"
    with pytest.raises(errors.GatedRepoError):
        api.auth_check("bob/gated")
    assert HfApi(hub_client.url, token=BOB_TOKEN).model_info("bob/secret").private


def test_a_renamed_repository_is_followed(hub_client):
    repository = hub_client.create_repo(
        "acme/new-name", {"config.json": b"{}", "model.safetensors": b"1"}
    )
    hub_client.moved["acme/old-name"] = "acme/new-name"
    assert pull_model("acme/old-name").commit == repository.head


def test_calls_have_a_time_limit(hub_client, monkeypatch, capsys):
    monkeypatch.setattr(session, "READ_TIMEOUT", 0.3)
    hub_client.create_repo("acme/model", {"config.json": b"{}", "model.safetensors": b"1"})
    over = threading.Event()
    hub_client.fault("/api/models/acme/model", method="GET", before=lambda: over.wait(60))
    assert pull_model("acme/model").commit
    over.set()
    assert "the Hub does not answer" in capsys.readouterr().err


def test_a_factory_of_the_users_stays_in_use(hub_client):
    import httpx2
    from huggingface_hub import get_session, set_client_factory
    from huggingface_hub.utils._http import default_client_factory

    hub_client.create_repo("acme/model", {"config.json": b"{}", "model.safetensors": b"1"})
    made = []

    def factory():
        made.append(httpx2.Client(follow_redirects=True, headers={"X-Mine": "yes"}, timeout=7.0))
        return made[-1]

    try:
        set_client_factory(factory)
        assert pull_model("acme/model").commit
        assert get_session() is made[0]
        assert len(made) == 1
        assert made[0].event_hooks == {"request": [], "response": []}
        assert get_session().timeout.read == 7.0  # a limit that is set is left alone
    finally:
        set_client_factory(default_client_factory)
