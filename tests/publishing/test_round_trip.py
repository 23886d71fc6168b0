"""The whole way: a model of the Hub is audited, edited, published and loaded back."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from hfbiasedit import audit, edit, load_patched
from hfbiasedit.codegenbias.professions import load_professions
from hfbiasedit.documents.runs import Run
from hfbiasedit.hub.pull import pull_model
from hfbiasedit.models.loading import LoadedModel
from hfbiasedit.publishing.push import push
from tests.hub_server import ALICE_TOKEN
from tests.publishing.runs import BASE, checkpoint_files, make_base


@pytest.fixture
def edited(hub_client, tmp_path, monkeypatch):
    """A run of `edit` on the base model of the Hub with few prompts, and the file that chose them."""
    make_base(hub_client)
    names = [row.profession for row in load_professions()[::6]]
    monkeypatch.chdir(tmp_path)
    few = Path("professions.txt")
    few.write_text("\n".join(names))
    cheap = dict(steps=6, batch_size=16, limit=128, probe_prompts=2, patience=2, professions=few)
    cheap["seed"] = 1  # of random weights and few prompts it is luck whether dev gets better
    edit(BASE, out=tmp_path / "run", budget="40", saliency="taylor", max_kl=5.0, **cheap)
    return Run.open(tmp_path / "run"), {"split": "test", "professions": few}


def test_published_models_score_as_the_run_says(hub_client, edited, tmp_path):
    run, questions = edited
    before, after = run.audit_before, run.audit_after
    commit = hub_client.repo(BASE).head
    assert before["model"]["revision"] == after["model"]["revision"] == commit
    assert after["model"]["id"] == BASE
    assert audit(BASE, **questions).to_dict()["fb_score"] == pytest.approx(before["fb_score"])
    push(run.path, "alice/model")
    push(run.path, "alice/patch", what="patch")

    # Plain transformers, which knows nothing of this program.
    plain = LoadedModel(
        AutoModelForCausalLM.from_pretrained("alice/model").eval(),
        AutoTokenizer.from_pretrained("alice/model"),
        pull_model("alice/model"),
        "bfloat16",
    )
    for loaded in (plain, load_patched("alice/patch"), load_patched("alice/model")):
        score = audit(loaded, **questions).to_dict()["fb_score"]
        assert score == pytest.approx(after["fb_score"], abs=1e-9)
    assert after["fb_score"] != before["fb_score"]
    assert hub_client.leaks == []
    for path, data in hub_client.repo("alice/model").files().items():
        if path not in checkpoint_files() or path == "README.md":
            assert ALICE_TOKEN.encode() not in data, path
            # Nor where on this machine it was made.
            assert str(tmp_path).encode() not in data, path
            assert b"/tmp/" not in data, path
