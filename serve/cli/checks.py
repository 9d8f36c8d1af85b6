"""What ``doctor`` looks at on the machine itself."""

import importlib.metadata
import os
import platform
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil
from rich.filesize import decimal

from cluster.checks import Check
from cluster.home import Home
from cluster.unknown_settings import unknown_settings

_PACKAGES = ("mediaray", "ray", "av", "redis", "numpy", "pyarrow", "pillow")
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108
_SHARED_MEMORY_SHARE = 0.3  # Ray puts its object store elsewhere, much slower, where there is less
_MIN_MEMORY_BYTES = 4 << 30
_MIN_DISK_BYTES = 5 << 30
_MIN_HANDLES = 65536
_FIRST_YEAR = 2025


def machine_checks(home: Home) -> Iterator[Check]:
    yield _platform()
    yield _packages()
    yield _cpus()
    yield _memory()
    yield _shared_memory()
    yield _disk(home.path)
    yield _handles()
    yield _clock(home)
    yield _settings()


def _platform() -> Check:
    found = f"Python {platform.python_version()}, {platform.system()} {platform.release()} {platform.machine()}"
    if not (3, 11) <= sys.version_info[:2] < (3, 14):
        return Check("platform", "fail", found, "mediaray runs on Python 3.11 to 3.13.")
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return Check("platform", "warn", found, "Only Linux on x86-64 is tested; elsewhere set MEDIARAY_REDIS_URL.")
    return Check("platform", "ok", found)


def _packages() -> Check:
    found, missing = [], []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    advice = f"Missing: {', '.join(missing)}. Install again: pip install mediaray" if missing else ""
    return Check("packages", "fail" if missing else "ok", ", ".join(found), advice)


def _cpus() -> Check:
    usable, all_of_them = len(os.sched_getaffinity(0)), os.cpu_count() or 1
    found = f"{usable} of {all_of_them} usable, load {os.getloadavg()[0]:.1f}"
    if usable < 2:
        return Check("cpus", "warn", found, "With one CPU a long encode and a quick look share it.")
    return Check("cpus", "ok", found)


def _memory() -> Check:
    memory = psutil.virtual_memory()
    found = f"{decimal(memory.total)}, {decimal(memory.available)} available"
    if memory.total < _MIN_MEMORY_BYTES:
        return Check("memory", "warn", found, "4K and AV1 encodes need more than 4 GB.")
    return Check("memory", "ok", found)


def _shared_memory() -> Check:
    if not _SHARED_MEMORY.is_dir():
        return Check("shared memory", "warn", "no /dev/shm", "Ray will use /tmp, which is slower.")
    size, memory = shutil.disk_usage(_SHARED_MEMORY).total, psutil.virtual_memory().total
    found = f"{_SHARED_MEMORY} {decimal(size)}, {size / memory:.0%} of memory"
    if size < memory * _SHARED_MEMORY_SHARE:
        return Check("shared memory", "warn", found, "In a container: --shm-size of 30 % of the memory or more.")
    return Check("shared memory", "ok", found)


def _disk(folder: Path) -> Check:
    usage = shutil.disk_usage(folder)
    found = f"{decimal(usage.free)} free of {decimal(usage.total)} at {folder}"
    if not os.access(folder, os.W_OK):
        return Check("disk", "fail", found, "The folder isn't writable; set MEDIARAY_HOME to one that is.")
    if usage.free < _MIN_DISK_BYTES:
        return Check("disk", "warn", found, "Parts of running jobs lie there; give it 5 GB, or move MEDIARAY_HOME.")
    return Check("disk", "ok", found)


def _handles() -> Check:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = f"{_limit(soft)} (may be raised to {_limit(hard)})"
    if soft == resource.RLIM_INFINITY or soft >= _MIN_HANDLES:
        return Check("file handles", "ok", found)
    within = hard == resource.RLIM_INFINITY or hard >= _MIN_HANDLES
    how = f"ulimit -n {_MIN_HANDLES}" if within else "nofile in /etc/security/limits.conf, or LimitNOFILE= of the unit"
    return Check("file handles", "warn", found, f"Many clients or workers need more: {how}")


def _clock(home: Home) -> Check:
    now = datetime.now(UTC)
    found = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    newest = max((file.stat().st_mtime for file in home.run.iterdir()), default=0.0)
    if now.year < _FIRST_YEAR or newest > time.time() + 60:
        return Check("clock", "warn", found, "The clock is behind: times of jobs will be wrong. Set it (NTP).")
    return Check("clock", "ok", found)


def _settings() -> Check:
    unknown = unknown_settings(os.environ)
    if unknown:
        return Check("settings", "warn", " ".join(unknown), "Correct or remove them: README.md has all there are.")
    return Check("settings", "ok", "all of the environment's are known")


def _limit(value: int) -> str:
    return "no limit" if value == resource.RLIM_INFINITY else str(value)
