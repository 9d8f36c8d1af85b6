"""MEDIARAY_HOME: what lies where, who holds it, and which processes of ours run on it."""

import contextlib
import fcntl
import json
import logging
import os
import secrets
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from cluster.disk import flush_folder
from cluster.errors import StartupError

LEAST_SECRET = 16  # characters
_log = logging.getLogger("mediaray.home")


@dataclass(frozen=True)
class Home:
    """Paths under MEDIARAY_HOME. The folder is the user's alone (mode 0700)."""

    path: Path

    @classmethod
    def create(cls, path: Path) -> "Home":
        home = cls(path)
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in (
            home.redis,
            home.cache,
            home.scratch,
            home.notes,
            home.kept,
            home.fetched,
            home.artifacts,
            home.pictures,
            home.collections,
            home.profiles,
            home.run,
            home.units,
            home.logs,
        ):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return home

    @property
    def redis(self) -> Path:
        return self.path / "redis"

    @property
    def cache(self) -> Path:
        return self.path / "cache"

    @property
    def scratch(self) -> Path:
        return self.path / "scratch"

    @property
    def notes(self) -> Path:
        """What drivers of jobs note for those that follow them: unlike scratch, media processes can't write there."""
        return self.path / "notes"

    @property
    def kept(self) -> Path:
        """Finished units' files, by content address."""
        return self.path / "kept"

    @property
    def fetched(self) -> Path:
        """What was read of objects: a cache."""
        return self.path / "fetched"

    @property
    def artifacts(self) -> Path:
        return self.path / "artifacts"

    @property
    def pictures(self) -> Path:
        """Pictures made for pages: a cache."""
        return self.path / "pictures"

    @property
    def collections(self) -> Path:
        return self.path / "collections"

    @property
    def profiles(self) -> Path:
        return self.path / "profiles"

    @property
    def run(self) -> Path:
        return self.path / "run"

    @property
    def units(self) -> Path:
        """Notes of which process of this node does which unit; other nodes may share the home."""
        return self.run / "units" / socket.gethostname()

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def log(self) -> Path:
        """Where all processes of this node write their lines: a node beside the server's, which may share its home,
        has a file of its own. Two machines can't add to one on NFS without writing over each other.
        """
        return self.logs / ("up.log" if self._serves_here() else f"node-{socket.gethostname()}.log")

    def _serves_here(self) -> bool:
        """Whether the server of this home is on this node, or none was yet."""
        with contextlib.suppress(OSError, ValueError):
            record: dict[str, Any] = json.loads(self.server_file.read_text())
            return bool(record.get("host", socket.gethostname()) == socket.gethostname())
        return True

    @property
    def token_file(self) -> Path:
        return self.path / "token"

    @property
    def server_file(self) -> Path:
        return self.run / "server.json"

    @property
    def folder_note(self) -> Path:
        """Tells the folder of the running server's sockets."""
        return self.run / "folder"

    @property
    def restoring(self) -> Path:
        """There while a backup is restored: after one that was broken off the home isn't whole."""
        return self.path / "restoring"

    def token(self) -> str:
        """The local user's token, made on first use (mode 0600). Raises StartupError: it could be guessed."""
        return secret_in(self.token_file)

    def picture_keys(self) -> list[str]:
        """The live keys of links to pictures, the newest first; the first is made on first use (mode 0600)."""
        file = self._picture_keys_file
        if not file.exists() or not file.read_text().strip():
            self.renew_picture_key(keep=0)
        return file.read_text().split()

    def renew_picture_key(self, keep: int = 1) -> None:
        """Make a new key; links of the last ``keep`` stay good until they expire."""
        known = self.picture_keys()[:keep] if keep else []
        write_private(self._picture_keys_file, "\n".join([secrets.token_urlsafe(32), *known]), lasting=True)

    @property
    def _picture_keys_file(self) -> Path:
        return self.path / "picture-keys"

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Be the one server of this home.

        Raises:
            StartupError: another server holds it; the message names it.
        """
        with (self.run / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                server = self.server()
                where = f" at {server['url']} (process {server['pid']})" if server else ""
                raise StartupError(
                    f"mediaray already runs on {self.path}{where}. Use it, or stop it with: mediaray down"
                ) from None
            self.server_file.unlink(missing_ok=True)  # of one that was killed, maybe on another machine
            yield

    def refuse_half_restored(self) -> None:
        """Raises StartupError: a restore into it was broken off."""
        if self.restoring.exists():
            raise StartupError(
                f"A restore into {self.path} was broken off, so that not all of it is there. "
                "Do it again: mediaray restore FILE --replace"
            )

    def server(self) -> dict[str, Any] | None:
        """The running server's record (``url``, ``pid``, …), or None where none runs."""
        try:
            record: dict[str, Any] = json.loads(self.server_file.read_text())
        except (OSError, ValueError):
            return None
        return record if _alive(record) else None

    def announce(self, **facts: Any) -> None:
        """Record this process as the home's server."""
        write_private(self.server_file, json.dumps({**_identity(os.getpid()), "host": socket.gethostname(), **facts}))

    def remember(self, name: str, pid: int) -> None:
        """Record a process of ours, so that a later start can end it if we can't. One that is gone needs no record."""
        with contextlib.suppress(psutil.NoSuchProcess):
            write_private(self.run / f"{name}.pid", json.dumps(_identity(pid)))

    @contextlib.contextmanager
    def working_on(self, unit: str) -> Iterator[None]:
        """Note that this process does a unit, so that it can be ended from outside should it fall silent."""
        self.units.mkdir(parents=True, exist_ok=True, mode=0o700)
        note = self.units / unit
        write_private(note, json.dumps(_identity(os.getpid())))
        try:
            yield
        finally:
            note.unlink(missing_ok=True)

    def end_worker_of(self, unit: str) -> bool:
        """SIGKILL the process that does a unit on this node; False where none does."""
        try:
            record = json.loads((self.units / unit).read_text())
        except (OSError, ValueError):
            return False
        if _alive(record):
            os.kill(int(record["pid"]), signal.SIGKILL)
        (self.units / unit).unlink(missing_ok=True)
        return True

    def end_leftovers(self) -> list[int]:
        """End processes that a server of this home started and left behind; returns their ids."""
        left = []
        for file in self.run.glob("*.pid"):
            with contextlib.suppress(OSError, ValueError):
                record = json.loads(file.read_text())
                if _alive(record):
                    left.append(record["pid"])
            file.unlink(missing_ok=True)
        end_tree(*left)
        return left


def secret_in(file: Path) -> str:
    """The secret that a file holds, made on first use (mode 0600), and where a crash has left an empty file.

    Raises:
        StartupError: it is short enough to be guessed.
    """
    if not file.exists() or not file.read_text().strip():
        if file.exists():
            _log.warning("%s was empty: a new secret is in it now", file)
        write_private(file, secrets.token_urlsafe(32), lasting=True)
    secret = file.read_text().strip()
    if len(secret) < LEAST_SECRET:
        raise StartupError(
            f"{file} has less than {LEAST_SECRET} characters, which could be guessed. Remove it: a new one is made."
        )
    return secret


def write_private(path: Path, text: str, *, lasting: bool = False) -> None:
    """Write a file only its owner can read, whole or not at all; ``lasting``: also should the power fail just after."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    with os.fdopen(handle, "w") as file:
        file.write(text)
        if lasting:
            file.flush()
            os.fsync(file.fileno())
    Path(temporary).replace(path)
    if lasting:
        flush_folder(path.parent)


def end_tree(*pids: int, grace_s: float = 3.0) -> None:
    """End processes and their children, all at once: SIGTERM, then SIGKILL after ``grace_s``."""
    found: dict[psutil.Process, None] = {}
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            found |= dict.fromkeys([*process.children(recursive=True), process])
    tree = list(found)
    for each in tree:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.send_signal(signal.SIGTERM)
    _, alive = psutil.wait_procs(tree, timeout=grace_s)
    for each in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(alive, timeout=grace_s)


def wait_until_ended(record: dict[str, Any], limit_s: float) -> bool:
    """Wait for a recorded process that isn't our child to end."""
    deadline = time.monotonic() + limit_s
    while _alive(record):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _identity(pid: int) -> dict[str, Any]:
    return {"pid": pid, "started": psutil.Process(pid).create_time()}


def _alive(record: dict[str, Any]) -> bool:
    # A process id alone may have been given to another program since.
    try:
        process = psutil.Process(int(record["pid"]))
        alive: bool = abs(process.create_time() - float(record["started"])) < 1.0
        return alive and bool(process.status() != psutil.STATUS_ZOMBIE)
    except (psutil.Error, KeyError, ValueError):
        return False
