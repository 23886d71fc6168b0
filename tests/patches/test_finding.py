"""Every door takes a patch as a file, as a directory that holds one, or by its Hub id."""

from __future__ import annotations

import shutil

import pytest

from hfbiasedit.errors import BiasEditError
from hfbiasedit.hub import layout
from hfbiasedit.patches.finding import find_patch, local_patch
from hfbiasedit.patches.loading import with_patch
from tests.hub_server.fixtures import hub, hub_client  # noqa: F401
from tests.publishing.runs import BASE, EDITED, make_base, make_run


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")


def test_files_and_directories(run, tmp_path, monkeypatch):
    file = run / "patch.safetensors"
    beside = tmp_path / "model" / layout.PATCH_BESIDE_MODEL
    beside.parent.mkdir(parents=True)
    shutil.copy(file, beside)
    assert find_patch(file) == find_patch(run) == find_patch(str(run)) == file
    assert find_patch(tmp_path / "model") == beside
    monkeypatch.chdir(tmp_path)
    assert find_patch("run").samefile(file)
    assert local_patch("nowhere") is None


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_is_said_to_be_one(run, monkeypatch, name):
    monkeypatch.chdir(run)  # which holds a patch
    with pytest.raises(BiasEditError, match="the name of the patch is empty"):
        find_patch(name)


def test_a_repository_and_its_revision(hub_client, run):  # noqa: F811
    first = (run / "patch.safetensors").read_bytes()
    repository = hub_client.create_repo("alice/fix", {"patch.safetensors": first})
    old = repository.head
    repository.write({"patch.safetensors": b"something else"})
    assert find_patch(f"alice/fix@{old}").read_bytes() == first
    assert find_patch("alice/fix", old).read_bytes() == first
    assert find_patch("alice/fix").read_bytes() == b"something else"


@pytest.mark.parametrize("name", ["none.safetensors", "a/none.safetensors", "./no/where", "one"])
def test_what_is_no_patch_gets_one_line(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BiasEditError, match=f"no patch at {name}; give a patch file"):
        find_patch(name)


def test_a_directory_without_one(tmp_path):
    with pytest.raises(BiasEditError, match="holds no patch.safetensors"):
        find_patch(tmp_path)


def test_audit_and_ability_take_a_run_directory(hub_client, run):  # noqa: F811
    from hfbiasedit.abilities.measurement import measure_ability
    from hfbiasedit.audits.auditor import audit
    from hfbiasedit.models.loading import load_model
    from hfbiasedit.patches.patch import Patch

    make_base(hub_client)
    digest = Patch.load(run / "patch.safetensors").digest
    assert audit(BASE, patch=run, limit=6).to_dict()["patch"] == digest
    assert measure_ability(BASE, tasks=("syntax",), patch=run)["patch"] == digest
    loaded = load_model(BASE)
    before = loaded.model.get_parameter(EDITED).clone()
    assert not with_patch(loaded, run).model.get_parameter(EDITED).equal(before)
