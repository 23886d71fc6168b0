"""The selections of a budget: nested ones, and what is given up to leave blocks alone."""

import itertools
from dataclasses import replace

import pytest
import torch

from hfbiasedit.editing.config import EditConfig
from hfbiasedit.editing.selecting import allowance, ladder
from hfbiasedit.editing.selecting.ladder import ladder_of
from hfbiasedit.editing.weights.selection import Selection, fingerprint
from hfbiasedit.editing.weights.slices import entry_slice
from hfbiasedit.levels import LEVELS
from hfbiasedit.models.architecture import projections
from tests.editing import worlds


@pytest.mark.parametrize("level", ["row", "unit", "neuron"])
def test_the_ladder_of_auto_is_nested_and_its_first_is_the_widest(level, monkeypatch):
    loaded = worlds.loaded("llama")
    rungs = ("20% of weights", "10% of weights", "3% of weights")
    monkeypatch.setitem(LEVELS, level, replace(LEVELS[level], ladder=rungs))
    rows = ladder_of(loaded, EditConfig(granularity=level), worlds.location(loaded))
    sizes = [selection.weights for selection in rows]
    assert len(rows) == 3
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 5 * sizes[2]
    for wide, narrow in itertools.pairwise(rows):
        assert wide.intersect(narrow).weights == narrow.weights


def test_a_count_is_a_ladder_of_one():
    loaded = worlds.loaded("llama")
    config = EditConfig(granularity="row", budget=8)
    (only,) = ladder_of(loaded, config, worlds.location(loaded))
    assert only.items == 8


@pytest.mark.parametrize(
    ("boost", "blocks", "expected"),
    [
        ({0: 1e-3}, "auto", 1),  # block 0 has none of the best rows
        ({0: 1.0}, "auto", 0),
        ({0: 1e-3}, "all", None),  # what was asked for is kept
    ],
)
def test_few_stray_weights_are_given_up_to_leave_blocks_below_alone(boost, blocks, expected):
    loaded = worlds.loaded("llama", num_hidden_layers=3)
    location = worlds.location(loaded, boost)
    # One row of block 0 is the best of all: less than STRAY of what is chosen.
    low = next(item for item in location.ranking.projections if item.block == 0)
    location.ranking.scores[low.name].rows[0] = 1e9
    config = EditConfig(granularity="row", budget=80, blocks=blocks)
    (chosen,) = ladder_of(loaded, config, location)
    assert chosen.items == 80
    found = chosen.lowest_block(loaded.model)
    assert found == (0 if expected is None else expected)
    if expected:
        assert low.name not in chosen.slices


@pytest.mark.parametrize(
    ("low", "expected"), [(0, 1), (5, 1), (6, 0), (100, 0)], ids=["none", "few", "many", "all"]
)
def test_the_floor_leaves_at_most_the_allowed_share_below(low, expected):
    """Of a hundred weights, so many are in block 0."""
    loaded = worlds.loaded("llama", num_hidden_layers=3)
    counts = {0: low, 1: 60 if low < 40 else 0}
    counts[2] = 100 - sum(counts.values())
    slices = {}
    for block, count in counts.items():
        item = next(p for p in projections(loaded.model) if p.block == block)
        if count:
            slices[item.name] = entry_slice(item.name, item.shape, torch.arange(count))
    chosen = Selection("neuron", slices, fingerprint(loaded.model))
    assert chosen.weights == 100
    assert ladder._floor(chosen, loaded) == expected


def test_auto_takes_no_more_single_weights_than_can_be_solved_for(monkeypatch):
    loaded = worlds.loaded("llama")
    rungs = ("50% of weights", "20% of weights", "1% of weights")
    monkeypatch.setitem(LEVELS, "neuron", replace(LEVELS["neuron"], ladder=rungs))
    config, location = EditConfig(granularity="neuron"), worlds.location(loaded)
    sizes = [selection.weights for selection in ladder_of(loaded, config, location)]
    assert len(sizes) == 3
    monkeypatch.setattr(allowance, "FINEST", sizes[1] - 1)  # both wide ones become this one
    found = [selection.weights for selection in ladder_of(loaded, config, location)]
    assert found == [sizes[1] - 1, sizes[2]]
    asked = replace(config, budget=str(sizes[0]))  # what is asked for is given
    (only,) = ladder_of(loaded, asked, location)
    assert only.weights == sizes[0]
