"""``mediaray up``: everything on this machine, until Ctrl-C."""

import asyncio
import contextlib
import importlib
import importlib.metadata
import logging
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import psutil

from cluster.collector import relax
from cluster.errors import RayLostError, StartupError
from cluster.home import Home
from cluster.logs import log_to
from cluster.ray_cluster import (
    address,
    connected,
    keep_logs,
    prepare_environment,
    ray_answers,
    ray_lost,
    short_folder,
)
from cluster.redis_server import RedisServers
from cluster.settings import Settings

_log = logging.getLogger("mediaray.up")
_IDLE_LOOK_S = 2.0
_RAY_LOOK_S = 5.0
_MISSED_LOOKS = 2  # so often in turn, and Ray is gone
_PORT_FREED_S = 10.0  # by then a proxy that was ended has let go of it


def run(settings: Settings, *, on_ready: Callable[[str], None]) -> int:
    """Start everything, call ``on_ready`` with the URL, and stop what was started on SIGINT or SIGTERM.

    Returns:
        The exit code.

    Raises:
        StartupError: something can't start; the message says what to do.
        RayLostError: the Ray that it ran on is gone.
    """
    relax()
    signal.signal(signal.SIGTERM, _interrupt)  # until all is up, a stop unwinds whatever has been started
    home = Home.create(settings.home)
    with home.hold():
        home.refuse_half_restored()
        home.end_leftovers()
        if settings.ray_address is None:  # otherwise a server that was killed may have left what holds it
            _refuse_taken_port(settings)
        log_to(home.log, settings.log_format)
        with short_folder() as folder:
            _remember_folder(home, folder)
            _log.info("starting on %s", home.path)
            servers = RedisServers(settings, home, folder)
            try:
                servers.start()
                return _with_ray(settings, home, folder, servers, on_ready)
            except StartupError:
                keep_logs(folder, home.logs / "ray")
                raise
            except RayLostError:
                servers.stop()  # in their own time
                home.end_leftovers()
                keep_logs(folder, home.logs / "ray")
                raise
            finally:
                servers.stop()
                home.server_file.unlink(missing_ok=True)


def _with_ray(
    settings: Settings, home: Home, folder: Path, servers: RedisServers, on_ready: Callable[[str], None]
) -> int:
    prepare_environment(settings, folder)
    # Ray reads its environment when it is imported, so not before now; and while its processes start, there is time.
    loading = ThreadPoolExecutor(1).submit(importlib.import_module, "serve.main")
    with connected(settings, folder):
        _log.info("Ray is up")
        _remember_children(home)
        servers.wait_ready()
        home.picture_keys()  # made before replicas ask for it
        main = loading.result()
        if settings.ray_address is not None and not main.make_way(settings, servers.urls):
            _refuse_taken_port(settings, _PORT_FREED_S)
        with _leaving(settings, main):
            dispatcher = main.start(settings, servers.urls, home.token())
            _log.info("actors and edge are up")
            _remember_children(home)

            def announce() -> None:
                home.announce(
                    url=settings.url,
                    ray_address=address(),
                    ray_token_path=str(folder / "ray-token"),
                    version=importlib.metadata.version("mediaray"),
                )
                on_ready(settings.url)

            asyncio.run(_serve_until_stopped(settings, servers, dispatcher, announce))
            _drain(dispatcher, settings.pause_grace_s)
    return 0


@contextlib.contextmanager
def _leaving(settings: Settings, main: ModuleType) -> Iterator[None]:
    """However it ends, also half-way through the start, nothing of it stays on a Ray that goes on."""
    import ray

    try:
        yield
    finally:
        if settings.ray_address is not None and ray_answers():
            try:
                main.leave()
            except (ray.exceptions.RayError, TimeoutError) as error:  # why it ends, if it failed, is told, not this
                _log.warning("some of this server may be left on Ray; the next start ends it", exc_info=error)


async def _serve_until_stopped(
    settings: Settings, servers: RedisServers, dispatcher: Any, announce: Callable[[], None]
) -> None:
    """Raises RayLostError: there is no Ray any more, whether a stop was asked for or not."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    watching = loop.create_task(servers.watch())
    idling = loop.create_task(_stop_when_idle(settings.idle_exit_s, dispatcher, stop))
    losing = loop.create_task(_stop_when_lost(stop))
    announce()
    dispatcher.warm.remote()  # after the start, which it would slow down; a job that comes first doesn't wait for it
    await stop.wait()
    lost = losing.done()
    for task in (watching, idling, losing):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.remove_signal_handler(number)
    if lost or not ray_answers():
        raise ray_lost(settings)


async def _stop_when_idle(idle_exit_s: float | None, dispatcher: Any, stop: asyncio.Event) -> None:
    while idle_exit_s is not None:
        await asyncio.sleep(min(_IDLE_LOOK_S, idle_exit_s))
        with contextlib.suppress(Exception):  # it is being restarted: not idle
            if await dispatcher.idle_s.remote() >= idle_exit_s:
                stop.set()


async def _stop_when_lost(stop: asyncio.Event) -> None:
    missed = 0
    while missed < _MISSED_LOOKS:
        await asyncio.sleep(_RAY_LOOK_S)
        missed = 0 if await asyncio.to_thread(ray_answers) else missed + 1
    _log.error("Ray doesn't answer any more")
    stop.set()


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _drain(dispatcher: Any, grace_s: float) -> None:
    import ray

    with contextlib.suppress(ray.exceptions.RayError, KeyboardInterrupt):
        ray.get(dispatcher.drain.remote(grace_s), timeout=grace_s + 5)


def _refuse_taken_port(settings: Settings, patience_s: float = 0.0) -> None:
    deadline = time.monotonic() + patience_s
    while _is_taken(settings.host, settings.port):
        if time.monotonic() >= deadline:
            raise StartupError(
                f"Port {settings.port} is taken by another program. Choose one with --port or MEDIARAY_PORT."
            )
        time.sleep(0.1)


def _is_taken(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


def _remember_children(home: Home) -> None:
    for child in psutil.Process().children(recursive=True):
        home.remember(f"child-{child.pid}", child.pid)


def _remember_folder(home: Home, folder: Path) -> None:
    """Remove the folders of earlier servers that couldn't, and note this one."""
    note = home.folder_note
    if note.exists():
        earlier = Path(note.read_text())
        if earlier.name.startswith("mr-"):
            shutil.rmtree(earlier, ignore_errors=True)
    note.write_text(str(folder))
