"""Several processes at one piece of work: who works on what, and what all of them found.

Under `accelerate launch` (or `torchrun`) every process loads the model and runs the same lines. In
an edit each takes its share of every batch and gradients are added up; in an audit each scores its
share of the batches. The result is that of one process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from hfbiasedit.errors import BiasEditError

if TYPE_CHECKING:
    from torch import Tensor

Item = TypeVar("Item")
Result = TypeVar("Result")

_LONGEST_WAIT = timedelta(days=7)  # for a process that has more to do than this one
_OF_ALL = "of_all_processes"  # marks an error that all of them raise
_together: ContextVar[bool] = ContextVar("all processes run these lines", default=False)


def join() -> None:
    """Join the processes that a launcher has started; nothing to do when there is only this one."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        import torch
        import torch.distributed as group

        if group.is_initialized():
            return
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        # Sums are made on the processor, scores where the model is.
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        group.init_process_group(backend, timeout=_LONGEST_WAIT)


def rank() -> int:
    """This process's number; 0 is the one that writes."""
    group = _group()
    return group.get_rank() if group else 0


def processes() -> int:
    """How many processes there are."""
    group = _group()
    return group.get_world_size() if group else 1


def _group() -> Any:
    """`torch.distributed` where processes have joined; not imported for finding that out."""
    group = sys.modules.get("torch.distributed")
    return group if group and group.is_available() and group.is_initialized() else None


def share(items: Sequence[Item]) -> list[Item]:
    """This process's part of a list that all processes hold."""
    return list(items[rank() :: processes()])


def add_up_(tensors: Iterable[Tensor]) -> None:
    """Replace every tensor by its sum over all processes."""
    if processes() > 1:
        for tensor in tensors:
            _group().all_reduce(tensor)


def wait() -> None:
    """Wait until all processes are here."""
    if processes() > 1:
        _group().barrier()


@contextmanager
def together() -> Iterator[None]:
    """Join; in the block all processes run the same lines, so that what they do can be shared.

    Elsewhere one process may work alone while others wait, as callbacks of trainers do.
    """
    others = _group()
    join()
    token = _together.set(True)
    try:
        yield
    except Exception as error:
        if hasattr(error, _OF_ALL) and not others:  # in all of them
            _leave()
        raise
    else:
        if not others:
            _leave()
    finally:
        _together.reset(token)


def _leave() -> None:
    """Part when all are here; who ends with the connections open may take the others along."""
    group = _group()
    if group:
        group.barrier()
        group.destroy_process_group()


def team() -> tuple[int, int]:
    """This process's number among those that share what is done here, and how many they are."""
    return (rank(), processes()) if _together.get() else (0, 1)


def gathered(value: Result) -> list[Result]:
    """What every process of the team has, in the order of their numbers."""
    if team()[1] == 1:
        return [value]
    found: list[Any] = [None] * processes()
    _group().all_gather_object(found, value)
    return found


def everywhere(work: Callable[[], Result]) -> Result:
    """Run `work`, which every process of the team does; where it fails in one, it fails in all.

    Raises:
        BiasEditError: it failed in another process. What it raised itself goes first; of several
            processes the first one says it.
    """
    if team()[1] == 1:
        return work()
    mine: Exception | None = None
    try:
        result = work()
    except Exception as error:
        mine = error
    told = gathered(None if mine is None else f"{type(mine).__name__}: {mine}")
    failed = [place for place, text in enumerate(told) if text is not None]
    if not failed:
        return result
    if mine is None:
        mine = BiasEditError(f"process {failed[0]} failed: {told[failed[0]]}")
    setattr(mine, _OF_ALL, True)
    raise mine


def by_the_first(work: Callable[[], None]) -> None:
    """Run `work` in the first process of the team; where it fails there, it fails in all."""
    everywhere(work if team()[0] == 0 else lambda: None)


def is_said_here(error: BaseException) -> bool:
    """Whether this process is the one that says what went wrong."""
    return os.environ.get("RANK", "0") == "0" or not hasattr(error, _OF_ALL)
