"""An audit hook that denies what the kernel could not be asked to deny.

It is Python watching Python: code that means it gets round. It stands in where Landlock or the
system call filter is not to be had (macOS, Windows, old kernels).
"""

from __future__ import annotations

import os
import sys
from typing import Any

_DENIED = (
    "ctypes.", "ftplib.", "http.", "imaplib.", "msvcrt.", "nntplib.", "os.exec", "os.fork",
    "os.kill", "os.posix_spawn", "os.spawn", "os.startfile", "os.system", "os.chmod", "os.chown",
    "os.setxattr", "os.removexattr", "os.utime", "poplib.", "pty.", "resource.", "smtplib.",
    "socket.", "subprocess.", "telnetlib.", "urllib.", "webbrowser.", "winreg.", "_winapi.",
    "signal.pthread_kill",
)  # fmt: skip
_WRITES = (
    "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate",
    "shutil.rmtree",
)  # fmt: skip
_READS = ("os.chdir", "os.listdir", "os.scandir")
_MODULES = frozenset(
    ("_ctypes", "_multiprocessing", "_posixshmem", "_posixsubprocess", "_socket", "ctypes")
)
_CHANGES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def watch(readable: list[str], writable: list[str]) -> bool:
    """Install the hook for the rest of this process's life; see the module for what it is worth."""
    for name in _MODULES:
        sys.modules.pop(name, None)
    may_write = tuple(os.path.realpath(path) for path in writable)
    may_read = may_write + tuple(os.path.realpath(path) for path in readable)

    def inside(path: Any, roots: tuple[str, ...]) -> bool:
        if path is None or isinstance(path, int):
            return True
        try:
            real = os.path.realpath(os.fsdecode(path))
        except (TypeError, ValueError, OSError):
            return False
        return any(real == root or real.startswith(root + os.sep) for root in roots)

    def check(event: str, arguments: tuple[Any, ...]) -> None:
        allowed = True
        if event == "open":
            path, mode, flags = arguments
            writes = bool((flags or 0) & _CHANGES) or any(c in (mode or "") for c in "wax+")
            allowed = inside(path, may_write if writes else may_read)
        elif event == "import":
            allowed = arguments[0] not in _MODULES
        elif event.startswith(_WRITES):
            allowed = all(inside(a, may_write) for a in arguments if isinstance(a, str | bytes))
        elif event in _READS:
            allowed = inside(arguments[0], may_read)
        elif event.startswith(_DENIED):
            allowed = False
        if not allowed:
            raise PermissionError(f"not allowed here: {event}")

    sys.addaudithook(check)
    return True
