"""`--write-recipe`: a command, as it was typed, becomes a section of a recipe (see `recipes`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
import typer.main

from hfbiasedit.errors import BiasEditError, UsageError, first_line

# The sections, in the order in which they run, and their arguments of their own.
SECTIONS: dict[str, tuple[str, ...]] = {
    "audit": ("model",),
    "edit": ("model",),
    "ability": ("model",),
    "card": ("run",),
    "push": ("run", "repo"),
}
TOP = ("model", "out")
DEFAULT_OUT = "hfbiasedit-run"
# How much is said and in which form is asked for on the command line, once for all.
LEFT_OUT = {"json", "as_json", "printed_as", "quiet", "verbose", "debug", "write_recipe", "help"}


def write_recipe(path: Path, name: str, context: Any) -> None:
    """Add a command, as it was given, to a recipe; the other sections of the file stay.

    Raises:
        BiasEditError: the file is no recipe, or is about another model or run.
    """
    import yaml

    from hfbiasedit.files import write_text

    recipe = mapping(read_yaml(path), str(path)) if path.is_file() else {}
    section = {}
    for parameter in context.command.params:
        key = parameter.name
        given = context.get_parameter_source(key)
        if key in LEFT_OUT or given is None or given.name != "COMMANDLINE":
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
    order = {key: recipe[key] for key in (*TOP, *SECTIONS) if key in recipe}
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


def read_yaml(path: Path) -> Any:
    """What a YAML file holds.

    Raises:
        BiasEditError: it cannot be read, or is no YAML.
    """
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BiasEditError(f"cannot read {path}: {error.strerror or error}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise BiasEditError(f"{path} is no YAML: {where}{error.problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BiasEditError(f"{path} is no YAML: {first_line(error)}") from error


def mapping(value: Any, what: str) -> dict[str, Any]:
    """A section as a dict of its own; nothing at all is an empty one.

    Raises:
        UsageError: it is something else.
    """
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
