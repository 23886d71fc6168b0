"""Resource limits of the calling process, never above its hard limits."""

from __future__ import annotations

import sys
from typing import Any

MIB = 1 << 20


def lower_limits(limits: dict[str, Any]) -> list[str]:
    """Lower this process's limits; return the names of those the platform does not allow.

    Args:
        limits: `cpu_seconds`, `memory_mib`, `file_mib`, `open_files` and `processes`
            (None: left as it is).
    """
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return ["cpu", "memory", "file size", "open files", "processes"]
    cpu = int(limits["cpu_seconds"])
    # One second between the soft limit (a signal that can be told apart) and the kill.
    wanted = [
        ("cpu", "RLIMIT_CPU", cpu, cpu + 1),
        ("memory", "RLIMIT_AS", limits["memory_mib"] * MIB, None),
        ("file size", "RLIMIT_FSIZE", limits["file_mib"] * MIB, None),
        ("open files", "RLIMIT_NOFILE", limits["open_files"], None),
        ("core dumps", "RLIMIT_CORE", 0, None),
    ]
    if limits.get("processes") is not None:
        wanted.append(("processes", "RLIMIT_NPROC", limits["processes"], None))
    missing = []
    for name, constant, soft, hard in wanted:
        number = getattr(resource, constant, None)
        if number is None or not _lower(resource, number, soft, soft if hard is None else hard):
            missing.append(name)
    if sys.platform == "darwin" and "memory" not in missing:
        missing.append("memory")  # accepted there, but not enforced
    return missing


def _lower(resource: Any, number: int, soft: int, hard: int) -> bool:
    """Set one limit to at most its present hard limit; false where the system refuses."""
    try:
        _, ceiling = resource.getrlimit(number)
        if ceiling != resource.RLIM_INFINITY:
            soft, hard = min(soft, ceiling), min(hard, ceiling)
        resource.setrlimit(number, (soft, hard))
    except (ValueError, OSError):
        return False
    return True
