"""A run in which one file belongs to another run is refused in a line that names it."""

from __future__ import annotations

import copy

import pytest

from hfbiasedit.cards.model_card import render_card
from hfbiasedit.documents import runs
from hfbiasedit.documents.reading import open_documents
from hfbiasedit.errors import BiasEditError
from hfbiasedit.publishing.push import push
from hfbiasedit.reports.html import write_report
from tests.publishing.runs import patch_of
from tests.reports import fixtures

OTHER = "cd" * 32


@pytest.fixture
def made():
    return fixtures.documents(12)


def set_digests(made, **digests):
    for key, document in made.items():
        document["model"]["digest"] = digests.get(key, "sha256:" + "12" * 32)


CHANGES = {
    "other id": (lambda m: m["before"]["model"].update(id="acme/other"), runs.AUDIT_BEFORE),
    "other commit": (lambda m: m["after"]["model"].update(revision="1" * 40), runs.AUDIT_AFTER),
    "other dtype": (lambda m: m["after"]["model"].update(dtype="float32"), runs.AUDIT_AFTER),
    "patched before": (lambda m: m["before"].update(patch=OTHER), runs.AUDIT_BEFORE),
    "other patch": (lambda m: m["after"].update(patch=OTHER), runs.AUDIT_AFTER),
    "no patch": (lambda m: m["after"].update(patch=None), runs.AUDIT_AFTER),
    "other prompts": (lambda m: m["after"].update(prompts_digest=OTHER), runs.AUDIT_AFTER),
    "other split": (lambda m: m["after"]["dataset"].update(split="dev"), runs.AUDIT_AFTER),
    "not the edit's prompts": (lambda m: m["edit"].update(prompts_digest=OTHER), runs.AUDIT_BEFORE),
    "other weights": (lambda m: set_digests(m, after="sha256:" + OTHER), runs.AUDIT_AFTER),
    "ability of other weights": (lambda m: set_digests(m, ability="a/b@" + "1" * 40), runs.ABILITY),
    "ability of another id": (lambda m: m["ability"]["model"].update(id="a/b"), runs.ABILITY),
    "ability of another patch": (lambda m: m["ability"].update(patch=OTHER), runs.ABILITY),
    "quantised after": (
        lambda m: m["after"]["model"].update(quantization="int4"),
        runs.AUDIT_AFTER,
    ),
    "asked in a chat": (
        lambda m: m["before"].update(chat={"request": "", "opening": ""}),
        runs.AUDIT_BEFORE,
    ),
    "ability of rounded weights": (
        lambda m: m["ability"]["model"].update(quantization="int8"),
        runs.ABILITY,
    ),
    "ready-made samples": (lambda m: m["ability"].update(model=None), runs.ABILITY),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize(
    "use", [render_card, write_report, open_documents, lambda run: push(run, "me/x")]
)
def test_a_mixture_is_refused_everywhere(tmp_path, made, name, use):
    change, file = CHANGES[name]
    change(made)
    run = fixtures.write_run(tmp_path / "run", made)
    with pytest.raises(BiasEditError, match=file.replace(".", r"\.")) as caught:
        use(run)
    assert "\n" not in str(caught.value)
    assert not (run / runs.REPORT).exists()


def test_what_belongs_together_is_taken(tmp_path, made):
    assert open_documents(fixtures.write_run(tmp_path / "old", made)).edit == made["edit"]
    set_digests(made)
    made["edit"]["prompts_digest"] = made["before"]["prompts_digest"]
    # The same weights under another path, and another dtype for what is no score.
    made["ability"]["model"].update(id="elsewhere/coder", revision=None, dtype="float32")
    assert open_documents(fixtures.write_run(tmp_path / "new", made)).ability == made["ability"]
    made["ability"]["patch"] = None  # of the original alone
    assert open_documents(fixtures.write_run(tmp_path / "half", made)).ability


CONTRADICTIONS = {
    "score": (lambda m: m["after"].update(fb_score=1.23), r"audit\.after\.json .* edit\.json"),
    "score before": (lambda m: m["before"].update(fb_score=99.0), r"audit\.before.* edit\.json"),
    "few weights": (lambda m: _counted(m, 2), r"edit\.json counts 2 .* patch\.safetensors holds"),
    "many weights": (lambda m: _counted(m, 10**6), r"edit\.json .* patch\.safetensors holds"),
    "sum": (lambda m: m["edit"]["edited"].update(weights=3), r"edit\.json .* in its layers"),
    "held": (lambda m: m["edit"]["patch"].update(weights=7), r"edit\.json .* patch\.safetensors"),
    "tensors": (lambda m: m["edit"]["patch"].update(tensors=2), r"edit\.json .* patch\.safete"),
    "granularity": (lambda m: m["edit"].update(granularity="neuron"), "neuron, and patch.* of row"),
}


def _counted(made, weights):
    layers = [{"layer": 1, "weights": weights, "share": 1.0}]
    made["edit"]["edited"].update(weights=weights, by_layer=layers)


def _with_patch(made):
    """A real patch, of three rows, that the documents tell of."""
    made["edit"]["prompts_digest"] = made["before"]["prompts_digest"]
    patch = patch_of("acme/tiny-coder", None)
    made["edit"]["patch"].update(tensors=1, weights=patch.weights)
    _counted(made, patch.weights - 1)
    return patch


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_numbers_that_contradict_each_other_are_refused(tmp_path, made, name):
    patch = _with_patch(made)
    change, words = CONTRADICTIONS[name]
    change(made)
    run = fixtures.write_run(tmp_path / "run", made)
    patch.save(run / runs.PATCH)
    with pytest.raises(BiasEditError, match=words) as caught:
        open_documents(run)
    assert "\n" not in str(caught.value)


def test_numbers_that_agree_are_taken_and_so_are_rounded_and_older_ones(tmp_path, made):
    patch = _with_patch(made)
    made["after"]["fb_score"] += 0.0004
    run = fixtures.write_run(tmp_path / "run", made)
    patch.save(run / runs.PATCH)
    assert open_documents(run).edit == made["edit"]
    # Once the prompts of the edit's splits could be others than those of the audits.
    del made["edit"]["prompts_digest"], made["edit"]["edited"]
    made["after"]["fb_score"] += 1
    assert open_documents(fixtures.write_run(tmp_path / "old", made)).after == made["after"]


@pytest.mark.parametrize("content", [b"another size", b"Not opened"])
def test_a_replaced_patch_is_refused(tmp_path, made, content):
    run = fixtures.write_run(tmp_path / "run", made)
    assert render_card(run)
    (run / runs.PATCH).write_bytes(content)
    for use in (render_card, lambda run: push(run, "me/x")):
        with pytest.raises(BiasEditError, match=r"patch\.safetensors is not the patch"):
            use(run)


def test_an_audit_takes_no_ability_of_another_model(tmp_path, made):
    folder = fixtures.write_audit(tmp_path / "audit", made["before"])
    ability = copy.deepcopy(made["ability"])
    for change, reason in (
        ({"patch": fixtures.PATCH_DIGEST}, "another patch"),
        ({"patch": None, "model": {**ability["model"], "id": "a/b"}}, "another model"),
        (
            {"patch": None, "model": {**ability["model"], "quantization": "int4"}},
            r"weights that are quantised \(int4\), the audit's are not quantised",
        ),
    ):
        fixtures.write_ability(folder, {**ability, **change})
        with pytest.raises(BiasEditError, match=rf"ability\.json is of {reason}"):
            open_documents(folder)
    fixtures.write_ability(folder, {**ability, "patch": None})
    assert open_documents(folder).ability
