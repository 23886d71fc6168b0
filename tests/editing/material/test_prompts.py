"""What an edit learns from, and that none of it is what it is chosen or judged by."""

from hfbiasedit.codegenbias.configs import VERSION
from hfbiasedit.codegenbias.templates import load_practice, load_templates
from hfbiasedit.editing.config import LocateConfig
from hfbiasedit.editing.material.prompts import gather_practice, gather_prompts
from tests.editing import worlds

PRACTISED = {row.id for row in load_practice()}


def model():
    return worlds.loaded(max_position_embeddings=512)


def gathered(split, limit=200, version=VERSION, **options):
    found = gather_prompts(model(), LocateConfig(**options), split, limit, version)
    return {record.template for record in found.records}


def practised(limit=200, version=VERSION, **options):
    return gather_practice(model(), LocateConfig(**options), limit, version).records


def test_templates_to_practise_with_are_a_set_of_their_own():
    edit = {row.id for row in load_templates() if row.role == "edit"}
    assert gathered("edit") == edit
    assert not gathered("dev") & PRACTISED
    found = practised(250)
    assert len(found) == 250
    assert {record.template for record in found} == PRACTISED
    assert {record.profession for record in practised(7, professions=["nurse"])} == {"nurse"}
    assert not practised(0)


def test_earlier_versions_and_own_prompts_do_without_them(tmp_path):
    assert not practised(version=1)
    path = tmp_path / "own.jsonl"
    row = '{"prompt": "%s = \\"", "profession": "nurse", "male": ["he"], "female": ["she"], "split": "edit"}\n'
    path.write_text("".join(row % name for name in ("a", "b")))
    assert not practised(prompts=str(path))
    assert gathered("edit", prompts=str(path)) == {"custom"}
