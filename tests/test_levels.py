"""One row per level, and what is read from it."""

import subprocess
import sys
from typing import get_args

from hfbiasedit.documents.names import granularity_name
from hfbiasedit.editing.config import EditConfig
from hfbiasedit.editing.selecting.items import ITEMS
from hfbiasedit.figures.style import COLOURS
from hfbiasedit.levels import GRANULARITIES, LEVELS, Granularity


def test_every_level_has_items_and_a_look_of_its_own():
    assert tuple(LEVELS) == tuple(ITEMS) == GRANULARITIES == get_args(Granularity)
    looks = [(level.colour, level.marker) for level in LEVELS.values()]
    assert len({colour for colour, _ in looks}) == len({marker for _, marker in looks}) == 6
    assert {colour for colour, _ in looks} <= set(COLOURS)
    assert all(granularity_name(name) == level.what for name, level in LEVELS.items())
    assert granularity_name("tensor") == "tensor"  # of a document of a later version


def test_defaults_are_the_levels():
    for name, level in LEVELS.items():
        config = EditConfig(granularity=name)
        assert (config.chosen_budget, config.allowed_kl) == (level.budget, level.max_kl)
        other = EditConfig(granularity=name, budget="7", max_kl=0.5)
        assert (other.chosen_budget, other.allowed_kl) == ("7", 0.5)


def test_levels_and_names_are_known_without_heavy_imports():
    code = (
        "import sys, hfbiasedit.levels, hfbiasedit.editing.config\n"
        "print([name for name in ('torch', 'transformers', 'matplotlib') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
