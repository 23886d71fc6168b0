"""Parameters of the command line, made from the fields of options classes.

    @expanded
    def edit(model: ModelArgument, config: EditConfig, as_json: JsonOption = False) -> None: ...

gets an option for every field of `EditConfig`, and is called with the `EditConfig` they make.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer

from hfbiasedit.fields import (
    Option,
    Options,
    choices_of,
    hints_of,
    members,
    offers_choices,
    options_of,
)

# The first of these that a field takes is what the command line reads.
_KINDS = (bool, Path, str, int, float)


@dataclass(frozen=True)
class Only:
    """`Annotated[EditConfig, Only(...)]`: a command that offers a part of the fields.

    Attributes:
        names: the fields; the others keep their defaults.
        helps: other words for some of them.
    """

    names: tuple[str, ...]
    helps: tuple[tuple[str, str], ...] = ()


def expanded(function: Callable[..., None]) -> Callable[..., None]:
    """Replace parameters of a function that are options classes by their fields."""
    hints = get_type_hints(function, include_extras=True)
    plain, made = [], {}
    panels: dict[str, list[inspect.Parameter]] = {}
    for parameter in inspect.signature(function).parameters.values():
        cls, only = _options_class(hints[parameter.name])
        if cls is None:
            plain.append(parameter.replace(annotation=hints[parameter.name]))
            continue
        made[parameter.name] = cls
        for name, spec in _offered(cls, only):
            panels.setdefault(spec.panel, []).append(_parameter(cls, name, spec, only))
    arguments = [p for p in plain if p.default is p.empty]
    rest = [p.replace(kind=p.KEYWORD_ONLY) for p in plain if p.default is not p.empty]
    parts = [p for panel in panels.values() for p in panel]

    def bound(given: dict[str, Any]) -> dict[str, Any]:
        """The function's arguments, of what the command line read; refuses what cannot be used."""
        given = dict(given)
        for argument, cls in made.items():
            names = [name for name in options_of(cls) if name in given]
            values = {name: _value(cls, name, given.pop(name)) for name in names}
            given[argument] = cls(**values)
        return given

    @functools.wraps(function)
    def command(**given: Any) -> None:
        function(**bound(given))

    parameters = [p.replace(kind=p.KEYWORD_ONLY) for p in arguments] + parts + rest
    command.bound = bound  # type: ignore[attr-defined]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


def _options_class(hint: Any) -> tuple[type | None, Only | None]:
    """The options class that a parameter stands for, and which part of it."""
    cls, *extras = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    only = next((extra for extra in extras if isinstance(extra, Only)), None)
    return (cls, only) if isinstance(cls, type) and issubclass(cls, Options) else (None, None)


def _offered(cls: type, only: Only | None) -> Iterator[tuple[str, Option]]:
    """The fields on the command line: a class's own ones before those of its bases."""
    specs = options_of(cls)
    names = dict.fromkeys(
        name for base in cls.__mro__ for name in inspect.get_annotations(base) if name in specs
    )
    for name in names:
        if not specs[name].hidden and (only is None or name in only.names):
            yield name, specs[name]


def _parameter(cls: type, name: str, spec: Option, only: Only | None) -> inspect.Parameter:
    hint = hints_of(cls)[name]
    kind, default = _kind(hint, spec), _default(cls, name)
    flags = spec.flags or ((f"--{name.replace('_', '-')}",) if kind is bool else ())
    words = dict(only.helps).get(name, spec.help) if only else spec.help
    known = get_args(hint) if get_origin(hint) is Literal else ()
    unsaid = not all(choice in words for choice in known)
    option = typer.Option(
        *flags,
        help=words,
        metavar=f"<{'|'.join(known)}>" if unsaid else None,
        autocompletion=_completion(spec, hint) if offers_choices(spec, hint) else None,
        rich_help_panel=spec.panel or None,
    )
    annotation = kind if default is not None else kind | None
    if spec.repeat:
        annotation = list[str] | None
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[annotation, option],
    )


def _kind(hint: Any, spec: Option) -> type:
    """What the command line reads for a field; several values are text with commas."""
    found = [str if get_origin(m) in (Literal, tuple, dict) else m for m in members(hint)]
    return spec.kind or next(kind for kind in _KINDS if kind in found)


def _default(cls: type, name: str) -> Any:
    default = next(field.default for field in fields(cls) if field.name == name)
    assert default is not MISSING, name
    return (",".join(map(str, default)) or None) if isinstance(default, tuple) else default


def _value(cls: type, name: str, given: Any) -> Any:
    """What the field takes, of what the command line read."""
    hint = hints_of(cls)[name]
    if get_origin(hint) is not tuple:
        return given
    parts = given if isinstance(given, list) else (given or "").split(",")
    number = get_args(hint)[0] is int
    try:
        found = [part.strip() for part in parts]
        return tuple(int(part) if number else part for part in found if part)
    except ValueError:
        raise typer.BadParameter(f"{name} {given}: give numbers such as 1,10") from None


def _completion(spec: Option, hint: Any) -> Callable[[str], list[str]]:
    """Shell completion of a choice; of the last one where several are given with commas."""

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        return [
            f"{before}{comma}{name}" for name in choices_of(spec, hint) if name.startswith(last)
        ]

    return complete
