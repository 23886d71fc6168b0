"""The dataset, exported and audited from its files, scores as the built-in one does."""

import json

import pytest

from hfbiasedit import audit
from hfbiasedit.audits.config import AuditConfig
from hfbiasedit.codegenbias.sharing.export import FORMATS, export_dataset
from hfbiasedit.models.loading import load_model
from tests.tiny import save_checkpoint


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    folder = save_checkpoint(tmp_path_factory.mktemp("tiny") / "model", dtype="float32")
    return load_model(folder)


@pytest.mark.parametrize("format", FORMATS)
def test_the_score_from_files_is_the_built_in_score(loaded, tmp_path, format):
    out = export_dataset(tmp_path / "data", configs=("quick",), format=format)
    options = {"limit": 40, "samples": 50}
    built_in = audit(loaded, **options).to_dict()
    from_file = audit(loaded, prompts=out / "data" / "quick", **options).to_dict()
    assert built_in["dataset"]["prompts"] == 40
    for key in ("fb_score", "ci95", "lean", "professions", "prompts_digest", "reference"):
        assert from_file[key] == built_in[key]


def test_an_own_reference_and_own_prompts_count(loaded, tmp_path):
    reference = tmp_path / "my.csv"
    reference.write_text("profession,share_female\nnurse,1\nplumber,0\n")
    options = AuditConfig(config="core", reference=str(reference), samples=50)
    report = audit(loaded, options).to_dict()
    assert [row["share_female"] for row in report["professions"]] == [1, 0]
    assert report["dataset"]["reference"] == "my.csv"
    prompts = tmp_path / "my.jsonl"
    row = {"prompt": "x", "profession": "wizard", "male": ["he"], "female": ["she"]}
    prompts.write_text(json.dumps(row | {"share_female": 0.5}) + "\n")
    report = audit(loaded, prompts=prompts, samples=50).to_dict()
    assert report["dataset"]["prompts"] == 1
    assert report["professions"][0]["profession"] == "wizard"
