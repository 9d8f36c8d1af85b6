"""Start a server for a command that needs one, and stop it."""

import contextlib
import os
import signal
import subprocess
import sys
import time

from cluster.errors import StartupError
from cluster.home import Home, wait_until_ended
from serve.cli.render import Screen
from serve.cli.session import Place

_START_LIMIT_S = 60.0
_IDLE_EXIT_S = 600
_LOG_LINES = 8


class NotStartedError(StartupError):
    """The server that a command needs didn't get ready."""


def ensure_server(place: Place, screen: Screen, *, stays: bool = True) -> bool:
    """Wait until a server takes jobs; start one where none runs. Returns whether it was started here.

    ``stays``: it goes on when the command has ended, of which the user is told.

    Raises:
        NotStartedError: it didn't get ready; the message has the end of its log.
    """
    process = None if _held(place.home) else _spawn(place.home)
    try:
        with screen.waiting("Starting the server…" if process else "Waiting for the server…"):
            _wait_until_ready(place, process)
    except BaseException:
        if process:
            process.send_signal(signal.SIGINT)  # a half-started one would be in the way of the next
        raise
    server = place.home.server()
    if process and server and stays:
        screen.note(
            f"Started a server at {server['url']}; it stops after {_IDLE_EXIT_S // 60} idle minutes, "
            "or with: mediaray down"
        )
    return process is not None


def stop_server(home: Home, limit_s: float = 60.0) -> bool:
    """Ask the home's server to stop and wait. False: it still runs after ``limit_s``."""
    server = home.server()
    if server is None:
        return True
    with contextlib.suppress(ProcessLookupError):
        os.kill(int(server["pid"]), signal.SIGTERM)
    return wait_until_ended(server, limit_s)


def _spawn(home: Home) -> subprocess.Popen[bytes]:
    with (home.logs / "server.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-I", "-m", "serve.cli.app", "up", "--idle-exit", str(_IDLE_EXIT_S)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=home.path,  # holds no folder of the user's in use
            env={**os.environ, "MEDIARAY_HOME": str(home.path)},
            start_new_session=True,  # outlives this command and its terminal
        )


def _wait_until_ready(place: Place, process: subprocess.Popen[bytes] | None) -> None:
    deadline = time.monotonic() + _START_LIMIT_S
    while not _ready(place):
        # Another command may have been faster: then ours ends at once, and the other's server will do.
        ended = process is not None and process.poll() is not None and not _held(place.home)
        if ended or time.monotonic() > deadline:
            raise NotStartedError(_why_not(place.home, ended=ended, spawned=process is not None))
        time.sleep(0.1)


def _held(home: Home) -> bool:
    """Whether a server runs on this home, or starts."""
    try:
        with home.hold():
            return False
    except StartupError:
        return True


def _ready(place: Place) -> bool:
    from serve.client import ClientError  # slow to import

    try:
        with place.client(patience_s=0) as client:
            return client.ready()
    except ClientError:
        return False


def _why_not(home: Home, *, ended: bool, spawned: bool) -> str:
    what = "The server ended while it started" if ended else f"The server isn't ready after {_START_LIMIT_S:.0f} s"
    log = home.logs / "server.log"
    if not spawned:
        return f"{what}. Its logs are in {home.logs}."
    with contextlib.suppress(OSError):
        tail = log.read_text(errors="replace").strip().splitlines()[-_LOG_LINES:]
        return "\n".join([f"{what}. The end of {log}:", *(f"  {line}" for line in tail)])
    return f"{what}. Its log is {log}."
