"""Options of the command line come from the fields of options classes, and say the same."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer
from typer.testing import CliRunner

from hfbiasedit.abilities.config import AbilityConfig
from hfbiasedit.audits.config import AuditConfig
from hfbiasedit.cli import app as cli
from hfbiasedit.cli.parameters import Only, expanded
from hfbiasedit.editing.config import EditConfig, LocateConfig, SweepConfig
from hfbiasedit.errors import UsageError
from hfbiasedit.fields import Options, option, options_of
from hfbiasedit.publishing.config import PushConfig

COMMANDS = {
    "audit": AuditConfig,
    "ability": AbilityConfig,
    "locate": LocateConfig,
    "edit": EditConfig,
    "sweep": SweepConfig,
    "push": PushConfig,
}


@dataclass(frozen=True, kw_only=True)
class Base(Options):
    seed: int = option(0, "A seed.", panel="Low")
    secret: int = option(7, "Not offered.", hidden=True)


@dataclass(frozen=True, kw_only=True)
class All(Base):
    level: Literal["low", "high"] = option("low", "A level.")
    names: tuple[str, ...] = option(("a", "b"), "Names.")
    counts: tuple[int, ...] = option((), "Counts.", flags=("-c",))
    also: tuple[Literal["x", "y"], ...] = option((), "More.", repeat=True)
    share: float | None = option(None, "A share.")
    size: int | str = option("auto", "A size.")
    file: str | Path | None = option(None, "A file.")
    plain_flag: bool = option(False, "A flag.")


def called(*arguments, part=All):
    """What a function is given for arguments."""
    seen = []

    def function(model: str, config: part, rest: bool = False) -> None:
        seen.append((model, config, rest))

    function.__annotations__ = {"model": str, "config": part, "rest": bool, "return": None}
    app = typer.Typer(rich_markup_mode=None)
    app.command()(expanded(function))
    done = CliRunner().invoke(app, list(arguments))
    return (seen[0] if seen else None), done


def test_defaults_are_those_of_the_class():
    (model, config, rest), _ = called("m")
    assert (model, config, rest) == ("m", All(), False)


def test_every_kind_of_field():
    arguments = "m --level high --names c,d --also x --also y -c 1,2 --share 0.5 --size 8"
    (_, config, _), _ = called(*arguments.split(), "--file", "f", "--plain-flag", "--seed", "3")
    assert config == All(
        level="high", names=("c", "d"), also=("x", "y"), counts=(1, 2), share=0.5, size="8",
        file=Path("f"), plain_flag=True, seed=3,
    )  # fmt: skip


def test_what_is_hidden_or_left_out_is_no_option():
    assert called("m", "--secret", "1")[1].exit_code == 2
    part = Annotated[All, Only(("level",), helps=(("level", "Other words."),))]
    assert called("m", "--seed", "1", part=part)[1].exit_code == 2
    (_, config, _), _ = called("m", "--level", "high", part=part)
    assert config == All(level="high")
    assert "Other words." in called("--help", part=part)[1].stdout


def test_numbers_in_a_list_are_numbers():
    seen, done = called("m", "-c", "1,many")
    assert seen is None
    assert done.exit_code == 2
    assert "give numbers such as 1,10" in done.stderr


def test_help_shows_defaults_and_the_choices_that_the_words_leave_out():
    text = called("--help")[1].stdout
    assert "--names <str>" in text
    assert "[default: a,b]" in text
    assert "<low|high>" in text
    assert "--plain-flag" in text
    assert "no-plain-flag" not in text


def parameters(command):
    made = cli.LazyGroup(name="x").get_command(None, command)
    return {parameter.name: parameter for parameter in made.params}


@pytest.mark.parametrize(("command", "cls"), COMMANDS.items())
def test_every_field_is_an_option_with_its_default(command, cls):
    found = parameters(command)
    for field in fields(cls):
        spec = options_of(cls).get(field.name)
        if spec is None or spec.hidden:
            assert field.name not in found
            continue
        default = field.default
        if isinstance(default, tuple):
            default = ",".join(map(str, default)) or None
        assert found[field.name].default == default, field.name
        assert spec.help in found[field.name].help


@pytest.mark.parametrize(
    ("command", "cls", "name", "value"),
    [
        ("edit", EditConfig, "granularity", "rwo"),
        ("edit", EditConfig, "max_kl", -1.0),
        ("edit", EditConfig, "solver", "newtn"),
        ("edit", EditConfig, "audit", "quik"),
        ("locate", LocateConfig, "saliency", "fishr"),
        ("audit", AuditConfig, "config", "quik"),
        ("audit", AuditConfig, "split", "tst"),
        ("audit", AuditConfig, "limit", 0),
        ("audit", AuditConfig, "dtype", "int3"),
        ("audit", AuditConfig, "batch_size", "-3"),
        ("ability", AbilityConfig, "window", 0),
        ("sweep", SweepConfig, "granularities", ("row", "rwo")),
    ],
)
def test_both_ways_refuse_alike(command, cls, name, value, monkeypatch, capsys):
    with pytest.raises(UsageError) as refused:
        cls(**{name: value})
    given = ",".join(value) if isinstance(value, tuple) else str(value)
    arguments = ["hfbiasedit", command, "no-model", f"--{name.replace('_', '-')}", given]
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.delenv("HFBIASEDIT_DEBUG", raising=False)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert capsys.readouterr().err == f"error: {refused.value}\n"


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("edit m --granularity r", {"row"}),
        ("edit m --saliency f", {"fisher"}),
        ("edit m --solver new", {"newton"}),
        ("audit m --config q", {"quick"}),
        ("audit m --split test_m", {"test_modifiers"}),
        ("audit m --dtype b", {"bfloat16"}),
        ("sweep m --granularities row,ne", {"row,neuron"}),
        ("dataset export --records c", {"csv"}),
    ],
)
def test_the_shell_completes_choices(words, offered):
    line = f"hfbiasedit {words}"
    code = "import sys; sys.argv = ['hfbiasedit']\nfrom hfbiasedit.cli.app import main\nmain()"
    environment = os.environ | {
        "_HFBIASEDIT_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split()) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert set(done.stdout.split()) == offered, done.stderr


def test_help_has_sections(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["hfbiasedit", "edit", "--help"])
    with pytest.raises(SystemExit):
        cli.main()
    text = capsys.readouterr().out
    places = [text.index(f"\n{title}:\n") for title in ("Arguments", "Options", "Prompts", "Model")]
    assert places == sorted(places)
    assert places[2] < text.index("--reference") < places[3] < text.index("--dtype")


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_no_option_name_is_taken_twice(command):
    module = importlib.import_module(f"hfbiasedit.cli.{command}")
    if hasattr(module, "app"):
        pytest.skip("a group")
    flags = [flag for parameter in parameters(command).values() for flag in parameter.opts]
    assert len(flags) == len(set(flags))
