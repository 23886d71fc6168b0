"""The dataset on a local Hub, written and read by the real clients."""

import datasets
import pytest

from hfbiasedit.codegenbias.prompts import load_prompts
from hfbiasedit.codegenbias.sharing.upload import push_dataset
from hfbiasedit.errors import BiasEditError
from hfbiasedit.hub.session import hub_api
from tests.hub_server.fixtures import hub, hub_client  # noqa: F401

REPO = "alice/codegenbias"


def repository(server):
    return server.repositories["dataset", REPO]


def test_push_in_one_commit_and_read_back(hub_client, tmp_path):  # noqa: F811
    result = push_dataset(REPO, configs=("quick",), private=True)
    assert result.changed
    files = set(hub_api().list_repo_files(REPO, repo_type="dataset"))
    assert {"README.md", "data/quick/edit.parquet", "data/quick/test_combined.parquet"} <= files
    commits = hub_api().list_repo_commits(REPO, repo_type="dataset")
    assert [commit.title for commit in commits][:1] == ["CodeGenBias (quick; shares: bls-2022)"]
    assert len(commits) == 2  # the empty repository, and ours
    assert hub_api().repo_info(REPO, repo_type="dataset").private
    folder = hub_api().snapshot_download(REPO, repo_type="dataset", local_dir=tmp_path / "copy")
    loaded = datasets.load_dataset(folder, "quick", cache_dir=str(tmp_path / "cache"))
    rows = [row for part in loaded.values() for row in part]
    assert rows == [record.to_dict() for record in load_prompts("quick").records]
    assert f'load_dataset("{REPO}", "quick")' in (tmp_path / "copy/README.md").read_text()


def test_pushing_twice_changes_nothing_and_a_new_reference_does(hub_client):  # noqa: F811
    push_dataset(REPO, configs=("quick",))
    assert not push_dataset(REPO, configs=("quick",)).changed
    assert push_dataset(REPO, configs=("quick",), reference="parity").changed
    push_dataset(REPO, configs=("core",))
    files = hub_api().list_repo_files(REPO, repo_type="dataset")
    assert not [path for path in files if path.startswith("data/quick")]


def test_a_dry_run_leaves_no_trace(hub_client):  # noqa: F811
    result = push_dataset(REPO, configs=("quick",), dry_run=True)
    assert {file.action for file in result.plan.files} == {"upload"}
    assert not hub_api().repo_exists(REPO, repo_type="dataset")


def test_a_dataset_of_somebody_else_stays_as_it_is(hub_client):  # noqa: F811
    hub_client.create_repo(REPO, {"README.md": b"# Mine\n"}, kind="dataset")
    with pytest.raises(BiasEditError, match="did not write"):
        push_dataset(REPO, configs=("quick",))
    result = push_dataset(REPO, configs=("quick",), create_pr=True)
    assert result.outcome.pr_url
    assert (
        hub_api().list_repo_files(REPO, repo_type="dataset").count("data/quick/edit.parquet") == 0
    )
