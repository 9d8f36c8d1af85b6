"""The real media child, in its real sandbox, whose functions are ways out: ``python -I child.py`` and what a host adds.

A way out is a function that returns, or fails for want of something that is no right, when it got out: its arguments
do no harm then. It raises an OSError of one of a few kinds when it was refused.
"""

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import platform
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import imageio_ffmpeg
from pydantic import BaseModel

from pipelines.media import child as real
from pipelines.media.progress import OnProgress, Progress
from pipelines.media.source import Descriptor

MEMORY_BYTES, FILE_BYTES = 4 << 30, 1 << 30
# ENOSYS: as if there were no such call. ENXIO: a socket, which nobody opens.
_REFUSALS = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENXIO, errno.EFBIG, errno.ENOMEM}
_leaked: list[bytes] = []
_libc = ctypes.CDLL(None, use_errno=True)
_X86 = platform.machine() == "x86_64"


class Tried(BaseModel):
    """``escaped``: those that got out. ``refused``: the others, with why."""

    escaped: list[str]
    refused: dict[str, str]


class Around(BaseModel):
    """What lies around the child: where it could go."""

    token: str
    scratch: str
    outside: str
    link_out: str
    unix_socket: str
    tcp_port: int
    parent: int
    source: int = -1  # an inherited descriptor


def _call(x86: int, arm: int, *arguments: Any) -> int:
    """A system call by its number. Raises OSError."""
    given = [each if isinstance(each, ctypes.Array | bytes) else ctypes.c_long(each) for each in arguments]
    result = int(_libc.syscall(ctypes.c_long(x86 if _X86 else arm), *given))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _lifeline() -> int:
    return int(sys.argv[sys.argv.index("--lifeline") + 1])


def _forked(fork: Callable[[], int]) -> None:
    if fork() == 0:
        os._exit(0)


def _machine_code(code: bytes) -> int:
    with mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as page:
        page.write(code)
        held = ctypes.c_char.from_buffer(page)
        result = int(ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(held))())
        del held
    return result


def _signalled_by_a_pipe(pid: int) -> None:
    read_end, write_end = os.pipe()
    fcntl.fcntl(read_end, fcntl.F_SETOWN, pid)
    fcntl.fcntl(read_end, fcntl.F_SETFL, os.O_ASYNC)
    os.write(write_end, b"x")


def _ways(at: Around) -> dict[str, Callable[[], Any]]:
    """By what they would reach."""
    inside = f"{at.scratch}/mine"
    Path(inside).write_text("inside")
    kinds = {
        "inet": (socket.AF_INET, socket.SOCK_STREAM),
        "inet6": (socket.AF_INET6, socket.SOCK_STREAM),
        "udp": (socket.AF_INET, socket.SOCK_DGRAM),
        "unix": (socket.AF_UNIX, socket.SOCK_STREAM),
        "netlink": (socket.AF_NETLINK, socket.SOCK_RAW),
        "packet": (socket.AF_PACKET, socket.SOCK_RAW),
        "vsock": (socket.AF_VSOCK, socket.SOCK_STREAM),
        "alg": (socket.AF_ALG, socket.SOCK_SEQPACKET),
    }
    sockets = {f"a socket: {name}": lambda kind=kind: socket.socket(*kind) for name, kind in kinds.items()}
    read = {
        "read the token": at.token,
        "read the token by a link": at.link_out,
        "read accounts": "/etc/passwd",
        "read the parent's environment": f"/proc/{at.parent}/environ",
        "read the parent's memory": f"/proc/{at.parent}/mem",
        "read the parent's descriptors": f"/proc/{at.parent}/fd/0",
        "read its own environment": "/proc/self/environ",
        "read the machine's mounts": "/proc/mounts",
        "read a neighbour": f"{at.outside}/film.mkv",
    }
    reads = {name: lambda path=path: Path(path).read_bytes() for name, path in read.items()}
    return {
        **sockets,
        **reads,
        "a pair of sockets": socket.socketpair,
        "connect to the store": lambda: socket.socket(socket.AF_UNIX).connect(at.unix_socket),
        "connect to a port": lambda: socket.create_connection(("127.0.0.1", at.tcp_port), 1),
        "list a folder": lambda: list(Path(at.outside).iterdir()),
        "list processes": lambda: list(Path("/proc").iterdir()),
        "write a source": lambda: os.open(f"/proc/self/fd/{at.source}", os.O_RDWR),
        "write a neighbour": lambda: Path(f"{at.outside}/film.mkv").write_bytes(b"gone"),
        "cut a neighbour": lambda: os.truncate(f"{at.outside}/film.mkv", 0),
        "make a file outside": lambda: Path(f"{at.outside}/new").write_bytes(b""),
        # Compiled code, which Python makes anew, should it ever succeed.
        "cut code short": lambda: os.close(os.open(real.__cached__, os.O_RDONLY | os.O_TRUNC)),
        "cut by its name": lambda: os.truncate(inside, 0),
        "make a folder": lambda: Path(f"{at.scratch}/folder").mkdir(),
        "give another name": lambda: Path(inside).rename(f"{at.scratch}/other"),
        "give two names": lambda: os.link(inside, f"{at.scratch}/other"),
        "open by the newer call": lambda: _call(437, 437, -100, at.token.encode() + b"\0", bytes(24), 24),
        "hold a lock on a source": lambda: fcntl.flock(at.source, fcntl.LOCK_EX),
        "a filter on a socket": lambda: _call(54, 208, _lifeline(), socket.SOL_SOCKET, 26, bytes(16), 16),
        "make a folder outside": lambda: Path(f"{at.outside}/folder").mkdir(),
        "write by a link": lambda: Path(at.link_out).write_bytes(b""),
        "remove a neighbour": lambda: Path(f"{at.outside}/film.mkv").unlink(),
        "move a neighbour in": lambda: Path(f"{at.outside}/film.mkv").rename(f"{at.scratch}/theirs"),
        "move a file out": lambda: Path(inside).rename(f"{at.outside}/mine"),
        "link a neighbour in": lambda: os.link(f"{at.outside}/film.mkv", f"{at.scratch}/theirs"),
        "link a file out": lambda: os.link(inside, f"{at.outside}/mine"),
        "link to elsewhere": lambda: Path(f"{at.scratch}/etc").symlink_to("/etc"),
        "a device": lambda: os.mknod(f"{at.scratch}/device", 0o600 | 0o020000, os.makedev(1, 1)),
        "a pipe with a name": lambda: os.mkfifo(f"{at.scratch}/fifo"),
        "change a mode": lambda: Path(inside).chmod(0o4777),
        "change a source's mode": lambda: os.fchmod(at.source, 0o777),
        "change an owner": lambda: os.chown(inside, 1, 1),
        "change a time": lambda: os.utime(f"{at.outside}/film.mkv", (0, 0)),
        "change a source's time": lambda: os.utime(at.source, (0, 0)),
        "set an attribute": lambda: os.setxattr(inside, "user.x", b"x"),
        "write to its log's neighbour": lambda: os.open(at.token, os.O_WRONLY | os.O_APPEND),
        "a file too large": lambda: os.truncate(inside, 2 * FILE_BYTES),
        "memory too large": lambda: mmap.mmap(-1, 2 * MEMORY_BYTES),
        "run a shell": lambda: os.execv("/bin/sh", ["sh", "-c", "true"]),
        "run Python": lambda: os.execv(sys.executable, ["python", "-c", ""]),
        "run what it wrote": lambda: os.execv(_written(at.scratch), ["written"]),
        "run by a descriptor": lambda: _call(322, 281, at.source, b"", 0, 0, 0x1000),
        "another group": lambda: os.setpgid(0, os.getpgid(at.parent)),
        "a session of its own": os.setsid,
        "a namespace": lambda: _call(272, 97, 0x10000000),
        "a process in a namespace": lambda: _forked(lambda: _call(56, 220, 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0)),
        "a sibling": lambda: _forked(lambda: _call(56, 220, 0x8000 | signal.SIGCHLD, 0, 0, 0, 0)),
        "a process by clone3": lambda: _call(435, 435, bytes(64), 64),
        "enter a namespace": lambda: _call(308, 268, at.source, 0),
        "mount": lambda: _call(165, 40, b"none", b"/not-there", b"tmpfs", 0, 0),
        "another root": lambda: os.chroot(at.scratch),
        "trace the parent": lambda: _call(101, 117, 0x4206, at.parent, 0, 0),
        "be traced": lambda: _call(101, 117, 0, 0, 0, 0),
        "read memory of the parent": lambda: _call(310, 270, at.parent, bytes(16), 1, bytes(16), 1, 0),
        "write memory of the parent": lambda: _call(311, 271, at.parent, bytes(16), 1, bytes(16), 1, 0),
        "a handle of the parent": lambda: _call(434, 434, at.parent, 0),
        "compare with the parent": lambda: _call(312, 272, os.getpid(), at.parent, 0, 0, 0),
        "signal the parent": lambda: os.kill(at.parent, 0),
        "signal everybody": lambda: os.kill(-1, 0),
        "signal the first process": lambda: os.kill(1, 0),
        "signal the parent's thread": lambda: _call(234, 131, at.parent, at.parent, 0),
        "signal the parent's thread by its number": lambda: _call(200, 130, at.parent, 0),
        "queue a signal for the parent": lambda: _call(129, 138, at.parent, signal.SIGUSR1, bytes(128)),
        "signal the parent by a pipe": lambda: _signalled_by_a_pipe(at.parent),
        "be told of a folder": lambda: fcntl.fcntl(os.open(at.scratch, os.O_RDONLY), fcntl.F_NOTIFY, 1),
        "hold a lease on a source": lambda: fcntl.fcntl(at.source, fcntl.F_SETLEASE, fcntl.F_RDLCK),
        "let go of the lifeline": lambda: os.close(_lifeline()),
        "put something in its place": lambda: os.dup2(at.source, _lifeline()),
        "not hear it": lambda: fcntl.fcntl(_lifeline(), fcntl.F_SETFL, 0),
        "hold it once more": lambda: _call(32, 23, _lifeline()),
        "hold it twice": lambda: _call(292, 24, _lifeline(), 99, 0),
        "open it again": lambda: os.open(f"/proc/self/fd/{_lifeline()}", os.O_WRONLY),
        "leave it to no program": lambda: fcntl.ioctl(_lifeline(), 0x5451),
        "let go of all": lambda: _call(436, 436, 1000, 2000, 0),
        "outlive the parent": lambda: _call(157, 167, 1, 0, 0, 0, 0),
        "be dumpable": lambda: _call(157, 167, 4, 1, 0, 0, 0),
        "take the filter off": lambda: _call(157, 167, 22, 0, 0, 0, 0),
        "lift a limit": lambda: _call(160, 164, resource.RLIMIT_AS, b"\xff" * 16),
        "lower a limit of the parent": lambda: resource.prlimit(at.parent, resource.RLIMIT_CORE, (0, 0)),
        "get ahead": lambda: os.setpriority(os.PRIO_PROCESS, 0, 0),
        "get ahead in real time": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
        "hold the parent back": lambda: os.setpriority(os.PRIO_PROCESS, at.parent, 19),
        "pin the parent": lambda: os.sched_setaffinity(at.parent, {0}),
        "be somebody else": lambda: os.setuid(65534),
        "take a right": lambda: _call(
            126, 91, struct.pack("=Ii", 0x20080522, 0), struct.pack("=6I", *[0xFFFFFFFF] * 6)
        ),
        "type into a terminal": lambda: fcntl.ioctl(0, 0x5412, b"x"),
        "a ring of system calls": lambda: _call(425, 425, 8, bytes(120)),
        "a filter of packets": lambda: _call(321, 280, 0, bytes(72), 72),
        "count events": lambda: _call(298, 241, bytes(128), 0, -1, -1, 0),
        "handle faults": lambda: _call(323, 282, 1),
        "keys of the kernel": lambda: _call(250, 219, 0, -3, 0, 0, 0),
        "add a key": lambda: _call(248, 217, b"user", b"x", b"x", 1, -3),
        "a file by its handle": lambda: _call(304, 265, -100, bytes(16), 0),
        "shared memory of others": lambda: _call(29, 194, 1234, 4096, 0o1666),
        "semaphores of others": lambda: _call(64, 190, 1234, 1, 0o1666),
        "queues of others": lambda: _call(68, 186, 1234, 0o1666),
        "messages of the kernel": lambda: _call(103, 116, 3, bytes(64), 64),
        "another kernel": lambda: _call(246, 104, 0, 0, 0, 0),
        "a module of the kernel": lambda: _call(175, 105, bytes(8), 8, b""),
        "watch all files": lambda: _call(300, 262, 0, 0),
        "the clock": lambda: _call(227, 112, 99, bytes(16)),
        "the host's name": lambda: _call(170, 161, b"", -1),
        "swap": lambda: _call(167, 224, b"/not-there", 0),
        "restart the machine": lambda: _call(169, 142, 0, 0, 0, 0),
        "a port of the machine": lambda: _call(173, 0, 0x80, 1, 1) if _X86 else _refused(),
        "a call by its other number": lambda: _call(0x40000000 | 41, 0, 2, 1, 0) if _X86 else _refused(),
    }


def _refused() -> None:
    raise PermissionError(errno.EPERM, "not on this architecture")


def _written(scratch: str) -> str:
    path = Path(f"{scratch}/written")
    path.write_bytes(b"#!/bin/sh\n")
    with contextlib.suppress(OSError):
        path.chmod(0o700)
    return str(path)


# Refused where no program is to be run. Where one is, what these start is in the same sandbox.
_PROCESSES: dict[str, Callable[[], Any]] = {
    "a file in memory": lambda: os.close(os.memfd_create("memory")),
    "a process": lambda: _forked(os.fork),
    "a process by clone": lambda: _forked(lambda: _call(56, 220, signal.SIGCHLD, 0, 0, 0, 0)),
}


def attempt(at: Around, source: Descriptor) -> Tried:
    """Try all ways, from the first thread and from another."""
    at = at.model_copy(update={"source": source.number})
    ways = {**_ways(at), **_PROCESSES}
    tried = _tried(ways)
    others: list[Tried] = []
    thread = threading.Thread(target=lambda: others.append(_tried(ways)))
    thread.start()
    thread.join()
    return Tried(escaped=[*tried.escaped, *others[0].escaped], refused=tried.refused)


def _tried(ways: Mapping[str, Callable[[], Any]]) -> Tried:
    told = Tried(escaped=[], refused={})
    for name, way in ways.items():
        try:
            way()
        except OSError as error:
            if error.errno in _REFUSALS:
                told.refused[name] = str(error)
            else:
                told.escaped.append(f"{name}: {error}")
        else:
            told.escaped.append(name)
    return told


def calls_as_on_i386() -> None:
    """getpid() by the gate for programs of 32 bits, whose calls have other numbers."""
    _machine_code(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")


def linger(at: Around) -> Tried:
    """Start a process that hears of nothing and nobody, and leave it."""
    for let_go in (
        lambda: fcntl.fcntl(_call(32, 23, _lifeline()), fcntl.F_SETFL, 0),
        lambda: os.open(f"/proc/self/fd/{_lifeline()}", os.O_RDWR),
        lambda: socket.socket(fileno=_lifeline()).shutdown(socket.SHUT_RDWR),
    ):
        with contextlib.suppress(OSError):
            let_go()
    if (pid := os.fork()) == 0:
        for number in range(1, signal.NSIG):
            with contextlib.suppress(OSError, ValueError):
                signal.signal(number, signal.SIG_IGN)
        os.closerange(0, 512)
        while True:
            signal.pause()
    Path(f"{at.scratch}/lingers").write_text(str(pid))
    return Tried(escaped=[], refused={})


def stall(on_progress: OnProgress) -> Tried:
    """Come some way, and no further."""
    on_progress(Progress(fraction=0.1, frames=1, position_s=0.1))
    threading.Event().wait()
    raise AssertionError


def flood(on_progress: OnProgress) -> Tried:
    """Tell of progress without end."""
    while True:
        on_progress(Progress(fraction=0.1, frames=1, position_s=0.1))


def leak(count: int) -> Tried:
    """Take memory and never give it back; ``count`` bytes are more than is allowed."""
    real._MOST_BYTES = count
    _leaked.append(os.urandom(count))
    return Tried(escaped=[], refused={})


def run_program(at: Around, arguments: list[str]) -> Tried:
    """Run the ffmpeg program: what it was refused."""
    done = subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *arguments], capture_output=True, check=False
    )
    return Tried(escaped=[] if done.returncode else arguments, refused={"ffmpeg": done.stderr.decode()})


_FUNCTIONS = {
    function.__name__: function for function in (attempt, calls_as_on_i386, linger, stall, flood, leak, run_program)
}

if __name__ == "__main__":
    real._function = _FUNCTIONS.__getitem__  # type: ignore[assignment]
    real.main()
