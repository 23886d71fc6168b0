"""Things that are known by name: the built-in ones, and those of installed packages."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Generic, TypeVar

from hfbiasedit.errors import BiasEditError, UsageError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")


class Registry(Generic[T]):
    """Entries by name, imported when they are asked for.

    Built-in entries stand for themselves; an installed package adds one by an entry point, and
    cannot replace a built-in one, so that a name means the same on every machine.
    """

    def __init__(self, kind: str, group: str, builtin: Mapping[str, str]) -> None:
        """Make a registry.

        Args:
            kind: what an entry is, for messages: `saliency`.
            group: the entry points' group: `hfbiasedit.saliencies`.
            builtin: name -> `module:attribute`.
        """
        self.kind, self.group, self.builtin = kind, group, dict(builtin)

    def __iter__(self) -> Iterator[str]:
        """Names of the built-in entries, in their order; cheap."""
        return iter(self.builtin)

    def names(self) -> tuple[str, ...]:
        """All names: built-in ones in their order, then those of installed packages."""
        return (*self.builtin, *sorted(set(self._installed()) - set(self.builtin)))

    def check(self, name: str) -> None:
        """Raise `UsageError` for a name that nobody registered."""
        if name not in self.builtin and name not in self._installed():
            raise UsageError(f"unknown {self.kind} {name!r}; {self._instead(name)}")

    def load(self, name: str) -> T:
        """The entry of a name.

        Raises:
            UsageError: nobody registered it.
            BiasEditError: two packages did, or it cannot be imported.
        """
        self.check(name)
        if name in self.builtin:
            module, _, attribute = self.builtin[name].partition(":")
            found: T = getattr(importlib.import_module(module), attribute)
            return found
        points = self._installed()[name]
        if len({point.value for point in points}) > 1:
            places = " and ".join(sorted(point.value for point in points))
            raise BiasEditError(
                f"two installed packages register the {self.kind} {name!r}: {places}; remove one"
            )
        try:
            loaded: T = points[0].load()
        except Exception as error:  # code from elsewhere may raise anything
            raise BiasEditError(
                f"the {self.kind} {name!r} cannot be loaded from {points[0].value}: {error}"
            ) from error
        return loaded

    def _installed(self) -> dict[str, list[EntryPoint]]:
        from importlib.metadata import entry_points

        found: dict[str, list[EntryPoint]] = {}
        for point in entry_points(group=self.group):
            found.setdefault(point.name, []).append(point)
        return found

    def _instead(self, name: str) -> str:
        """What to use instead: the nearest name, if one is near, and all of them."""
        names = self.names()
        near = difflib.get_close_matches(name, names, n=1)
        known = f"use one of {', '.join(names)}"
        return f"did you mean {near[0]}? {known}" if near else known
