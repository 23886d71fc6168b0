"""Names of configurations, with and without a version."""

import pytest

from hfbiasedit.codegenbias.configs import CONFIG_NAMES, config_name, parse_config
from hfbiasedit.codegenbias.prompts import load_prompts
from hfbiasedit.errors import UsageError


@pytest.mark.parametrize(
    ("name", "expected"),
    [("quick", ("quick", 2)), ("full@1", ("full", 1)), ("core@2", ("core", 2))],
)
def test_a_name_means_a_configuration_and_a_version(name, expected):
    assert parse_config(name) == expected


@pytest.mark.parametrize("name", ["huge", "quick@", "quick@3", "@1", "quick@1@1", "quick@01", ""])
def test_other_names_are_refused(name):
    with pytest.raises(UsageError, match="use one of quick, core, full, quick@1"):
        parse_config(name)


def test_the_shortest_name_comes_back():
    assert [config_name(*parse_config(name)) for name in CONFIG_NAMES] == list(CONFIG_NAMES)
    assert load_prompts("quick@2") == load_prompts("quick")


def test_a_prompt_set_knows_its_version(tmp_path):
    assert load_prompts("core", limit=3).version == 2
    old = load_prompts("quick@1", "dev")
    assert (old.config, old.version, len(old)) == ("quick@1", 1, 54)
    path = tmp_path / "my.jsonl"
    path.write_text('{"prompt": "x", "profession": "nurse", "male": "he", "female": "she"}\n')
    assert load_prompts(prompts=path).version is None
