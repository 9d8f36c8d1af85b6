"""Put this process into its sandbox. Whatever has to be open, or known of the system, is so before that.

What is in force is told, so that a kernel that lacks something is seen: see docs/security.md for what each part keeps
out.
"""

import contextlib
import ctypes
import errno
import importlib.util
import resource
import struct
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from pipelines.media.sandbox.landlock import restrict_files
from pipelines.media.sandbox.seccomp import restrict_calls

_OPEN_FILES = 512
_PR_CAPBSET_DROP = 24
_CAPABILITY_VERSION = 0x20080522
_CAPABILITIES = 64
_CAP_SYS_NICE = 23
_CAP_DAC_OVERRIDE = 1  # a root whose folder is another's writes there; which folders is for Landlock to say
_PACKAGE = Path(__file__).parents[2]
# Code and its data: no folder in it is anybody's own.
_SYSTEM = (
    *("/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib", "/lib64", "/etc/ld.so.cache"),
    *("/usr/share/zoneinfo", "/etc/localtime", "/dev/urandom"),
    *("/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu", "/sys/devices/system/node"),
)
_NOWHERE = Path("/dev/null")
# What loads a program that is linked with the system's libraries. By it any that can be read is run, in the same
# sandbox.
_LOADERS = (
    *("/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"),
    *("/lib/ld-musl-x86_64.so.1", "/lib/ld-musl-aarch64.so.1"),
)


def confine(
    memory_bytes: int, file_bytes: int, folders: Sequence[Path], *, lifeline: int, runs_programs: bool
) -> dict[str, bool]:
    """Take away what media work doesn't need; returns what is in force.

    It reads code, and reads and writes below ``folders``; it has what it was given open, and opens nothing else. With
    ``runs_programs`` it may run the ffmpeg program that came with us, under the same limits. Whatever it starts holds
    ``lifeline`` as long as it lives.

    To be called before there is a second thread: Landlock holds for this one, and for those that it starts.
    """
    _limit(resource.RLIMIT_AS, memory_bytes)
    _limit(resource.RLIMIT_FSIZE, file_bytes)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    keep_from_real_time()
    _drop(set(range(_CAPABILITIES)) - {_CAP_DAC_OVERRIDE})
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    run = tuple(_programs()) if runs_programs else ()
    alone = _is_alone()
    files = restrict_files(read=_code(folders), write=(*folders, _NOWHERE), run=run) and alone
    return {
        "rlimits": True,
        "landlock": files,
        "seccomp": restrict_calls(lifeline=lifeline, runs_programs=runs_programs),
    }


def _limit(what: int, most: int) -> None:
    """Lower a limit; one that is lower already stays as it is."""
    _, hard = resource.getrlimit(what)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(what, (most, most))


def keep_from_real_time() -> None:
    """Let no thread get ahead of all others: as root, SVT-AV1 makes itself real-time, and with it what comes after."""
    resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
    _drop({_CAP_SYS_NICE})


def _drop(capabilities: Collection[int]) -> None:
    """Give up rights that root has, for this process and for programs that are run from here."""
    libc = ctypes.CDLL(None, use_errno=True)
    for number in capabilities:
        libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)
    header = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
    sets = ctypes.create_string_buffer(24)  # effective, permitted, inheritable; twice 32 bits of each
    if libc.capget(header, sets) == 0:
        words = [sum(1 << number % 32 for number in capabilities if number // 32 == word) for word in (0, 1)]
        held = struct.unpack("=6I", sets.raw)
        libc.capset(header, struct.pack("=6I", *(bits & ~words[at // 3] for at, bits in enumerate(held))))


def _is_alone() -> bool:
    try:
        return sum(1 for _ in Path("/proc/self/task").iterdir()) == 1
    except OSError as error:
        return error.errno == errno.ENOENT  # no /proc: nothing here starts threads before


def _code(folders: Sequence[Path]) -> Iterator[Path]:
    """Where Python, the libraries and this package are: of a prefix with other things in it, no more than that."""
    homes = {Path(prefix).resolve() for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix)} - {Path("/")}
    others = [folder.resolve() for folder in folders]
    with contextlib.suppress(RuntimeError):  # this user has no home
        others.append(Path.home().resolve())
    yield _PACKAGE
    for home in homes:
        shared = any(other.is_relative_to(home) for other in others)
        yield from (home / "lib", home / "lib64", home / "pyvenv.cfg") if shared else (home,)
    for entry in map(Path, sys.path):
        if any(entry.resolve().is_relative_to(home) for home in homes):
            yield entry
    yield from map(Path, _SYSTEM)


def _programs() -> Iterator[Path]:
    """The folder of the ffmpeg program, found without loading what finds it, and what loads it."""
    found = importlib.util.find_spec("imageio_ffmpeg")
    if found is not None and found.origin is not None:
        yield Path(found.origin).parent / "binaries"
        yield from map(Path, _LOADERS)
