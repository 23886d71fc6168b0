"""Put all guards around the calling process, in the order that they need."""

from __future__ import annotations

import contextlib
import os
import sys
import sysconfig
from typing import Any

from .hook import watch
from .limits import lower_limits

KERNEL = ("landlock", "seccomp")
# What a Python program reads besides its own library; none of it is anybody's secret.
_SYSTEM = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/nix/store",
    "/usr/share/zoneinfo", "/etc/localtime", "/etc/ld.so.cache", "/dev/urandom", "/System/Library",
)  # fmt: skip


def guard(
    limits: dict[str, Any], writable: str, wanted: tuple[str, ...], *, private: bool = False
) -> dict[str, Any]:
    """Guard this process for the rest of its life.

    Args:
        limits: see `limits.lower_limits`.
        writable: the only directory that may be changed.
        wanted: the guards to try, of `landlock`, `seccomp` and `hook`; the hook is only
            used where one of the other two cannot be had.
        private: keep other processes of the same user out of this one's memory.

    Returns:
        `active` (the guards in force) and `missing` (limits that the platform does not know).
    """
    readable = [*sys.path, *_SYSTEM, sysconfig.get_paths()["stdlib"]]
    active = []
    # Modules are loaded before anything is locked; the list of directories is final.
    kernel = _kernel() if set(wanted) & set(KERNEL) else None
    filtered = kernel is not None and "seccomp" in wanted and kernel.can_filter()
    # The filter denies new processes outright; without it their number is limited.
    missing = lower_limits({**limits, "processes": None if filtered else 0})
    if kernel is not None:
        kernel.drop_privileges(private)
        if "landlock" in wanted and kernel.enclose(readable, [writable, "/dev/null"]):
            active.append("landlock")
        if filtered and kernel.filter_calls():
            active.append("seccomp")
    if len(active) < len(KERNEL) and "hook" in wanted and watch(readable, [writable, os.devnull]):
        active.append("hook")
    return {"active": active, "missing": missing}


class _Kernel:
    """The Linux guards, behind imports that other platforms may not have."""

    def __init__(self) -> None:
        import ctypes

        from . import landlock, seccomp

        self._libc = ctypes.CDLL(None, use_errno=True)
        self._ctypes = ctypes
        self.enclose = landlock.enclose
        self.filter_calls = seccomp.filter_calls

    def can_filter(self) -> bool:
        """Whether a system call filter can be installed here."""
        get_seccomp = 21
        machine = os.uname().machine
        return machine in ("x86_64", "aarch64") and self._libc.prctl(get_seccomp, 0, 0, 0, 0) >= 0

    def drop_privileges(self, private: bool) -> None:
        """No privileges by exec, none of root's; no orphans; if asked, memory closed to others."""
        set_dumpable, no_new_privileges, parent_death = 4, 38, 1
        self._libc.prctl(no_new_privileges, 1, 0, 0, 0)
        if private:
            self._libc.prctl(set_dumpable, 0, 0, 0, 0)
        self._libc.prctl(parent_death, 9, 0, 0, 0)
        header = (self._ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this process
        nothing = (self._ctypes.c_uint32 * 6)()
        with contextlib.suppress(AttributeError):  # musl calls it differently
            self._libc.capset(header, nothing)


def _kernel() -> _Kernel | None:
    if sys.platform != "linux":
        return None
    try:
        return _Kernel()
    except (ImportError, OSError):
        return None
