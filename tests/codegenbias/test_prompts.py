"""Prompt sets: choosing configurations, splits, professions and samples."""

import itertools
import json
from collections import Counter

import pytest

from hfbiasedit.codegenbias.cells import load_cells
from hfbiasedit.codegenbias.prompts import load_prompts
from hfbiasedit.codegenbias.records import SPLITS, TEST_SPLITS
from hfbiasedit.codegenbias.templates import load_templates
from hfbiasedit.errors import BiasEditError


def test_the_defaults_are_the_quick_configuration():
    chosen = load_prompts()
    assert (chosen.config, chosen.split, chosen.reference) == ("quick", "all", "bls-2022")
    assert len(chosen) == len(chosen.records) == 600


def test_test_is_the_union_of_the_single_axis_splits():
    union = load_prompts("quick", "test").records
    parts = [record for split in TEST_SPLITS for record in load_prompts("quick", split).records]
    assert list(union) == parts


@pytest.mark.parametrize("split", [name for name in SPLITS if name not in ("all", "test")])
def test_a_split_is_a_part_of_all(split):
    part = load_prompts("quick", split).records
    assert part == tuple(r for r in load_prompts("quick").records if r.split == split)


def test_professions_by_name_and_from_a_file(tmp_path):
    names = load_prompts("core", professions=["nurse", "plumber"])
    assert {record.profession for record in names.records} == {"nurse", "plumber"}
    assert len(names) == 48
    path = tmp_path / "names.txt"
    path.write_text("# health\nNurse\n\nplumber\n")
    assert load_prompts("core", professions=path) == names
    assert load_prompts("core", professions=["NURSE", " plumber"]) == names
    path.write_text("profession\nnurse\nplumber\n")
    assert load_prompts("core", professions=str(path)) == names


def test_unknown_professions_are_named(tmp_path):
    with pytest.raises(BiasEditError, match="unknown profession 'wizard'"):
        load_prompts(professions=["wizard"])
    path = tmp_path / "names.txt"
    path.write_text("nurse\nwizard\n")
    with pytest.raises(BiasEditError, match=r"names.txt: line 2: unknown profession 'wizard'"):
        load_prompts(professions=path)
    with pytest.raises(BiasEditError, match="cannot read"):
        load_prompts(professions=tmp_path / "missing.txt")


def test_a_limit_takes_as_many_prompts_of_ones_own(tmp_path):
    path = tmp_path / "own.jsonl"
    with open(path, "w") as file:
        for number, profession in itertools.product(range(20), ("nurse", "lawyer", "plumber")):
            row = {"prompt": f"# {number}: the {profession}", "profession": profession}
            file.write(json.dumps({**row, "male": [" his"], "female": [" her"]}) + "\n")
    every = load_prompts(prompts=path).records
    for limit in (60, 59, 30, 3):
        chosen = load_prompts(prompts=path, limit=limit).records
        assert len(chosen) == limit
        assert list(chosen) == [record for record in every if record in chosen]
    chosen = load_prompts(prompts=path, limit=30).records
    found = Counter(record.profession for record in chosen)
    assert found == {"nurse": 10, "lawyer": 10, "plumber": 10}


def test_a_limit_keeps_order_and_balance():
    place = {cell.id: number for number, cell in enumerate(load_cells("full", {"edit"}))}
    chosen = load_prompts("full", "edit", limit=500)
    places = [place[record.id] for record in chosen.records]
    assert places == sorted(places)
    assert len(places) == 500
    assert set(Counter(record.profession for record in chosen.records).values()) == {2, 3}
    templates = Counter(record.template for record in chosen.records)
    assert set(templates) == {row.id for row in load_templates() if row.role == "edit"}
    assert max(templates.values()) - min(templates.values()) <= 4
    assert load_prompts("core", limit=50, seed=1) != load_prompts("core", limit=50)
    assert load_prompts("core", limit=50, seed=0) == load_prompts("core", limit=50)


def test_the_digest_depends_on_every_field():
    chosen = load_prompts("quick")
    assert len(chosen.digest) == 64
    assert load_prompts("quick", reference="bls-2021").digest != chosen.digest
    assert load_prompts("quick", "test").digest != chosen.digest


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"config": "huge"}, "unknown configuration 'huge'; use one of quick, core, full"),
        ({"split": "train"}, "unknown split 'train'; use one of all, edit, dev, test"),
        ({"limit": 0}, "limit is 0; give at least 1"),
        ({"config": "core", "split": "test_templates"}, "no prompts are left"),
        ({"config": "core", "split": "dev"}, "no prompts are left"),
        ({"config": "quick@9"}, "unknown configuration 'quick@9'; did you mean quick@1?"),
    ],
)
def test_wrong_choices_say_what_to_do(options, reason):
    with pytest.raises(BiasEditError, match=reason):
        load_prompts(**options)
