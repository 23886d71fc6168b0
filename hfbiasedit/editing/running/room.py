"""How much goes through a model at once, and half of it where memory runs out.

A pass may fail half-way, with some of its gradients added up already, so what is repeated is a
whole stage of an edit (locating, trying budgets, solving), from its beginning.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TypeVar

from hfbiasedit import processes
from hfbiasedit.console import warn
from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.exhaustion import free_memory, out_of_memory

Found = TypeVar("Found")

MOST = 5  # halvings: of 16 prompts one is left
_halvings: ContextVar[int] = ContextVar("halvings", default=0)


def halved(size: int) -> int:
    """A size, halved as often as memory ran out, but at least one."""
    return max(1, size >> _halvings.get())


@contextlib.contextmanager
def remembered() -> Iterator[None]:
    """Inside the block sizes that were too large once are not tried again; after it they are."""
    token = _halvings.set(_halvings.get())
    try:
        yield
    finally:
        _halvings.reset(token)


def in_room(stage: Callable[[], Found]) -> Found:
    """What a stage of an edit returns; it is run again with half as much per pass if it must.

    Raises:
        BiasEditError: memory runs out with the smallest passes, or where several processes would
            have to agree on smaller ones.
    """
    while True:
        try:
            return stage()
        except Exception as error:
            if not out_of_memory(error):
                raise
            if _halvings.get() >= MOST or processes.processes() > 1:
                raise BiasEditError(
                    "out of memory; use --gradient-checkpointing, --dtype bfloat16, a smaller "
                    "--budget or a smaller model (--dry-run tells what an edit needs)"
                ) from error
        # Here the error is gone, and with it the frames that held on to tensors.
        _halvings.set(_halvings.get() + 1)
        free_memory()
        warn("out of memory: this stage of the edit begins again, half as many tokens per pass")
