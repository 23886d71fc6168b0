"""What an edit learns from, and that none of it is what it is chosen or judged by."""

from hfbiasedit.codegenbias.templates import load_practice, load_templates
from hfbiasedit.editing.config import LocateConfig
from hfbiasedit.editing.material.prompts import gather_prompts
from tests.editing import worlds

PRACTISED = {row.id for row in load_practice()}


def gathered(split, limit=200, **options):
    config = LocateConfig(**options.pop("config", {}))
    model = worlds.loaded(max_position_embeddings=512)
    return gather_prompts(model, config, split, limit, **options).records


def templates(records):
    return {record.template for record in records}


def test_half_of_what_an_edit_learns_from_is_templates_to_practise_with():
    edit = {row.id for row in load_templates() if row.role == "edit"}
    names = [record.template for record in gathered("edit", 200)]
    assert len(names) == 200
    assert len([name for name in names if name in PRACTISED]) == 100
    assert set(names) <= edit | PRACTISED
    assert len(gathered("edit", 1)) == 1
    assert len(gathered("edit", 200, config={"limit": 7})) == 7


def test_what_chooses_and_earlier_versions_do_without_them():
    assert not templates(gathered("dev")) & PRACTISED
    assert not templates(gathered("edit", version=1)) & PRACTISED


def test_own_prompts_are_all_that_is_learnt_from(tmp_path):
    path = tmp_path / "own.jsonl"
    row = '{"prompt": "%s = \\"", "profession": "nurse", "male": ["he"], "female": ["she"], "split": "edit"}\n'
    path.write_text("".join(row % name for name in ("a", "b")))
    assert templates(gathered("edit", config={"prompts": str(path)})) == {"custom"}
