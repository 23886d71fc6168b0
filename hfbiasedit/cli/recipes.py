"""Recipes: the whole path of a model in one YAML file that can be committed.

    model: org/name@revision
    out: run
    edit: {granularity: row, max_kl: 0.004}
    push: {repo: me/name-biasedit, what: patch}

A section is a command and its keys are that command's options, so that nothing is said twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.main

from hfbiasedit.errors import BiasEditError, UsageError, unknown

# The sections, in the order in which they run, and their arguments of their own.
SECTIONS: dict[str, tuple[str, ...]] = {
    "audit": ("model",),
    "edit": ("model",),
    "ability": ("model",),
    "card": ("run",),
    "push": ("run", "repo"),
}
_TOP = ("model", "out")
DEFAULT_OUT = "hfbiasedit-run"
# How much is said and in which form is asked for on the command line, once for all.
_LEFT_OUT = {"json", "as_json", "format", "quiet", "verbose", "debug", "write_recipe", "help"}


@dataclass(frozen=True)
class Step:
    """One command of a recipe: its name and its words."""

    name: str
    words: tuple[str, ...]


def read_recipe(path: Path) -> tuple[Step, ...]:
    """The commands of a recipe, each checked as far as that goes without loading anything.

    Raises:
        UsageError: an unknown key, a value that its option does not take, or no section at all.
        BiasEditError: the file cannot be read or is no YAML.
    """
    recipe = _mapping(_read(path), str(path))
    for key in recipe:
        if key not in (*_TOP, *SECTIONS):
            raise unknown(f"key in {path}", key, (*_TOP, *SECTIONS))
    wanted = [name for name in SECTIONS if name in recipe]
    if not wanted:
        raise UsageError(f"{path} has no section; give one of {', '.join(SECTIONS)}")
    top = {"out": DEFAULT_OUT, **{key: str(recipe[key]) for key in _TOP if key in recipe}}
    return tuple(_step(name, _mapping(recipe[name], name), top, wanted) for name in wanted)


def write_recipe(path: Path, name: str, context: Any) -> None:
    """Add a command, as it was given, to a recipe; the other sections of the file stay.

    Raises:
        BiasEditError: the file is no recipe, or is about another model or run.
    """
    import yaml

    from hfbiasedit.files import write_text

    recipe = _mapping(_read(path), str(path)) if path.is_file() else {}
    section = {}
    for parameter in context.command.params:
        key = parameter.name
        given = context.get_parameter_source(key)
        if key in _LEFT_OUT or given is None or given.name != "COMMANDLINE":
            continue
        section[key] = _plain(context.params.get(key))
    if revision := section.pop("revision", None) if "model" in section else None:
        section["model"] = f"{section['model']}@{revision}"
    tops = {"model": "model", "run": "out"} | ({"out": "out"} if name in ("edit",) else {})
    for key, top in tops.items():
        if key in section:
            value = section.pop(key)
            if recipe.setdefault(top, value) != value:
                raise BiasEditError(f"{path} is about the {top} {recipe[top]}, not {value}")
    recipe[name] = section
    order = {key: recipe[key] for key in (*_TOP, *SECTIONS) if key in recipe}
    write_text(path, yaml.safe_dump(order, sort_keys=False, allow_unicode=True))


def with_recipe(command: Any, name: str) -> None:
    """Let a command that a recipe knows write itself into one instead of running."""
    if name not in SECTIONS:
        return
    invoke = command.invoke
    command.params.append(_parameter())

    def recorded(context: Any) -> Any:
        path = context.params.pop("write_recipe")
        if path is None:
            return invoke(context)
        from hfbiasedit.console import line, message, result

        write_recipe(path, name, context)
        result(path)
        line(path)
        message(f"run it with: hfbiasedit run {path}")
        return None

    command.invoke = recorded


def command_of(name: str) -> Any:
    """The command of a section."""
    from hfbiasedit.cli import app

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
    found = {}
    for parameter in command.params:
        flags = [opt.lstrip("-").replace("-", "_") for opt in parameter.opts if len(opt) > 2]
        if parameter.param_type_name == "option" and not _LEFT_OUT & {parameter.name, *flags}:
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
    context = command.make_context(name, list(words))
    function = getattr(import_module(f"hfbiasedit.cli.{name}"), name)
    if hasattr(function, "bound"):
        given = {k: v for k, v in context.params.items() if k != "write_recipe"}
        function.bound(given)


def _read(path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BiasEditError(f"cannot read {path}: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        first = str(error).split("\n")[0]
        raise BiasEditError(f"{path} is no YAML: {first}") from error


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UsageError(f"{what} is no list of keys and values; see hfbiasedit run --help")
    return dict(value)


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)


def _parameter() -> Any:
    app = typer.Typer(add_completion=False)

    @app.command()
    def carrier(
        write_recipe: Annotated[
            Path | None,
            typer.Option(help="Write this command into a recipe (hfbiasedit run) and stop."),
        ] = None,
    ) -> None: ...

    return typer.main.get_command(app).params[0]
