"""A real server for tests, chaos and benchmarks: `mediaray up` in a process of its own, on a free loopback port."""

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import redis
from websockets.sync.client import ClientConnection, connect

from cluster.ports import held_port

READY_LIMIT_S = 90.0
TERMINAL = {"succeeded", "failed", "cancelled"}

# What runs, by the command line each process shows.
PROCESSES = {
    "child": re.compile(r"-m pipelines\.media\.child .*--nice 19"),
    "worker": re.compile(r"^ray::transcode:"),
    "runner": re.compile(r"^ray::(runner-\w+:)?Runner"),
    "dispatcher": re.compile(r"^ray::(dispatcher:)?DispatcherActor"),
    "registry": re.compile(r"^ray::(registry:)?ProgressRegistry"),
    "haproxy": re.compile(r"/haproxy -db -f "),
    "proxy": re.compile(r"^ray::ProxyActor"),
    "replica": re.compile(r"^ray::ServeReplica"),
    "redis": re.compile(r"redis-server .*/redis(\.sock|/redis\.conf)"),
    "cache": re.compile(r"redis-server .*/cache(\.sock|/redis\.conf)"),
}


class LiveServer:
    """A server on a home folder of its own; ``folder`` is a readable and writable root for media."""

    def __init__(self, **environment: str) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="mrt-"))
        self.home = self.root / "home"
        self.folder = self.root / "media"
        self.folder.mkdir()
        self.port = free_port()
        roots = [str(self.folder), *json.loads(environment.pop("MEDIARAY_ROOTS", "[]"))]
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("MEDIARAY_", "RAY_"))}
        self.env = {
            **clean,
            "MEDIARAY_HOME": str(self.home),
            "MEDIARAY_PORT": str(self.port),
            "MEDIARAY_ROOTS": json.dumps(roots),
            "MEDIARAY_OUTPUT_ROOTS": json.dumps([str(self.folder)]),
            **environment,
        }
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.started_in_s = 0.0
        self._requests = httpx.Client(timeout=10)  # one: to set one up takes 20 ms of CPU, which the server needs

    def start(self) -> "LiveServer":
        began = time.monotonic()
        with (self.root / "up.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-m", "serve.cli.app", "up"],
                env=self.env,
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.wait_ready()
        self.started_in_s = time.monotonic() - began
        return self

    def wait_ready(self) -> None:
        until(self._ready, READY_LIMIT_S, lambda: f"the server isn't ready:\n{self.log()[-4000:]}")

    def _ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.log()[-4000:]}")
        with contextlib.suppress(httpx.HTTPError, OSError, ValueError):
            record = json.loads((self.home / "run" / "server.json").read_text())
            if record["pid"] != self.process.pid:  # one that was killed leaves its record behind
                return False
            return self.get("/v1/health/ready").status_code == 200
        return False

    def log(self) -> str:
        return (self.root / "up.log").read_text(errors="replace")

    @property
    def token(self) -> str:
        return (self.home / "token").read_text().strip()

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers=self.headers, timeout=30)

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self._requests.get(self.url + path, headers=self.headers, **more)

    def post(self, path: str, body: Any = None, **more: Any) -> httpx.Response:
        headers = {**self.headers, **more.pop("headers", {})}
        return self._requests.post(self.url + path, json=body, headers=headers, **more)

    def submit(self, operation: str, source: Path | str, key: str | None = None, **params: Any) -> dict[str, Any]:
        headers = {"Idempotency-Key": key} if key else {}
        answer = self.post(
            "/v1/jobs", {"operation": operation, "source": str(source), "params": params}, headers=headers
        )
        assert answer.status_code == 202, answer.text
        job: dict[str, Any] = answer.json()
        return job

    def job(self, job_id: str) -> dict[str, Any]:
        answer = self.get(f"/v1/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        job: dict[str, Any] = answer.json()
        return job

    def wait(self, job_id: str, limit_s: float = 120.0, states: Iterable[str] = TERMINAL) -> dict[str, Any]:
        """Wait for a job's end, through any outage of the edge."""
        wanted = set(states)
        found: dict[str, Any] = {}

        def there() -> bool:
            with contextlib.suppress(httpx.HTTPError, AssertionError):
                found.update(self.job(job_id))
            return found.get("state") in wanted

        until(
            there,
            limit_s,
            lambda: f"job {job_id} is {found.get('state')}, not {sorted(wanted)}: {found}\n{self.story()}",
        )
        return found

    def story(self) -> str:
        """What may explain that a job doesn't end: the last of the event log and of the server's, and who runs."""
        events = []
        with contextlib.suppress(redis.RedisError, OSError):
            events = [" ".join(fields.values()) for fields in self._event_log()]
        running = []
        for process in self.tree():
            with contextlib.suppress(psutil.Error):
                running.append(f"{process.pid} {process.status()} {' '.join(process.cmdline())[:120]}")
        ended = self.process.poll() if self.process else None
        return "\n".join([*events[-60:], self.log()[-4000:], f"up: {ended}", *running])

    def taken_back(self, job_ids: Iterable[str]) -> list[tuple[str, str]]:
        """The units of these jobs that were taken back from a worker, and why, by the event log."""
        wanted = set(job_ids)
        return [
            (fields["body"], fields["type"])
            for fields in self._event_log()
            if fields["job"] in wanted and fields["type"] in {"failed", "lost", "dropped"}
        ]

    def _event_log(self) -> list[dict[str, str]]:
        with contextlib.closing(self._job_store()) as store:
            return [fields for _, fields in store.xrange("{mediaray}:log")]

    def _job_store(self) -> redis.Redis:
        if url := self.env.get("MEDIARAY_REDIS_URL"):
            return redis.Redis.from_url(url, decode_responses=True)
        folder = Path((self.home / "run" / "folder").read_text())
        password = (self.home / "redis" / "password").read_text().strip()
        return redis.Redis(unix_socket_path=str(folder / "redis.sock"), password=password, decode_responses=True)

    def all_events(self) -> ClientConnection:
        """Changes of state of all jobs."""
        url = self.url.replace("http", "ws", 1) + "/v1/events"
        return connect(url, additional_headers=self.headers, max_size=1 << 24)

    def events(self, job_id: str, since: str = "") -> ClientConnection:
        url = f"ws://127.0.0.1:{self.port}/v1/jobs/{job_id}/events?since={since}"
        return connect(url, additional_headers=self.headers, open_timeout=10)

    def tree(self) -> list[psutil.Process]:
        """Every process the server started."""
        assert self.process is not None
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []

    def find(self, kind: str) -> list[psutil.Process]:
        """The processes of a kind; see PROCESSES."""
        return of_kind(kind, self.tree())

    def kill(self, *kinds: str) -> bool:
        """SIGKILL every process of these kinds at one moment, if there is one of each."""
        found = [self.find(kind) for kind in kinds]
        if not all(found):
            return False
        victims = list(itertools.chain.from_iterable(found))
        # All are stopped first: while one dies, the others could give away what it had in hand, and lose it once more.
        for stroke in (psutil.Process.suspend, psutil.Process.kill):
            for process in victims:
                with contextlib.suppress(psutil.NoSuchProcess):
                    stroke(process)
        return True

    def kill_everything(self) -> None:
        """SIGKILL the whole tree at once."""
        assert self.process is not None
        targets = [*self.tree(), psutil.Process(self.process.pid)]
        for process in targets:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()
        psutil.wait_procs(targets, timeout=10)

    def stop(self) -> int:
        """Ctrl-C; the exit code."""
        if self.process is None or self.process.poll() is not None:
            return 0
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)

    def remove(self) -> None:
        self._requests.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def part_files(self) -> list[str]:
        """Temporary files that were left behind: in scratch, and staged beside outputs."""
        scratch = self.home / "scratch"
        left = [str(path) for path in scratch.rglob("*")] if scratch.is_dir() else []
        return left + [str(path) for path in self.folder.rglob("*.mediaray-part")]


def of_kind(kind: str, processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those that are of a kind; see PROCESSES."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if PROCESSES[kind].search(" ".join(process.cmdline())):
                found.append(process)
    return found


@contextlib.contextmanager
def live_server(**environment: str) -> Iterator[LiveServer]:
    server = LiveServer(**environment)
    try:
        yield server.start()
    finally:
        try:
            server.stop()
        finally:
            server.remove()


def lives(process: psutil.Process) -> bool:
    """Not gone, and not a zombie that only waits for whoever adopted it."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def until(fact: Callable[[], bool], limit_s: float, otherwise: Callable[[], str]) -> None:
    """Wait for a fact that another process brings about."""
    deadline = time.monotonic() + limit_s
    while not fact():
        if time.monotonic() > deadline:
            raise AssertionError(otherwise())
        time.sleep(0.03)


def settled(file: Path) -> Path:
    """As if nobody had written it for a while: the identity of a file that was just made isn't trusted."""
    before = time.time() - 60
    os.utime(file, (before, before))
    return file


def free_port() -> int:
    with held_port() as held:
        return int(held.getsockname()[1])
