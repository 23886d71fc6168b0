"""Nothing that is held out may be seen while editing; and every machine agrees on what that is."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfbiasedit.codegenbias import splits
from hfbiasedit.codegenbias.cells import Cell, load_cells, render
from hfbiasedit.codegenbias.configs import CONFIGS
from hfbiasedit.codegenbias.modifiers import load_modifiers
from hfbiasedit.codegenbias.professions import load_professions
from hfbiasedit.codegenbias.prompts import load_prompts
from hfbiasedit.codegenbias.records import RECORD_SPLITS
from hfbiasedit.codegenbias.references import bls_shares, load_reference
from hfbiasedit.codegenbias.sampling import balanced_sample
from hfbiasedit.codegenbias.templates import fillings, load_templates

ROOT = Path(__file__).parents[2]
AXES = ("profession", "template", "modifier")
# The whole grid as (profession, template, modifier, split): its texts are too many for a test.
GRID = [(*cell.axes(), cell.split) for cell in load_cells("full", RECORD_SPLITS)]
SPLIT_OF = {cell[:3]: cell[3] for cell in GRID}
RECORDS = {config: load_prompts(config).records for config in ("quick", "core")}
CELLS = {"full": GRID} | {
    config: [(r.profession, r.template, r.modifier, r.split) for r in records]
    for config, records in RECORDS.items()
}
# Pinned: a change of data or code that moves them is a new version of the dataset.
DIGESTS = {
    "quick": "97703b095607858d8702107f89b2d91587a1c36942fd7dfd1652682c39e7147b",
    "core": "5541d8988a52467bbf9a8f28db51d8f63e674fcdc147f0c9207acb9efa69cf61",
    "quick@1": "c6af6177c93a3e3cc1700e170373fb494a072cce20e20392be613cbd100041d3",
    "core@1": "36578922307c596cf901b2047d0bebd1ba848e37943028891d5fc38cdf8c54ef",
    "full@1": "5e88c9fe7279dc9869fca6320eb4cf335a3b0b7815905ea6527a56ff3e0eb5ef",
}


def values(cells, axis):
    return {cell[AXES.index(axis)] for cell in cells}


def of(split, cells=GRID):
    return [cell for cell in cells if cell[3] == split]


def roles(version=2):
    return Counter(row.role for row in load_templates(version))


# Professions of both sides of the split, few enough for long ways.
PART = [row.profession for row in load_professions()][::6]
SEEN = {axis: values(of("edit"), axis) for axis in AXES}


def test_counts_follow_from_the_axes():
    edit, dev, test = (roles()[role] for role in ("edit", "dev", "test"))
    assert Counter(cell[3] for cell in GRID) == {
        "edit": edit * 246 * 18,
        "dev": dev * 246 * 18,
        "test_modifiers": edit * 246 * 6,
        "test_templates": test * 246 * 18,
        "test_professions": edit * 69 * 18,
        "test_combined": edit * 69 * 6 + test * (315 * 24 - 246 * 18),
    }
    assert len(SPLIT_OF) == len(GRID)
    assert Counter(record.split for record in RECORDS["core"]) == {
        "edit": 246 * 18,
        "test_modifiers": 246 * 6,
        "test_professions": 69 * 18,
        "test_combined": 69 * 6,
    }


def test_quick_meets_every_template_of_a_split_and_every_profession():
    quick = CELLS["quick"]
    assert Counter(cell[3] for cell in quick) == {
        "edit": 184,
        "dev": 60,
        "test_modifiers": 86,
        "test_templates": 134,
        "test_professions": 86,
        "test_combined": 50,
    }
    assert values(quick, "profession") == {row.profession for row in load_professions()}
    assert values(quick, "modifier") == {row.modifier for row in load_modifiers()}
    for split in set(RECORD_SPLITS) - {"test_combined"}:
        found = Counter(cell[1] for cell in of(split, quick))
        assert set(found) == values(of(split), "template"), split
        assert max(found.values()) - min(found.values()) <= 1
    assert len(values(of("test_combined", quick), "template")) >= 30


def test_version_1_is_what_it_was():
    chosen = load_prompts("full@1")
    assert (chosen.config, chosen.version) == ("full@1", 1)
    assert Counter(record.split for record in chosen.records) == {
        "edit": 53178,
        "dev": 13242,
        "test_modifiers": 22140,
        "test_templates": 39852,
        "test_professions": 18630,
        "test_combined": 34398,
    }
    assert chosen.digest == DIGESTS["full@1"]


def test_both_versions_agree_on_who_is_unseen():
    old = load_prompts("core@1").records
    new = {cell[:3]: cell[3] for cell in CELLS["core"]}
    for record in old:
        split = new[record.profession, record.template, record.modifier]
        assert split == record.split.replace("dev", "edit")
    assert {r.prompt for r in old} == {r.prompt for r in RECORDS["core"]}
    role = {row.id: row.role for row in load_templates()}
    for row in load_templates(1):
        if row.role == "test":
            assert role[row.id] == "test"
        else:
            assert role[row.id] in ("edit", "dev")


def test_the_documentation_gives_these_counts():
    text = (ROOT / "docs" / "codegenbias.md").read_text(encoding="utf-8")
    for config, cells in CELLS.items():
        counts = Counter(cell[3] for cell in cells)
        row = [f"{counts[split]:,}" for split in RECORD_SPLITS]
        assert f"| `{config}` | {' | '.join(row)} | {len(cells):,} |" in text
    held_out = splits.held_out_professions()
    shares = load_reference("bls-2022").shares
    tenths = Counter(min(int(shares[name] * 10), 9) for name in held_out)
    assert f"held out | {' | '.join(str(tenths[n]) for n in range(10))} |" in text
    for word in splits.held_out_modifiers():
        assert f"`{word}`" in text


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("axis", AXES)
def test_nothing_held_out_on_an_axis_is_seen_while_editing(config, axis):
    cells = CELLS[config]
    seen = values(of("edit", cells) + of("dev", cells), axis)
    held_out = values(of(f"test_{axis}s", cells), axis)
    assert not seen & held_out
    for other in AXES:  # the other two axes are seen: the split isolates one
        if other != axis:
            assert values(of(f"test_{axis}s", cells), other) <= SEEN[other]


def test_dev_has_templates_of_its_own():
    others = {cell[1] for cell in GRID if cell[3] != "dev"}
    assert not values(of("dev"), "template") & others
    assert values(of("dev"), "profession") == SEEN["profession"]
    assert values(of("dev"), "modifier") == SEEN["modifier"]


@given(
    config=st.sampled_from(CONFIGS),
    limit=st.integers(1, 2000),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=5, deadline=None)
def test_no_sample_leaks(config, limit, seed):
    edit = load_prompts(config, "edit", limit=limit, seed=seed).records
    test = load_prompts(config, "test", limit=limit, seed=seed).records
    assert not {record.id for record in edit} & {record.id for record in test}
    for record in test:
        axis = record.split.removeprefix("test_").removesuffix("s")
        assert getattr(record, axis) not in {getattr(other, axis) for other in edit}
        assert SPLIT_OF[record.profession, record.template, record.modifier] == record.split


@given(
    splits_=st.sets(st.sampled_from(RECORD_SPLITS), min_size=1),
    limit=st.integers(1, 1500),
    seed=st.integers(0, 99),
)
@settings(max_examples=8, deadline=None)
def test_a_sample_of_the_grid_is_the_sample_of_its_list(splits_, limit, seed):
    """The short way to a sample against the long one, which makes every cell."""
    short = load_cells("full", splits_, limit=limit, seed=seed, professions=PART)
    cells = load_cells("full", splits_, professions=PART)
    assert short == balanced_sample(cells, limit, seed, Cell.axes)


def test_a_combined_cell_has_two_unseen_axes_at_least():
    for cell in of("test_combined"):
        assert sum(cell[AXES.index(axis)] not in SEEN[axis] for axis in AXES) >= 2


def test_professions_that_share_a_title_stay_on_one_side():
    sides = {}
    held_out = splits.held_out_professions()
    for row in load_professions():
        sides.setdefault(row.occupation, set()).add(row.profession in held_out)
    assert all(len(side) == 1 for side in sides.values())
    assert any(Counter(row.occupation for row in load_professions())[title] > 1 for title in sides)


def test_held_out_professions_cover_groups_and_shares():
    held_out = splits.held_out_professions()
    assert 0.20 < len(held_out) / 315 < 0.25
    rows = load_professions()
    assert {row.group for row in rows if row.profession in held_out} == {row.group for row in rows}
    shares = bls_shares(2022)
    held = [shares[row.occupation] for row in rows if row.profession in held_out]
    seen = [shares[row.occupation] for row in rows if row.profession not in held_out]
    assert abs(sum(held) / len(held) - sum(seen) / len(seen)) < 0.05
    assert {int(share * 10) for share in held} == set(range(10))


def test_two_modifiers_of_each_polarity_are_held_out_and_never_the_empty_one():
    held_out = splits.held_out_modifiers()
    assert "" not in held_out
    polarity = {row.modifier: row.polarity for row in load_modifiers()}
    assert Counter(polarity[word] for word in held_out) == dict.fromkeys(
        ("positive", "negative", "neutral"), 2
    )


@pytest.mark.parametrize("config", RECORDS)
def test_ids_are_unique_and_name_the_cell(config):
    records = RECORDS[config]
    assert len({record.id for record in records}) == len(records)
    for record in records:
        slug = record.profession.replace(" ", "-")
        assert record.id == f"{record.template}/{slug}/{record.modifier or 'plain'}"


def test_a_cell_has_one_text_in_every_configuration_and_sample():
    chosen = load_prompts("full", professions=["nurse", "plumber"]).records
    by_id = {record.id: record for record in chosen}
    both = [r for r in RECORDS["quick"] + RECORDS["core"] if r.profession in ("nurse", "plumber")]
    assert len(both) > 40
    assert all(by_id[record.id] == record for record in both)


def test_all_spellings_of_a_template_are_used_about_equally():
    template = next(row for row in load_templates() if len(row.variants) == 4)
    cells = [
        cell
        for cell in load_cells("full", {"edit", "dev", "test_templates"})
        if cell.template == template
    ]
    texts = Counter()
    for record in render(cells, load_reference("parity")):
        holes = fillings(record.modifier, record.profession, record.plural)
        texts.update(n for n, v in enumerate(template.variants) if v.fill(holes) == record.prompt)
    assert set(texts) == {0, 1, 2, 3}
    assert all(0.22 < number / len(cells) < 0.28 for number in texts.values())


def test_the_prompts_of_this_version_are_the_published_ones():
    assert {config: load_prompts(config).digest for config in DIGESTS} == DIGESTS


def interpreters():
    """This Python, and any other one that works: nothing but the standard library is needed."""
    found = [shutil.which(f"python3.{minor}") for minor in range(10, 16)]
    return [sys.executable, *(path for path in found if path and path != sys.executable)]


@pytest.mark.parametrize("python", interpreters())
def test_other_processes_and_python_versions_agree(python):
    if subprocess.run([python, "-c", "pass"], capture_output=True).returncode:
        pytest.skip(f"{python} does not start")
    code = (
        "import json, sys; from hfbiasedit.codegenbias.prompts import load_prompts;"
        "print(json.dumps({c: load_prompts(c).digest for c in ('quick', 'core', 'quick@1')}));"
        "assert not {'numpy', 'torch', 'datasets', 'pyarrow'} & set(sys.modules)"
    )
    run = subprocess.run(
        [python, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)},
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == {c: DIGESTS[c] for c in ("quick", "core", "quick@1")}


def test_every_split_is_known():
    assert {cell[3] for cell in GRID} == set(RECORD_SPLITS)


def test_a_rank_is_a_hash_of_the_seed_and_the_parts():
    import hashlib

    text = b"codegenbias-1\x1fcell\x1fcompare/nurse/plain"
    first = int(hashlib.sha256(text).hexdigest()[:16], 16)
    assert splits.rank("cell", "compare/nurse/plain") == first < 2**64


def test_a_fifth_of_the_seen_ids_is_for_dev():
    names = [f"compare/job {number}/plain" for number in range(3000)]
    found = [splits.seen_split(name) for name in names]
    assert set(found) == {"dev", "edit"}
    assert found.count("dev") == pytest.approx(600, abs=70)  # three standard deviations
    assert [splits.rank("cell", name) / 2**64 < 0.2 for name in names] == [
        split == "dev" for split in found
    ]


def test_the_split_of_a_prompt_of_ones_own():
    assert splits.own_split("x", True) == "test_professions"
    for name in map(str, range(20)):
        assert splits.own_split(name, False) == splits.seen_split(name)


@pytest.mark.parametrize(
    ("profession", "modifier", "template", "split"),
    [
        (False, False, False, None),
        (True, False, False, "test_professions"),
        (False, True, False, "test_modifiers"),
        (False, False, True, "test_templates"),
        (True, True, False, "test_combined"),
        (True, False, True, "test_combined"),
        (False, True, True, "test_combined"),
        (True, True, True, "test_combined"),
    ],
)
def test_the_split_of_every_kind_of_cell(profession, modifier, template, split):
    assert splits.held_out_split(profession, modifier, template) == split
    role = "test" if template else "edit"
    assert splits.cell_split(role, profession, modifier) == (split or "edit")
    seen = not (profession or modifier)
    assert splits.cell_split("dev", profession, modifier) == ("dev" if seen else None)
