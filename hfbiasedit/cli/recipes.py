"""Recipes: the whole path of a model in one YAML file that can be committed.

    model: org/name@revision
    out: run
    edit: {granularity: row, max_kl: 0.004}
    push: {repo: me/name-biasedit, what: patch}

A section is a command and its keys are that command's options, so that nothing is said twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import typer.main

from hfbiasedit.cli import app
from hfbiasedit.cli.recording import DEFAULT_OUT, LEFT_OUT, SECTIONS, TOP, mapping, read_yaml
from hfbiasedit.errors import UsageError, unknown

# Arguments and options that may name what an earlier step writes.
_OF_STEPS = {"run", "patch"}


@dataclass(frozen=True)
class Step:
    """One command of a recipe: its name and its words."""

    name: str
    words: tuple[str, ...]


def read_recipe(path: Path) -> tuple[Step, ...]:
    """The commands of a recipe; keys and values are checked, files are not (see `check_steps`).

    Raises:
        UsageError: an unknown key, a value that its option does not take, or no section at all.
        BiasEditError: the file cannot be read or is no YAML.
    """
    recipe = mapping(read_yaml(path), str(path))
    for key in recipe:
        if key not in (*TOP, *SECTIONS):
            raise unknown(f"key in {path}", key, (*TOP, *SECTIONS))
    wanted = [name for name in SECTIONS if name in recipe]
    if not wanted:
        raise UsageError(f"{path} has no section; give one of {', '.join(SECTIONS)}")
    top = {"out": DEFAULT_OUT, **{key: str(recipe[key]) for key in TOP if key in recipe}}
    return tuple(_step(name, mapping(recipe[name], name), top, wanted) for name in wanted)


def check_steps(steps: Sequence[Step], *, dry_run: bool = False) -> None:
    """Refuse what the commands would refuse at their doors, before the first of them begins.

    What an earlier step writes is not there yet, and is left out.

    Raises:
        BiasEditError: an option, or a file that one names, cannot be used.
    """
    written: list[Path] = []
    for step in steps:
        given = command_of(step.name).make_context(step.name, list(step.words)).params
        for name in _OF_STEPS & set(given):
            if _is_inside(given[name], written):
                given[name] = None
        _module(step.name).check(**_bound(step.name, given), rehearsal=dry_run)
        if (out := given.get("out")) is not None:
            written.append(Path(out))


def _is_inside(value: str | Path | None, folders: Sequence[Path]) -> bool:
    """Whether a value names one of the folders, or something in one."""
    path = Path(value or "").absolute()
    return value is not None and any(path.is_relative_to(folder.absolute()) for folder in folders)


def command_of(name: str) -> Any:
    """The command of a section."""
    root = typer.main.get_command(app.app)
    return root.get_command(None, name)  # type: ignore[attr-defined]


def _step(name: str, section: dict[str, Any], top: Mapping[str, str], wanted: list[str]) -> Step:
    command = command_of(name)
    section = {str(key).replace("-", "_"): value for key, value in section.items()}
    words = [_argument(name, argument, section, top) for argument in SECTIONS[name]]
    defaults: dict[str, Any] = {}
    if name == "edit":
        defaults = {"out": top["out"]}
    if name == "ability":
        defaults = {"out": top["out"]} | ({"patch": top["out"]} if "edit" in wanted else {})
    options = _options(command)
    for key, value in (defaults | section).items():
        if key not in options:
            raise unknown(f"key in {name}", key, sorted(options))
        words += _words(options[key], value)
    _check(name, command, words)
    return Step(name, tuple(words))


def _argument(name: str, argument: str, section: dict[str, Any], top: Mapping[str, str]) -> str:
    found = section.pop(argument, None) or top.get("out" if argument == "run" else argument)
    if found is None:
        raise UsageError(f"{name} needs the key {argument}")
    return str(found)


def _options(command: Any) -> dict[str, Any]:
    """Key -> option; the name on the command line is a key as well."""
    found: dict[str, Any] = {}
    for parameter in command.params:
        flags = [opt.lstrip("-").replace("-", "_") for opt in parameter.opts if len(opt) > 2]
        if parameter.param_type_name == "option" and not LEFT_OUT & {parameter.name, *flags}:
            found |= dict.fromkeys([*flags, parameter.name], parameter)
    return found


def _words(option: Any, value: Any) -> list[str]:
    """An option and its value as words of a command line."""
    flag = max(option.opts, key=len)
    if value is None or (value is False and not option.secondary_opts):
        return []
    if isinstance(value, bool):
        return [flag if value else option.secondary_opts[0]]
    if isinstance(value, list):
        if option.multiple:
            return [word for item in value for word in (flag, str(item))]
        value = ",".join(map(str, value))
    if option.is_flag or isinstance(value, dict):
        raise UsageError(f"{flag.lstrip('-')} cannot be {value!r}")
    return [flag, str(value)]


def _check(name: str, command: Any, words: list[str]) -> None:
    _bound(name, command.make_context(name, list(words)).params)


def _bound(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a command's function, of what was given to the command."""
    given = {key: value for key, value in given.items() if key != "write_recipe"}
    function = getattr(_module(name), name)
    found: dict[str, Any] = function.bound(given) if hasattr(function, "bound") else given
    return found


def _module(name: str) -> Any:
    return import_module(f"hfbiasedit.cli.{name}")
