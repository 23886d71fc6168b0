"""A short run of the fuzz; `benchmarks/patch_fuzz.py` runs thousands of cases."""

from __future__ import annotations

import pytest

from tests.patches.hostile import MUTATIONS, attack, mutate
from tests.patches.small import make_checkpoint, sample_edits, save_patch


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    edits = sample_edits(make_checkpoint(folder / "base"))
    good = save_patch(folder / "good.safetensors", edits, granularity="row").read_bytes()
    return folder, good


def test_the_good_file_is_accepted(target):
    folder, good = target
    assert attack(good, folder / "base", folder / "room") == "accepted"


@pytest.mark.parametrize("start", range(0, 300, 50))
def test_damaged_files_are_refused_or_harmless(target, start):
    folder, good = target
    for seed in range(start, start + 50):
        attack(mutate(good, seed), folder / "base", folder / "room")


def test_every_mutation_is_used():
    import random

    assert {random.Random(seed).choice(MUTATIONS) for seed in range(300)} == set(MUTATIONS)


def test_every_truncation_is_refused(target):
    folder, good = target
    for length in range(0, len(good), 41):
        assert attack(good[:length], folder / "base", folder / "room") == "refused"
