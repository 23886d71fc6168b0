"""Publishing runs to the local Hub with the real client."""

from __future__ import annotations

import hashlib
import json

import pytest
from huggingface_hub import ModelCard, constants

from hfbiasedit.cards.model_card import write_card
from hfbiasedit.errors import BiasEditError, UsageError
from hfbiasedit.hub.failures import explain
from hfbiasedit.hub.layout import MANIFEST
from hfbiasedit.hub.pull import pull_model
from hfbiasedit.models.loading import load_model
from hfbiasedit.patches.patch import Patch
from hfbiasedit.publishing.patched import load_patched
from hfbiasedit.publishing.push import push
from tests.hub_server import ALICE_READ_TOKEN, ALICE_TOKEN, BOB_TOKEN
from tests.hub_server.yaml_check import front_matter, problems
from tests.publishing.runs import BASE, checkpoint_files, make_base, make_run, shard_of

REPO = "alice/edited"


def actions(result):
    return {file.path: file.action for file in result.plan.files}


def commits(repository, revision="main"):
    return [commit.title for commit in repository.history(revision)]


def test_a_model_goes_in_one_commit_and_only_the_changed_shard_travels(hub_client, run):
    result = push(run, REPO)
    repository = hub_client.repo(REPO)
    assert commits(repository) == [result.plan.message, "initial commit"]
    assert repository.head == result.outcome.commit
    files, original = repository.files(), checkpoint_files()
    touched = shard_of(original)
    for name, data in original.items():
        if name in (touched, "README.md"):
            assert files[name] != data
        else:
            assert files[name] == data
    done = actions(result)
    shards = {name for name in original if name.endswith(".safetensors")}
    assert {path for path, action in done.items() if action == "copy"} == shards - {touched}
    assert done[touched] == "upload"
    uploads = [r for r in hub_client.records if r.host == "cdn" and r.method == "PUT"]
    assert {r.received for r in uploads} == {
        len(files[touched]),
        len(files["patch/patch.safetensors"]),
    }
    assert "patch.safetensors" not in files  # servers would take it for weights
    assert {"edit.json", "audit.before.json", "figures/shares.png", MANIFEST} <= set(files)
    assert hub_client.leaks == []


def test_the_card_names_the_repository_and_the_hub_accepts_it(hub_client, run):
    push(run, REPO)
    text = hub_client.repo(REPO).files()["README.md"].decode()
    assert f'from_pretrained("{REPO}")' in text
    data = front_matter(text)
    assert problems(data) == []
    assert data["license"] == "mit"
    assert data["base_model"] in (BASE, [BASE])
    results = ModelCard(text).data.eval_results
    assert len({(r.dataset_config, r.metric_name) for r in results}) == len(results)
    assert hub_client.count("POST", "/api/validate-yaml") == 1


def test_pushing_twice_makes_no_commit(hub_client, run):
    push(run, REPO)
    repository = hub_client.repo(REPO)
    head, before = repository.head, hub_client.count("POST", "/commit/")
    again = push(run, REPO)
    assert not again.changed
    assert again.outcome is None
    assert set(actions(again).values()) == {"skip"}
    assert (repository.head, hub_client.count("POST", "/commit/")) == (head, before)


def test_a_changed_run_updates_its_own_files_and_removes_what_is_gone(hub_client, run):
    push(run, REPO)
    repository = hub_client.repo(REPO)
    repository.write({"notes.md": b"my own notes"})
    (run / "figures" / "shares.png").unlink()
    (run / "figures" / "weights.png").write_bytes(b"\x89PNG new")
    result = push(run, REPO)
    changed = {path: action for path, action in actions(result).items() if action != "skip"}
    assert changed.pop("README.md") == "upload"
    assert changed == {
        "figures/shares.png": "delete",
        "figures/weights.png": "upload",
        MANIFEST: "upload",
    }
    files = repository.files()
    assert "figures/shares.png" not in files
    assert files["notes.md"] == b"my own notes"


def test_a_patch_goes_alone(hub_client, run):
    result = push(run, REPO, what="patch")
    files = hub_client.repo(REPO).files()
    assert files["patch.safetensors"] == (run / "patch.safetensors").read_bytes()
    assert not any(name.startswith(("model", "tokenizer", "config")) for name in files)
    card = files["README.md"].decode()
    assert problems(front_matter(card)) == []
    assert f'load_patched("{REPO}")' in card
    assert result.changed
    assert not push(run, REPO, what="patch").changed


def test_an_adapter_goes_with_a_card_of_its_own_and_peft_loads_it(hub_client, base, run, tmp_path):
    import torch
    from peft import PeftModel

    push(run, REPO, what="adapter")
    files = hub_client.repo(REPO).files()
    card = files["README.md"].decode()
    data = front_matter(card)
    assert problems(data) == []
    assert (data["base_model_relation"], data["library_name"]) == ("adapter", "peft")
    served = f"vllm serve {BASE} --revision {base.head} --enable-lora --max-lora-rank 8 "
    assert f"{served}--lora-modules biasedit={REPO}\n" in card
    document = json.loads(files["adapter.json"])
    assert f"rank {document['rank']}" in card
    assert f"{document['rounded']['equal']:.1%}" in card
    assert "the scores above were measured with the patch" in card
    config = json.loads(files["adapter_config.json"])
    assert (config["base_model_name_or_path"], config["revision"]) == (BASE, base.head)
    folder = tmp_path / "adapter"
    folder.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (folder / name).write_bytes(files[name])
    adapted = PeftModel.from_pretrained(load_model(BASE).model.float(), str(folder)).eval()
    patched = load_patched(REPO).model.float()
    ids = torch.tensor([[4, 9, 200, 17]])
    with torch.no_grad():
        difference = adapted(ids).logits - patched(ids).logits
    assert difference.abs().max() < 1e-4
    assert not push(run, REPO, what="adapter").changed


def test_a_patch_does_not_replace_a_model_unasked(hub_client, run):
    push(run, REPO)
    with pytest.raises(BiasEditError, match="holds a model and this is a patch"):
        push(run, REPO, what="patch")
    push(run, REPO, what="patch", overwrite=True)
    files = hub_client.repo(REPO).files()
    assert "patch.safetensors" in files
    assert "config.json" not in files


def test_a_dry_run_changes_nothing(hub_client, run):
    result = push(run, REPO, dry_run=True)
    assert ("model", REPO) not in hub_client.repositories
    assert result.outcome is None
    assert result.plan.remote.head is None
    writing = [
        r for r in hub_client.records if r.method in ("PUT", "DELETE") or "/commit/" in r.path
    ]
    assert writing == []
    real = push(run, REPO)
    assert actions(real) == actions(result)
    document = result.to_dict()
    json.dumps(document)
    assert document["creates_repository"]
    assert document["bytes"]["copy"] > 0


def test_repositories_of_others_are_refused_unless_asked(hub_client, run):
    foreign = hub_client.create_repo(
        "alice/precious", {"weights.bin": b"1", "README.md": b"# Mine"}
    )
    with pytest.raises(BiasEditError, match=r"changed since \(README.md, weights.bin\)"):
        push(run, "alice/precious")
    result = push(run, "alice/precious", create_pr=True)
    assert result.outcome.pr_url == f"{hub_client.url}/alice/precious/discussions/1"
    assert foreign.files()["README.md"] == b"# Mine"
    assert foreign.files("refs/pr/1")["README.md"] != b"# Mine"
    push(run, "alice/precious", overwrite=True)
    assert foreign.files()["weights.bin"] == b"1"
    assert foreign.files()["README.md"] != b"# Mine"


def test_own_files_that_somebody_changed_are_not_overwritten_unasked(hub_client, run):
    push(run, REPO)
    repository = hub_client.repo(REPO)
    card = repository.files()["README.md"] + b"\nMy own words.\n"
    repository.write({"README.md": card})
    assert (run / "edit.json").is_file()
    with pytest.raises(BiasEditError, match=r"changed since \(README.md\)"):
        push(run, REPO)
    push(run, REPO, overwrite=True)
    assert repository.files()["README.md"] != card


def test_a_repository_with_only_a_licence_is_empty_enough(hub_client, run):
    hub_client.create_repo(REPO, {"README.md": b"---\nlicense: mit\n---\n"})
    assert push(run, REPO).outcome


def test_the_base_repository_only_by_pull_request(hub_client, base, run):
    with pytest.raises(BiasEditError, match="add --create-pr"):
        push(run, BASE)
    result = push(run, BASE, create_pr=True)
    touched = shard_of(checkpoint_files())
    done = actions(result)
    assert done[touched] == "upload"
    assert {a for p, a in done.items() if p.endswith(".safetensors")} == {"upload", "skip"}
    assert base.files()[touched] == checkpoint_files()[touched]
    assert base.merge(1)
    assert base.files()[touched] != checkpoint_files()[touched]


def test_a_base_that_moved_since_the_edit_is_named(hub_client, base, run, capsys):
    touched = shard_of(checkpoint_files())
    base.write({touched: checkpoint_files()[touched][:-1] + b"\x01"})
    with pytest.raises(BiasEditError, match="have changed since the edit"):
        push(run, BASE, create_pr=True)
    push(run, REPO)  # elsewhere the commit that was edited still counts
    assert f"{BASE} has moved since the edit" in capsys.readouterr().err
    other = next(n for n in checkpoint_files() if n.endswith(".safetensors") and n != touched)
    assert hub_client.repo(REPO).files()[other] == checkpoint_files()[other]


def test_the_same_pull_request_is_not_opened_twice(hub_client, run):
    foreign = hub_client.create_repo("bob/theirs", {"a.txt": b"1"})
    first = push(run, "bob/theirs", create_pr=True)
    again = push(run, "bob/theirs", create_pr=True)
    assert again.outcome.pr_url == first.outcome.pr_url
    assert len(foreign.discussions) == 1


def test_branches_and_privacy(hub_client, run):
    push(run, REPO, revision="v2", private=True)
    repository = hub_client.repo(REPO)
    assert repository.private
    assert "config.json" in repository.files("v2")
    assert "config.json" not in repository.files("main")
    hub_client.create_repo("alice/open")
    with pytest.raises(BiasEditError, match="is public"):
        push(run, "alice/open", private=True)
    with pytest.raises(BiasEditError, match="no branch 'nowhere'"):
        push(run, "alice/open", create_pr=True, revision="nowhere")


@pytest.mark.parametrize("closed", ["private", "gated"])
def test_what_its_owner_keeps_closed_is_not_made_public(hub_client, tmp_path, capsys, closed):
    base = make_base(hub_client, "alice/closed", **{closed: True})
    run = make_run(tmp_path / "run", "alice/closed", base.head)
    push(run, REPO, what="patch")
    assert hub_client.repo(REPO).private
    assert f"alice/closed is {closed}" in capsys.readouterr().err
    hub_client.create_repo("alice/open")
    push(run, "alice/open", what="patch")
    assert "is public" in capsys.readouterr().err


def test_a_check_that_fails_does_not_undo_the_commit(hub_client, run, capsys):
    repository = hub_client.create_repo(REPO)
    hub_client.fault(f"/{REPO}/tree/", skip=1, times=30, status=403)
    assert push(run, REPO, what="patch").outcome.commit == repository.head
    assert "did not let it be checked" in capsys.readouterr().err


def test_a_name_without_owner_is_ones_own(hub_client, run):
    assert push(run, "edited", what="patch").plan.repo_id == REPO


@pytest.mark.parametrize("option", [{"what": "everything"}, {"message": " "}])
def test_wrong_options(hub_client, run, option):
    with pytest.raises(UsageError):
        push(run, REPO, **option)


def test_without_duplication_everything_is_uploaded(hub_client, run, capsys):
    hub_client.duplication = False
    push(run, REPO)
    assert "they are uploaded instead" in capsys.readouterr().err
    files = hub_client.repo(REPO).files()
    original = checkpoint_files()
    assert all(
        files[n] == original[n] for n in original if n not in (shard_of(original), "README.md")
    )


def test_without_xet_hashes_nothing_is_copied(hub_client, tmp_path):
    base = make_base(hub_client, "acme/old-storage", xet=False)
    run = make_run(tmp_path / "run", "acme/old-storage", base.head)
    assert "copy" not in actions(push(run, REPO)).values()


def test_tokens_that_may_not(hub_client, run, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", ALICE_READ_TOKEN)
    with pytest.raises(BiasEditError, match="your token can only read"):
        push(run, REPO)
    assert push(run, REPO, dry_run=True).changed
    monkeypatch.setenv("HF_TOKEN", BOB_TOKEN)
    with pytest.raises(Exception) as caught:
        push(run, REPO, what="patch")
    assert "make one with the write role" in explain(caught.value)
    hub_client.create_repo(REPO)
    with pytest.raises(Exception) as caught:
        push(run, REPO, what="patch")
    assert "add --create-pr" in explain(caught.value)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(Exception) as caught:
        push(run, REPO)
    assert explain(caught.value).startswith("not logged in")


def test_a_dry_run_needs_no_login(hub_client, run, monkeypatch, capsys):
    monkeypatch.delenv("HF_TOKEN")
    assert push(run, REPO, what="patch", dry_run=True).changed
    assert "publishing will need a login" in capsys.readouterr().err
    with pytest.raises(BiasEditError, match="whose name is; name it owner/name"):
        push(run, "name", what="patch", dry_run=True)
    with pytest.raises(Exception) as caught:
        push(run, "a b/c", what="patch")
    assert explain(caught.value).startswith("not a name of a Hub repository")


def test_publishing_needs_the_network(hub_client, run, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(BiasEditError, match="publishing needs the network"):
        push(run, REPO)


@pytest.mark.parametrize("create_pr", [False, True])
@pytest.mark.parametrize("fault", [{"lose_answer": True}, {"lose_answer": True, "reset": True}])
def test_a_lost_answer_makes_no_second_commit(hub_client, run, create_pr, fault):
    repository = hub_client.create_repo(REPO)
    hub_client.fault("/commit/", method="POST", **fault)
    result = push(run, REPO, what="patch", create_pr=create_pr)
    revision = "refs/pr/1" if create_pr else "main"
    assert commits(repository, revision) == [result.plan.message, "initial commit"]
    assert result.outcome.commit == repository.commit_at(revision).oid
    assert bool(result.outcome.pr_url) == create_pr
    assert len(repository.discussions) == int(create_pr)


def test_a_commit_that_never_arrived_is_sent_again(hub_client, run, capsys):
    repository = hub_client.create_repo(REPO)
    hub_client.fault("/commit/", method="POST", drop=True)
    hub_client.fault("/commit/", method="POST", status=503)
    hub_client.fault("/commit/", method="POST", status=429, headers={"Retry-After": "0"})
    push(run, REPO, what="patch")
    assert len(commits(repository)) == 2
    said = capsys.readouterr().err
    assert "there is no commit yet" in said
    assert "rate limit of the Hub reached" in said


def test_somebody_elses_commit_in_between_is_a_conflict(hub_client, run):
    repository = hub_client.create_repo(REPO)
    hub_client.fault("/commit/", method="POST", before=lambda: repository.write({"x": b"1"}))
    with pytest.raises(BiasEditError, match="changed while this was under way"):
        push(run, REPO, what="patch")
    assert "patch.safetensors" not in repository.files()


def test_an_upload_that_breaks_off_is_repeated(hub_client, run):
    hub_client.fault("signature", method="PUT", drop=True, reset=True)
    hub_client.fault("signature", method="PUT", status=500)
    push(run, REPO, what="patch")
    stored = hub_client.repo(REPO).files()["patch.safetensors"]
    assert stored == (run / "patch.safetensors").read_bytes()


def test_a_broken_metadata_check_is_repeated(hub_client, run):
    hub_client.fault("/api/validate-yaml", body=b"<html>busy</html>", status=502)
    assert push(run, REPO, what="patch").outcome
    hub_client.fault("/api/validate-yaml", body=b"<html>login first</html>", status=200, times=9)
    with pytest.raises(BiasEditError, match="does not answer like a Hub"):
        push(run, "alice/second", what="patch")


def test_metadata_that_the_hub_refuses_is_explained(hub_client, run):
    (run / "README.md").write_text("---\nlicense: do-what-you-like\n---\nMy card\n")
    with pytest.raises(ValueError) as caught:
        push(run, REPO, what="patch")
    assert "does not accept the metadata of the card" in explain(caught.value)
    assert "do-what-you-like" in explain(caught.value)


def test_a_card_of_ones_own_is_kept(hub_client, run, capsys):
    write_card(run)
    push(run, "alice/first", what="patch")  # a card that was only rendered is made anew
    assert b"alice/first" in hub_client.repo("alice/first").files()["README.md"]
    (run / "README.md").write_text("---\nlicense: mit\n---\nMy card\n")
    push(run, REPO, what="patch")
    assert "README.md" in capsys.readouterr().err
    assert hub_client.repo(REPO).files()["README.md"].endswith(b"My card\n")


def test_damaged_weights_are_not_published(hub_client, base, run):
    touched = shard_of(checkpoint_files())
    blob = (pull_model(BASE).path / touched).resolve()
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)
    with pytest.raises(BiasEditError, match=f"{touched} of {BASE} is damaged in the cache"):
        push(run, REPO)
    assert ("model", REPO) not in hub_client.repositories


def test_a_local_base_and_one_that_is_gone(hub_client, tmp_path):
    folder = tmp_path / "local-model"
    folder.mkdir()
    for name, data in checkpoint_files().items():
        (folder / name).write_bytes(data)
    run = make_run(tmp_path / "run", str(folder))
    assert push(run, REPO).outcome
    card = hub_client.repo(REPO).files()["README.md"].decode()
    assert problems(front_matter(card)) == []
    published = hub_client.repo(REPO).files()
    for name, data in published.items():
        assert str(tmp_path).encode() not in data, name
    edit = json.loads(published["edit.json"])
    assert edit["model"]["id"] == "local-model"
    patch = published["patch/patch.safetensors"]
    assert edit["patch"]["sha256"] == hashlib.sha256(patch).hexdigest()
    (tmp_path / "published.safetensors").write_bytes(patch)
    assert Patch.load(tmp_path / "published.safetensors").digest == edit["patch"]["digest"]
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(BiasEditError, match="name it with --base"):
        push(run, "alice/second")
    assert push(run, "alice/second", base=tmp_path / "elsewhere").outcome


def test_a_token_in_a_file_is_not_published(hub_client, run):
    edit = json.loads((run / "edit.json").read_text())
    edit["command"] += f" --token {ALICE_TOKEN}"
    (run / "edit.json").write_text(json.dumps(edit))
    with pytest.raises(BiasEditError, match="holds your Hub token"):
        push(run, REPO, what="patch")


def test_a_file_hidden_by_gitignore_is_reported(hub_client, run, capsys):
    hub_client.create_repo(REPO).ignored.add("edit.json")
    push(run, REPO, what="patch")
    said = capsys.readouterr().err
    assert "not in the repository" in said
    assert "edit.json" in said
    assert "edit.json" not in hub_client.repo(REPO).files()
