"""Things that are known by name: the built-in ones, and those of installed packages."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Generic, TypeVar

from hfbiasedit.errors import BiasEditError, unknown

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
            raise unknown(self.kind, name, self.names())

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
