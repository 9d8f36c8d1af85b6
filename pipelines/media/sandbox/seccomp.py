"""System calls that media work needs, and a filter that refuses all others.

What isn't listed fails with EPERM: no socket can be made or connected, no process looked into, no file's owner or mode
changed, no namespace entered, no program run but where the sandbox lets it. See seccomp(2); the numbers are those of
the kernel's tables.
"""

import ctypes
import os
import platform
import struct

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_SET_MODE_FILTER, _TSYNC = 1, 1
_PR_SET_NO_NEW_PRIVS = 38

# By name: the numbers on x86_64 and aarch64; None where an architecture has it not.
_ALLOWED: dict[str, tuple[int | None, int | None]] = {
    # Files: which ones is for Landlock to say.
    **{"read": (0, 63), "write": (1, 64), "readv": (19, 65), "writev": (20, 66), "lseek": (8, 62)},
    **{"pread64": (17, 67), "pwrite64": (18, 68), "preadv": (295, 69), "pwritev": (296, 70)},
    **{"preadv2": (327, 286), "pwritev2": (328, 287), "creat": (85, None)},
    **{"stat": (4, None), "fstat": (5, 80), "lstat": (6, None), "newfstatat": (262, 79), "statx": (332, 291)},
    **{"access": (21, None), "faccessat": (269, 48), "faccessat2": (439, 439)},
    **{"readlink": (89, None), "readlinkat": (267, 78), "getdents64": (217, 61)},
    **{"getcwd": (79, 17), "chdir": (80, 49), "umask": (95, 166), "statfs": (137, 43), "fstatfs": (138, 44)},
    **{"fsync": (74, 82), "fdatasync": (75, 83), "sync_file_range": (277, 84)},
    **{"ftruncate": (77, 46), "fallocate": (285, 47), "fadvise64": (221, 223)},
    **{"copy_file_range": (326, 285), "sendfile": (40, 71), "unlink": (87, None), "unlinkat": (263, 35)},
    **{"pipe": (22, None), "pipe2": (293, 59), "eventfd2": (290, 19)},
    **{"poll": (7, None), "ppoll": (271, 73), "select": (23, None), "pselect6": (270, 72)},
    **{"epoll_create1": (291, 20), "epoll_ctl": (233, 21), "epoll_wait": (232, None), "epoll_pwait": (281, 22)},
    # Memory.
    **{"mmap": (9, 222), "munmap": (11, 215), "mremap": (25, 216), "mprotect": (10, 226), "madvise": (28, 233)},
    **{"brk": (12, 214), "mincore": (27, 232), "msync": (26, 227), "get_mempolicy": (239, 236)},
    # Threads, and what a process may know of itself.
    **{"futex": (202, 98), "set_robust_list": (273, 99), "get_robust_list": (274, 100), "rseq": (334, 293)},
    **{"membarrier": (324, 283), "set_tid_address": (218, 96), "arch_prctl": (158, None)},
    **{"exit": (60, 93), "exit_group": (231, 94), "wait4": (61, 260), "waitid": (247, 95)},
    **{"gettid": (186, 178), "getpid": (39, 172), "getppid": (110, 173), "getpgrp": (111, None)},
    **{"getpgid": (121, 155), "getsid": (124, 156), "getuid": (102, 174), "geteuid": (107, 175)},
    **{"getgid": (104, 176), "getegid": (108, 177), "getgroups": (115, 158), "getresuid": (118, 148)},
    **{"getresgid": (120, 150), "capget": (125, 90), "uname": (63, 160), "sysinfo": (99, 179)},
    **{"getrandom": (318, 278), "getrusage": (98, 165), "getrlimit": (97, 163), "getpriority": (140, 141)},
    **{"sched_yield": (24, 124), "sched_getaffinity": (204, 123), "sched_getparam": (143, 121)},
    **{"sched_getscheduler": (145, 120), "sched_get_priority_max": (146, 125), "sched_get_priority_min": (147, 126)},
    **{"getcpu": (309, 168)},
    # Signals to itself, and time.
    **{"rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "sigaltstack": (131, 132)},
    **{"rt_sigpending": (127, 136), "rt_sigtimedwait": (128, 137), "rt_sigsuspend": (130, 133)},
    **{"restart_syscall": (219, 128), "pause": (34, None)},
    **{"clock_gettime": (228, 113), "clock_getres": (229, 114), "clock_nanosleep": (230, 115)},
    **{"nanosleep": (35, 101), "gettimeofday": (96, 169), "time": (201, None), "times": (100, 153)},
    **{"setitimer": (38, 103), "getitimer": (36, 102)},
    # Sockets that it was given.
    **{"recvmsg": (47, 212), "sendmsg": (46, 211), "recvfrom": (45, 207), "sendto": (44, 206)},
    **{"shutdown": (48, 210), "getsockname": (51, 204), "getpeername": (52, 205)},
    **{"getsockopt": (55, 209)},
}
_RUN = {"execve": (59, 221), "vfork": (58, None), "fork": (57, None), "memfd_create": (319, 279)}
# Their flags are in memory, where none can be looked at: without them, glibc calls clone and openat.
_MISSING = {"clone3": (435, 435), "openat2": (437, 437)}
_CLONE, _OPEN, _OPENAT = (56, 220), (2, None), (257, 56)
_CLOSE, _DUP, _DUP2, _DUP3 = (3, 57), (32, 23), (33, None), (292, 24)
_FCNTL, _IOCTL, _PRCTL, _PRLIMIT, _KILL, _TGKILL = (72, 25), (16, 29), (157, 167), (302, 261), (62, 129), (234, 131)

_CLONE_THREAD = 0x10000
# New namespaces; a process of somebody else; one that is traced.
_CLONE_ODD = 0x7E020000 | 0x8000 | 0x2000
_FCNTL_ODD = (8, 10, 15, 1024, 1026)  # F_SETOWN, F_SETSIG, F_SETOWN_EX, F_SETLEASE, F_NOTIFY: signals to others
# TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX, FICLONE
_IOCTLS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451, 0x40049409)
_O_WRONLY, _O_RDWR, _O_TRUNC = 1, 2, 0x200
_PRCTLS = (15, 16, 0x53564D41)  # PR_SET_NAME, PR_GET_NAME, PR_SET_VMA

_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_JMP|JSET|K, BPF_RET|K
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16  # in struct seccomp_data
_ALLOW, _KILL_PROCESS, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_Code = list[tuple[int, int, int, int]]


def restrict_calls(*, lifeline: int, runs_programs: bool) -> bool:
    """Refuse this process and all its threads, from now on, what isn't listed; False: this system has no such filter.

    With ``runs_programs`` it may start other processes, which are under the same filter. None of them can close
    ``lifeline``, or change by whom it is heard.
    """
    machine = platform.machine()
    if machine not in _AUDIT_ARCH:
        return False
    code = _filter(machine, os.getpid(), lifeline, runs_programs=runs_programs)
    packed = b"".join(struct.pack("=HBBI", *each) for each in code)
    held = ctypes.create_string_buffer(packed, len(packed))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(code), ctypes.addressof(held)))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    number = ctypes.c_long(_SECCOMP[machine])
    done = libc.syscall(number, ctypes.c_long(_SET_MODE_FILTER), ctypes.c_long(_TSYNC), program)
    return bool(done == 0)


def _filter(machine: str, pid: int, lifeline: int, *, runs_programs: bool) -> _Code:
    which = list(_AUDIT_ARCH).index(machine)
    code: _Code = [
        (_LOAD, 0, 0, _ARCH_AT),
        (_EQUAL, 1, 0, _AUDIT_ARCH[machine]),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    allowed = {**_ALLOWED, **(_RUN if runs_programs else {})}
    for numbers in allowed.values():
        code += _of(numbers[which], [(_RETURN, 0, 0, _ALLOW)])
    for numbers in _MISSING.values():
        code += _of(numbers[which], [(_RETURN, 0, 0, _ERRNO | _ENOSYS)])
    code += _of(_CLONE[which], _clone(runs_programs=runs_programs))
    code += _of(_OPEN[which], _no_cutting(1))
    code += _of(_OPENAT[which], _no_cutting(2))
    for numbers, arguments in ((_CLOSE, 1), (_DUP, 1), (_DUP2, 2), (_DUP3, 2)):
        block = [each for index in range(arguments) for each in _refused(index, lifeline)]
        code += _of(numbers[which], [*block, (_RETURN, 0, 0, _ALLOW)])
    others = _argument(1, _FCNTL_ODD, then=_ERRNO | _EPERM, otherwise=_ALLOW)
    code += _of(_FCNTL[which], [*_refused(0, lifeline), *others])
    allowed_there = _argument(1, _IOCTLS, then=_ALLOW, otherwise=_ERRNO | _EPERM)
    code += _of(_IOCTL[which], [*_refused(0, lifeline), *allowed_there])
    code += _of(_PRCTL[which], _argument(0, _PRCTLS, then=_ALLOW, otherwise=_ERRNO | _EPERM))
    code += _of(_PRLIMIT[which], _no_pointer(2))
    own = (0, pid, -pid & 0xFFFFFFFF)  # its group, itself, its group by number
    code += _of(_KILL[which], _argument(0, own, then=_ALLOW, otherwise=_ERRNO | _EPERM))
    code += _of(_TGKILL[which], _argument(0, (pid,), then=_ALLOW, otherwise=_ERRNO | _EPERM))
    return [*code, (_RETURN, 0, 0, _ERRNO | _EPERM)]


def _of(number: int | None, block: _Code) -> _Code:
    """What becomes of one call; each block ends in returns."""
    return [] if number is None else [(_EQUAL, 0, len(block), number), *block]


def _argument(index: int, values: tuple[int, ...], *, then: int, otherwise: int) -> _Code:
    """By the low half of an argument: of these the kernel looks at no more."""
    code: _Code = [(_LOAD, 0, 0, _ARGUMENTS_AT + 8 * index)]
    for value in values:
        code += [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, then)]
    return [*code, (_RETURN, 0, 0, otherwise)]


def _refused(index: int, value: int) -> _Code:
    """Refuse one value of an argument; others go on to what follows."""
    return [(_LOAD, 0, 0, _ARGUMENTS_AT + 8 * index), (_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ERRNO | _EPERM)]


def _no_cutting(index: int) -> _Code:
    """Refuse to cut a file short that is opened for reading: before Linux 6.2 Landlock doesn't."""
    return [
        (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * index),
        (_ANY_BIT, 0, 2, _O_TRUNC),
        (_ANY_BIT, 1, 0, _O_WRONLY | _O_RDWR),
        (_RETURN, 0, 0, _ERRNO | _EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]


def _no_pointer(index: int) -> _Code:
    low, high = _ARGUMENTS_AT + 8 * index, _ARGUMENTS_AT + 8 * index + 4
    return [
        *((_LOAD, 0, 0, low), (_EQUAL, 1, 0, 0), (_RETURN, 0, 0, _ERRNO | _EPERM)),
        *((_LOAD, 0, 0, high), (_EQUAL, 1, 0, 0), (_RETURN, 0, 0, _ERRNO | _EPERM)),
        (_RETURN, 0, 0, _ALLOW),
    ]


def _clone(*, runs_programs: bool) -> _Code:
    code: _Code = [(_LOAD, 0, 0, _ARGUMENTS_AT), (_ANY_BIT, 0, 1, _CLONE_ODD), (_RETURN, 0, 0, _ERRNO | _EPERM)]
    if not runs_programs:
        code += [(_ANY_BIT, 1, 0, _CLONE_THREAD), (_RETURN, 0, 0, _ERRNO | _EPERM)]
    return [*code, (_RETURN, 0, 0, _ALLOW)]
