"""A system call filter: no new processes, no sockets, no signals to others (Linux).

The filter is a classic BPF program (linux/filter.h, linux/seccomp.h, linux/audit.h). A call
that is denied fails with EPERM, so that the judged code sees an ordinary `PermissionError`.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

_NEW_THREAD = 0x00010000  # CLONE_THREAD
_ALLOW, _KILL, _EPERM, _ENOSYS = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NR, _ARCH, _ARG0, _ARG2 = 0, 4, 16, 32  # offsets in struct seccomp_data

# Denied outright. Name -> number on (x86_64, aarch64); -1 where the call does not exist.
_DENIED: dict[str, tuple[int, int]] = {
    "fork": (57, -1), "vfork": (58, -1), "execve": (59, 221), "execveat": (322, 281),
    "setsid": (112, 157), "setpgid": (109, 154),
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201),
    "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "tkill": (200, 130),
    "pidfd_open": (434, 434), "pidfd_send_signal": (424, 424), "pidfd_getfd": (438, 438),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "kcmp": (312, 272), "process_madvise": (440, 440), "unshare": (272, 97), "setns": (308, 268),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "mount_setattr": (442, 442), "swapon": (167, 224), "reboot": (169, 142),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "kexec_load": (246, 104), "bpf": (321, 280), "perf_event_open": (298, 241),
    "io_uring_setup": (425, 425), "userfaultfd": (323, 282), "personality": (135, 92),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    # Memory that counts against no limit of the process.
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "mq_open": (240, 180),
    "shmget": (29, 194), "semget": (64, 190), "msgget": (68, 186),
    # Landlock does not judge these, and a path is all they need.
    "chmod": (90, -1), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, -1), "lchown": (94, -1), "fchown": (93, 55), "fchownat": (260, 54),
    "utime": (132, -1), "utimes": (235, -1), "futimesat": (261, -1), "utimensat": (280, 88),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "setxattrat": (463, 463),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "removexattrat": (466, 466), "file_setattr": (469, 469),
    "setrlimit": (160, 164), "sched_setattr": (314, 274), "quotactl": (179, 60),
}  # fmt: skip
_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
_CLONE, _CLONE3 = (56, 220), 435
_KILL_CALL, _TGKILL, _PRLIMIT = (62, 129), (234, 131), (302, 261)


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]


def filter_calls() -> bool:
    """Install the filter for this process, for good; false where the platform has none."""
    machine = os.uname().machine if sys.platform == "linux" else ""
    if machine not in _ARCHITECTURES or sys.maxsize < 1 << 32:
        return False
    code = _assemble(machine, os.getpid())
    program = _Program(len(code) // 8, code)
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges, set_seccomp, filter_mode = 38, 22, 2
    if libc.prctl(no_new_privileges, 1, 0, 0, 0) != 0:
        return False
    return bool(libc.prctl(set_seccomp, filter_mode, ctypes.byref(program), 0, 0) == 0)


def _assemble(machine: str, pid: int) -> bytes:
    """The program: checks of one call each, all falling through to `allow`."""
    architecture, column = _ARCHITECTURES[machine]
    lines = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NR),
        # The other calling conventions (x32) have numbers from here on.
        (_AT_LEAST, 0, 1, 0x40000000),
        (_RETURN, 0, 0, _EPERM),
    ]
    for numbers in _DENIED.values():
        if numbers[column] >= 0:
            lines += [(_EQUAL, 0, 1, numbers[column]), (_RETURN, 0, 0, _EPERM)]
    # clone3 hides its flags behind a pointer; glibc falls back to clone when it is missing.
    lines += [(_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _ENOSYS)]
    lines += _only_when(_CLONE[column], _ARG0, (_ANY_BIT, _NEW_THREAD))
    for call in (_KILL_CALL, _TGKILL):
        lines += _only_when(call[column], _ARG0, (_EQUAL, pid))
    # prlimit may read limits (no new value), not set them; a pointer has two halves.
    lines += [
        (_EQUAL, 0, 6, _PRLIMIT[column]),
        (_LOAD, 0, 0, _ARG2),
        (_EQUAL, 0, 2, 0),
        (_LOAD, 0, 0, _ARG2 + 4),
        (_EQUAL, 1, 0, 0),
        (_RETURN, 0, 0, _EPERM),
        (_LOAD, 0, 0, _NR),
    ]
    lines.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def _only_when(call: int, offset: int, test: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Deny `call` unless the low half of the argument at `offset` passes `test`."""
    operation, value = test
    return [
        (_EQUAL, 0, 4, call),
        (_LOAD, 0, 0, offset),
        (operation, 1, 0, value),
        (_RETURN, 0, 0, _EPERM),
        (_LOAD, 0, 0, _NR),
    ]
