"""What a command waits for before it works: imports.

Of the time until a model is loaded most goes into importing transformers, and much of that into
parts that no command uses: PyTorch's compiler, imported to mark functions that are not for it, and
SciPy's optimisers, imported for the loss of object detectors. These wait until something asks for
more of them than that. And so does Python's collector of cycles, which searches ever more objects
while modules appear and finds next to nothing.
"""

from __future__ import annotations

import functools
import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from threading import RLock
from types import ModuleType
from typing import Any

Function = Callable[..., Any]
_PATH = "__path__"  # what the import system asks a package for when it looks for a part of it
_PATIENCE = 200_000  # new objects before the collector looks at them, while a command starts
_lock = RLock()
_waiting_for: list[tuple[int, int, int]] = []  # the collector's usual thresholds, while it waits


class Waiting(ModuleType):
    """A module whose code has not run; it does when anything is asked of it that is not known."""

    def __getattr__(self, name: str) -> Any:
        stand_in = DEFERRED.get(self.__name__, {}).get(name)
        if stand_in is not None:
            return functools.partial(stand_in, self, name)
        if name.startswith("__") and name != _PATH:  # the import system and `inspect` look around
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r} yet")
        return getattr(_ran(self), name)


def _ran(module: ModuleType) -> ModuleType:
    """The module with its code run, which happens once."""
    with _lock:
        spec = module.__spec__
        if type(module) is Waiting and spec is not None and spec.loader is not None:
            module.__class__ = ModuleType  # type: ignore[assignment]
            if spec.submodule_search_locations is not None:
                module.__path__ = spec.submodule_search_locations
            try:
                spec.loader.exec_module(module)
            except BaseException:
                module.__class__ = Waiting
                raise
    return module


def _called(module: ModuleType, name: str, *args: Any, **kwargs: Any) -> Any:
    """A function of the module, as which a partial of this stands in: it runs when called."""
    return getattr(_ran(module), name)(*args, **kwargs)


def _mark(module: ModuleType, name: str, function: Any = None, *args: Any, **kwargs: Any) -> Any:
    """A decorator of the module that says something to the module alone.

    What it would say is said as soon as the module has run; before, the function is itself.
    """
    if function is None:
        return lambda later: _mark(module, name, later, *args, **kwargs)
    if type(module) is not Waiting or not callable(function):
        return _called(module, name, function, *args, **kwargs)

    @functools.cache
    def marked() -> Function:
        found: Function = getattr(module, name)(function, *args, **kwargs)
        return found

    @functools.wraps(function)
    def either(*inputs: Any, **options: Any) -> Any:
        return (function if type(module) is Waiting else marked())(*inputs, **options)

    return either


# Module -> what importing transformers and loading a model takes from it, and what stands in.
DEFERRED: dict[str, dict[str, Function]] = {
    "torch._dynamo": {
        "disable": _mark,
        "assume_constant_result": _mark,
        "allow_in_graph": _mark,
    },
    "scipy.optimize": {"linear_sum_assignment": _called},
}
# Parts of these packages that need nothing of the package; any other has it run first, as ever.
_PARTS = ("torch._dynamo._trace_wrapped_higher_order_op",)


class _WaitingLoader(Loader):
    """Makes a module and leaves it waiting; its own loader runs the code later."""

    def __init__(self, own: Loader) -> None:
        self._own = own

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._own.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._own
        module.__class__ = Waiting


class _Deferring(MetaPathFinder):
    """Finds the modules of `DEFERRED` where they are, and has them wait."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package = fullname.rpartition(".")[0]
        if package in DEFERRED and fullname not in _PARTS:
            _ran(sys.modules[package])
        if fullname not in DEFERRED:
            return None
        for finder in sys.meta_path:
            search = getattr(finder, "find_spec", None)
            spec = search(fullname, path, target) if search and finder is not self else None
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _WaitingLoader(spec.loader)
                return spec
        return None


@contextmanager
def starting() -> Iterator[None]:
    """Start a command: the modules of `DEFERRED` wait, and the collector does until `settled`."""
    finder = _Deferring()
    sys.meta_path.insert(0, finder)
    usual = gc.get_threshold()
    gc.set_threshold(_PATIENCE, *usual[1:])
    _waiting_for.append(usual)
    try:
        yield
    finally:
        settled()
        sys.meta_path.remove(finder)
        for name in DEFERRED:
            module = sys.modules.get(name)
            if type(module) is Waiting:  # now only this tells that a part of it is imported
                vars(module).pop(_PATH, None)


def settled() -> None:
    """What a command uses is imported; no more than that happens in a process that is no command.

    From here on the collector does as usual, and leaves alone what was there at the start.
    """
    if _waiting_for:
        gc.freeze()
        gc.set_threshold(*_waiting_for.pop())
