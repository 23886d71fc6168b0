"""Rows of prompts: on a GPU that has the room, in main memory, or in a temporary file, mapped."""

from __future__ import annotations

import errno
import mmap
import os
import tempfile
from weakref import WeakValueDictionary, finalize

import torch
from torch import Tensor

from hfbiasedit.errors import BiasEditError

IN_MEMORY = 1 << 26  # bytes of rows that are kept in memory
_PIECE = 1 << 24  # bytes that are written at once
_UNKNOWN = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)  # file systems that cannot reserve
_maps: WeakValueDictionary[int, mmap.mmap] = WeakValueDictionary()  # by the address of their data
_files: dict[int, int] = {}  # descriptors of the same, where files can be read beside their maps


def home(height: int, width: int, device: torch.device, room: float | None) -> torch.device:
    """Where rows are kept of which two of a size may take `room` on a device: there, or not."""
    there = room is not None and 2 * size_of(height, width) <= room
    return device if there else torch.device("cpu")


def size_of(height: int, width: int) -> int:
    """Bytes of rows."""
    return 2 * height * width


def zeros(height: int, width: int, device: torch.device | str = "cpu") -> Tensor:
    """Zeros [height, width] in bfloat16: on a device; else in memory, or in a file that is gone
    when they are.

    Raises:
        BiasEditError: the disk for temporary files has too little room.
    """
    size, device = size_of(height, width), torch.device(device)
    if size <= IN_MEMORY or device.type != "cpu":
        return torch.zeros(height, width, dtype=torch.bfloat16, device=device)
    # The file has no name, or (on Windows) is removed by the system with its last handle, which the
    # map holds; the tensor holds the map.
    with tempfile.TemporaryFile(prefix="hfbiasedit-") as file:
        try:
            _reserve(file.fileno(), size)
            mapped = mmap.mmap(file.fileno(), size)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
                raise
            raise BiasEditError(
                f"{size / 1e9:.1f} GB of temporary files do not fit into {tempfile.gettempdir()}; "
                "free some space, set TMPDIR to a larger disk or give a smaller --budget"
            ) from error
        rows = torch.frombuffer(mapped, dtype=torch.bfloat16).view(height, width)
        address = _address(rows)
        _maps[address] = mapped
        if hasattr(os, "preadv"):
            _files[address] = os.dup(file.fileno())
            finalize(mapped, lambda: os.close(_files.pop(address)))
    return rows


def columns(rows: Tensor, place: slice) -> Tensor:
    """A copy of neighbouring columns of rows [N, D].

    They are read past the map where that can be done: systems map the file in large pages, and of a
    page that is touched anywhere all counts as the process's memory, here nearly the whole file.
    Rows on a device are not copied.
    """
    if rows.device.type != "cpu":
        return rows[:, place]
    file = _files.get(_address(rows))
    if file is None:
        found = rows[:, place].clone()
        let_go(rows)
        return found
    start, end, _ = place.indices(rows.shape[1])
    found = torch.empty(len(rows), end - start, dtype=rows.dtype)
    size, stride = found.element_size(), rows.stride(0)
    room = found.view(torch.uint8).view(-1).numpy().data
    width = size * (end - start)
    for number in range(len(rows)):
        piece = room[number * width : (number + 1) * width]
        offset = size * int(rows.storage_offset() + number * stride + start)
        if os.preadv(file, [piece], offset) != width:
            raise OSError(errno.EIO, "a temporary file is shorter than it was")
    return found


def let_go(rows: Tensor) -> None:
    """Leave the rows to the disk: what a map has read or written counts as the process's memory.

    The values stay (the system holds them while it has room, and reads them again where it has
    not); rows in memory are left alone.
    """
    mapped = _maps.get(_address(rows))
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def copy(source: Tensor, target: Tensor, columns: Tensor | None = None) -> None:
    """Copy rows, of some columns (a mask), one at a time."""
    for row, place in zip(source, target, strict=True):
        place.copy_(row if columns is None else row[columns.to(row.device)])
        let_go(source)
        let_go(target)


def _address(rows: Tensor) -> int:
    return rows.untyped_storage().data_ptr()


def _reserve(file: int, size: int) -> None:
    """Give an empty file its size, with room on the disk for all of it.

    A file that is only long has no room yet: where the disk is full, writing to its map kills the
    process.
    """
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file, 0, size)
            return
        except OSError as error:
            if error.errno not in _UNKNOWN:
                raise
    piece = bytes(min(size, _PIECE))
    left = size
    while left:
        left -= os.write(file, piece[:left])
