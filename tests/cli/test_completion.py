"""Shell completion: commands and values, for both names of the program, in three shells."""

import pytest
from typer.testing import CliRunner

from hfbiasedit.cli.app import app

SHELLS = ("bash", "zsh", "fish")


def completed(shell, line, name):
    variable = f"_{name.upper().replace('-', '_')}_COMPLETE"
    given = {
        variable: f"complete_{shell}",
        "COMP_WORDS": f"{name} {line}",
        "COMP_CWORD": str(len(f"{name} {line} ".split(" ")) - 2),
        "_TYPER_COMPLETE_ARGS": f"{name} {line}",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    return CliRunner().invoke(app, [], env=given, prog_name=name).stdout


@pytest.mark.parametrize("name", ["hfbiasedit", "hf-biasedit"])
@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("edit demo --granularity ", ("full", "layer", "row", "neuron", "unit")),
        ("audit demo --config ", ("quick", "core")),
        ("audit demo --split ", ("test", "dev")),
        ("edit demo --saliency ", ("joint", "fisher")),
        ("edit demo --dtype ", ("bfloat16", "float32")),
        ("dataset export --records ", ("parquet", "jsonl", "csv")),
        ("pat", ("patch",)),
        ("patch re", ("recover", "revert")),
    ],
)
def test_values_are_offered(name, shell, line, values):
    text = completed(shell, line, name)
    for value in values:
        assert value in text, (shell, line, text)


@pytest.mark.parametrize("group", ["patch", "dataset"])
def test_groups_do_not_offer_to_install_completion(group):
    text = CliRunner().invoke(app, [group, "--help"]).stdout
    assert "completion" not in text
    assert "--install-completion" in CliRunner().invoke(app, ["--help"]).stdout
