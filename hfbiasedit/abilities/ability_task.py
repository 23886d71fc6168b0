"""What a task of `ability` is: something that an edit may cost, measured before and after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from hfbiasedit.abilities.config import AbilityConfig
from hfbiasedit.abilities.extensions import TASKS
from hfbiasedit.errors import BiasEditError

if TYPE_CHECKING:
    from rich.table import Table

    from hfbiasedit.models.loading import LoadedModel
    from hfbiasedit.patches.patch import Patch


TAKEN = ("schema", "version", "model", "patch", "seconds")


@runtime_checkable
class AbilityTask(Protocol):
    """A task; a package may register one as an entry point, ready to use.

    Attributes:
        runs_code: it runs what a model wrote, which has to be allowed.
        takes_samples: it can judge ready-made completions, without a model.
    """

    runs_code: bool
    takes_samples: bool

    def prepare(self, config: AbilityConfig, patch: Patch | None) -> Any:
        """Read all that can be wrong, before a model is loaded; what it returns is `prepared`.

        Raises:
            BiasEditError: a text, problems or samples cannot be used.
        """
        ...

    def measure(
        self,
        loaded: LoadedModel | None,
        config: AbilityConfig,
        patch: Patch | None,
        prepared: Any,
    ) -> Mapping[str, Any]:
        """The task's part of `ability.json`: `before` and, with a patch, `after`.

        The model is as it was when this returns. It is None where samples are judged.
        """
        ...

    def table(self, part: Mapping[str, Any]) -> Table:
        """That part for the terminal."""
        ...


def task_of(name: str) -> AbilityTask:
    """The task of a name.

    Raises:
        UsageError: nobody registered it. BiasEditError: what is registered is no task.
    """
    found = TASKS.load(name)
    if name in TAKEN:
        raise BiasEditError(f"a task cannot be called {name!r}: ability.json has that key already")
    if isinstance(found, type) or not isinstance(found, AbilityTask):
        raise BiasEditError(f"the task {name!r} is not an object with what an ability task needs")
    return found
