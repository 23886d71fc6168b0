"""What an edit works on: which prompts, how many, from where."""

from hfbiasedit.codegenbias.templates import load_practice, load_templates
from hfbiasedit.editing.config import EditConfig
from hfbiasedit.editing.material import gathering
from hfbiasedit.editing.material.prompts import Prompts
from tests.editing import worlds

PRACTISED = {row.id for row in load_practice()}
ROLES = {row.id: row.role for row in load_templates()}


def _gathered(monkeypatch, **options):
    for name, count in (("EDIT_PROMPTS", 20), ("MORE_PROMPTS", 30), ("DEV_PROMPTS", 9)):
        monkeypatch.setattr(gathering, name, count)
    monkeypatch.setattr(gathering, "load_anchor", lambda _: worlds.anchor())
    loaded = worlds.loaded(max_position_embeddings=512)
    return gathering.gather(loaded, EditConfig(granularity="row", **options))


def test_every_part_has_its_own_templates_and_size(monkeypatch):
    found = _gathered(monkeypatch)
    records = found.prompts.records
    assert (len(found.train), len(found.dev), len(found.more), len(found.practice)) == (
        20, 9, 30, 30,
    )  # fmt: skip
    assert {ROLES[records[number].template] for number in found.train} == {"edit"}
    assert {ROLES[records[number].template] for number in found.dev} == {"dev"}
    assert {ROLES[record.template] for record in found.more.records} == {"edit"}
    assert {record.template for record in found.practice.records} <= PRACTISED
    # Measured when they are learnt from, if they are.
    assert not found.more.log_mass
    assert not found.practice.log_mass
    known = found.digest
    found.practice = Prompts((), [])
    assert found.digest != known


def test_few_prompts_leave_nothing_to_practise_with(monkeypatch):
    found = _gathered(monkeypatch, limit=15)
    assert (len(found.train), len(found.more), len(found.practice)) == (15, 0, 0)
