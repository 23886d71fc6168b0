"""Several processes at one edit: who works on what, and sums over all of them.

Under `accelerate launch` (or `torchrun`) every process loads the model and takes its share of every
batch; gradients are added up, so that the result is that of one process with the same batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch
import torch.distributed as group
from torch import Tensor

Item = TypeVar("Item")


def join() -> None:
    """Join the processes that a launcher has started; nothing to do when there is only this one."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not group.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        group.init_process_group("nccl" if torch.cuda.is_available() else "gloo")


def rank() -> int:
    """This process's number; 0 is the one that writes."""
    return group.get_rank() if group.is_available() and group.is_initialized() else 0


def processes() -> int:
    """How many processes there are."""
    return group.get_world_size() if group.is_available() and group.is_initialized() else 1


def share(items: Sequence[Item]) -> list[Item]:
    """This process's part of a list that all processes hold."""
    return list(items[rank() :: processes()])


def add_up_(tensors: Iterable[Tensor]) -> None:
    """Replace every tensor by its sum over all processes."""
    if processes() > 1:
        for tensor in tensors:
            group.all_reduce(tensor)


def wait() -> None:
    """Wait until all processes are here."""
    if processes() > 1:
        group.barrier()
