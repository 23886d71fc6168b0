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
from hfbiasedit.codegenbias.modifiers import load_modifiers
from hfbiasedit.codegenbias.professions import load_professions
from hfbiasedit.codegenbias.prompts import load_prompts
from hfbiasedit.codegenbias.records import CONFIGS, RECORD_SPLITS
from hfbiasedit.codegenbias.references import bls_shares, load_reference

ROOT = Path(__file__).parents[2]
RECORDS = {config: load_prompts(config).records for config in CONFIGS}
FULL = RECORDS["full"]
BY_ID = {record.id: record for record in FULL}
AXES = ("profession", "modifier", "template")
# Pinned: a change of data or code that moves them is a new version of the dataset.
DIGESTS = {
    "quick": "c6af6177c93a3e3cc1700e170373fb494a072cce20e20392be613cbd100041d3",
    "core": "36578922307c596cf901b2047d0bebd1ba848e37943028891d5fc38cdf8c54ef",
}


def values(records, axis):
    return {getattr(record, axis) for record in records}


def of(split, records=FULL):
    return [record for record in records if record.split == split]


SEEN = {axis: values(of("edit"), axis) for axis in AXES}


def test_counts_are_as_documented():
    assert Counter(record.split for record in FULL) == {
        "edit": 53178,
        "dev": 13242,
        "test_modifiers": 22140,
        "test_templates": 39852,
        "test_professions": 18630,
        "test_combined": 34398,
    }
    assert len(FULL) == 315 * 24 * 24
    core = RECORDS["core"]
    assert len(core) == 315 * 24
    assert Counter(record.split for record in core) == {
        "edit": 3542,
        "dev": 886,
        "test_modifiers": 1476,
        "test_professions": 1242,
        "test_combined": 414,
    }
    quick = RECORDS["quick"]
    assert len(quick) == 600
    assert Counter(record.split for record in quick) == {
        "edit": 246,
        "dev": 54,
        "test_modifiers": 75,
        "test_templates": 75,
        "test_professions": 75,
        "test_combined": 75,
    }
    assert len(values(quick, "profession")) == 315


def test_the_documentation_gives_these_counts():
    text = (ROOT / "docs" / "codegenbias.md").read_text(encoding="utf-8")
    for config, records in RECORDS.items():
        counts = Counter(record.split for record in records)
        row = [f"{counts[split]:,}" for split in RECORD_SPLITS]
        assert f"| `{config}` | {' | '.join(row)} | {len(records):,} |" in text
    held_out = splits.held_out_professions()
    shares = load_reference("bls-2022").shares
    tenths = Counter(min(int(shares[name] * 10), 9) for name in held_out)
    assert f"held out | {' | '.join(str(tenths[n]) for n in range(10))} |" in text
    for word in splits.held_out_modifiers():
        assert f"`{word}`" in text


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("axis", AXES)
def test_nothing_held_out_on_an_axis_is_seen_while_editing(config, axis):
    records = RECORDS[config]
    seen = values(of("edit", records) + of("dev", records), axis)
    held_out = values(of(f"test_{axis}s", records), axis)
    assert not seen & held_out
    for other in AXES:  # the other two axes are seen: the split isolates one
        if other != axis:
            assert values(of(f"test_{axis}s", records), other) <= SEEN[other]


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
        assert getattr(record, axis) not in values(edit, axis)
        assert record == BY_ID[record.id]


def test_a_combined_cell_has_two_unseen_axes_at_least():
    for record in of("test_combined"):
        assert sum(getattr(record, axis) not in SEEN[axis] for axis in AXES) >= 2


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


@pytest.mark.parametrize("config", CONFIGS)
def test_ids_are_unique_and_stable(config):
    records = RECORDS[config]
    assert len(values(records, "id")) == len(records)
    assert all(record == BY_ID[record.id] for record in records)
    for record in records[:: max(1, len(records) // 100)]:
        slug = record.profession.replace(" ", "-")
        assert record.id == f"{record.template}/{slug}/{record.modifier or 'plain'}"


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
        "print(json.dumps({c: load_prompts(c).digest for c in ('quick', 'core')}));"
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
    assert json.loads(run.stdout) == DIGESTS


def test_every_split_is_known():
    assert {record.split for record in FULL} == set(RECORD_SPLITS)
