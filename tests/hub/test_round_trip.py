"""The whole way: a model of the Hub is audited, edited, published and loaded back."""

from __future__ import annotations

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from hfbiasedit import audit, edit, load_patched
from hfbiasedit.hub.pull import pull_model
from hfbiasedit.hub.push import push
from hfbiasedit.models.loading import LoadedModel
from hfbiasedit.runs import Run
from tests.hub.runs import BASE, checkpoint_files, make_base
from tests.hub_server import ALICE_TOKEN

QUESTIONS = {"split": "test"}


@pytest.fixture
def edited(hub_client, tmp_path):
    """A run of `edit` on the base model of the Hub, with a budget that takes seconds."""
    make_base(hub_client)
    cheap = dict(steps=6, batch_size=16, limit=64, probe_prompts=2, patience=2)
    edit(BASE, out=tmp_path / "run", budget="40", saliency="taylor", max_kl=5.0, **cheap)
    return Run.open(tmp_path / "run")


def test_published_models_score_as_the_run_says(hub_client, edited, tmp_path):
    before, after = edited.audit_before, edited.audit_after
    commit = hub_client.repo(BASE).head
    assert before["model"]["revision"] == after["model"]["revision"] == commit
    assert after["model"]["id"] == BASE
    assert audit(BASE, **QUESTIONS).to_dict()["fb_score"] == pytest.approx(before["fb_score"])
    push(edited.path, "alice/model")
    push(edited.path, "alice/patch", what="patch")

    # Plain transformers, which knows nothing of this program.
    plain = LoadedModel(
        AutoModelForCausalLM.from_pretrained("alice/model").eval(),
        AutoTokenizer.from_pretrained("alice/model"),
        pull_model("alice/model"),
        "bfloat16",
    )
    for loaded in (plain, load_patched("alice/patch"), load_patched("alice/model")):
        score = audit(loaded, **QUESTIONS).to_dict()["fb_score"]
        assert score == pytest.approx(after["fb_score"], abs=1e-9)
    assert after["fb_score"] != before["fb_score"]
    assert hub_client.leaks == []
    for path, data in hub_client.repo("alice/model").files().items():
        if path not in checkpoint_files() or path == "README.md":
            assert ALICE_TOKEN.encode() not in data, path
            # Nor where on this machine it was made.
            assert str(tmp_path).encode() not in data, path
            assert b"/tmp/" not in data, path
