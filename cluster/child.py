"""The host's side of the media child: start it, call it, watch it, end it.

The child's module is given by name, so that this layer knows no media. Nothing it sends is unpickled: a result is
checked by the caller's model, and a child that sends anything else is taken for crashed.
"""

import contextlib
import fcntl
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import psutil
from prometheus_client import Counter, Gauge
from pydantic import BaseModel, ValidationError

from cluster.child_messages import LENGTH, MAX_MESSAGE_BYTES, opened_again, packed, reopened, send, unpacked
from cluster.child_start import spawn, stay_in_our_session
from cluster.errors import ChildCrashedError, ChildFailedError, ChildKilledError, ChildLimitError
from cluster.metrics import REGISTRY

T = TypeVar("T", bound=BaseModel)

# Each is added to that of its parent.
HEAVY_NICE = 19
BEHIND_THE_API_NICE = 5  # of the dispatcher and the runners
INTERACTIVE_NICE = 5  # of the children of runners
MAX_EACH = 64  # sources that travel in one message
_CALLS_PER_CHILD = 200  # bounds what a leak in a codec can add up to
_START_LIMIT_S = 60.0
_LATE = "the media process ran past its time limit, or came no further"
_DYING_S = 0.05
_STDERR_BYTES, _LAST_WORDS = 1 << 20, 4000
_SILENT_S = 1800.0  # without progress, of a call that has told some: a machine that is busy makes less, but never none
_ENDS = Counter(
    "mediaray_child_ends",
    "Media processes that crashed or were killed in a call or while idle, were stopped for a cancel or a pause, or ran "
    "past a limit of time.",
    ["reason"],
    registry=REGISTRY,
)
for _reason in ("crashed", "idle", "stopped", "limit"):
    _ENDS.labels(_reason)
_alive: "weakref.WeakSet[MediaChild]" = weakref.WeakSet()
Gauge("mediaray_children", "Media processes that live.", registry=REGISTRY).set_function(
    lambda: sum(child.pid is not None for child in list(_alive))
)
Gauge(
    "mediaray_children_unconfined", "Media processes that live with a part of their sandbox missing.", registry=REGISTRY
).set_function(lambda: sum(child.pid is not None and bool(child.lacks) for child in list(_alive)))
Gauge("mediaray_children_memory_bytes", "What they hold of the memory.", registry=REGISTRY).set_function(
    lambda: sum(child.memory_bytes for child in list(_alive))
)
_log = logging.getLogger("mediaray.child")


@dataclass(frozen=True)
class ChildSpec:
    """What to start: a module, its nice value (added to ours), its address space, and modules to load ahead of use.

    Files it makes are at most ``file_bytes`` long, and only below ``folders``, which are there. ``runs_programs``: it
    may run the ffmpeg program.
    """

    module: str
    nice: int
    memory_bytes: int
    ahead: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    file_bytes: int = 1 << 40
    runs_programs: bool = False


class MediaChild:
    """One warm child. ``call`` from one thread at a time; ``kill`` from any."""

    def __init__(self, spec: ChildSpec) -> None:
        self._spec = spec
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._lifeline: socket.socket | None = None
        self._stderr: int | None = None
        self._killed = False
        self._calls = 0
        self._ended_cpu_s = 0.0
        _alive.add(self)
        self.confinement: Mapping[str, bool] = {}

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def lacks(self) -> tuple[str, ...]:
        """Parts of its sandbox that this system doesn't have; none where no process was started yet."""
        return tuple(part for part, holds in self.confinement.items() if not holds)

    @property
    def killed(self) -> bool:
        """Whether ``kill`` ended it: then it takes no more calls."""
        return self._killed

    @property
    def cpu_s(self) -> float:
        """CPU time that its processes took so far, with that of programs they ran, in seconds."""
        process = self._process
        return self._ended_cpu_s + (_cpu_s(process.pid) if process else 0.0)

    @property
    def memory_bytes(self) -> int:
        """What its process holds of the memory; 0 where there is none."""
        process = self._process
        with contextlib.suppress(psutil.Error):
            return int(psutil.Process(process.pid).memory_info().rss) if process else 0
        return 0

    def warm(self) -> None:
        """Start the process now, so that the first call doesn't wait for it."""
        with self._lock:
            self._ensure()

    def call(
        self,
        function: str,
        arguments: Mapping[str, Any],
        result: type[T],
        *,
        limit_s: float,
        on_progress: Callable[[dict[str, Any]], None] | None = None,
    ) -> T:
        """Run ``module:function`` in the child. ``arguments`` are JSON values, models or SourceDescriptors.

        Raises:
            ChildFailedError: the function raised.
            ChildCrashedError: the process died, or sent what isn't a ``result``.
            ChildLimitError: it took longer than ``limit_s``.
            ChildKilledError: ``kill`` was called meanwhile.
        """
        descriptors: list[int] = []
        message = {"function": function, "arguments": packed(arguments, descriptors)}
        body = self._exchange(message, descriptors, limit_s, on_progress)
        with self._checked():
            made = _outcome(body, result)
        if isinstance(made, ChildFailedError):
            raise made
        return made

    def call_each(
        self,
        function: str,
        arguments: Mapping[str, Any],
        each: Sequence[Mapping[str, Any]],
        result: type[T],
        *,
        threads: int,
        limit_s: float,
        on_progress: Callable[[dict[str, Any]], None] | None = None,
    ) -> list[T | ChildFailedError]:
        """Run a function many times, with ``arguments`` and those of ``each``, at most MAX_EACH, on some threads.

        What a call of it raised stands in its place. Otherwise raises as ``call``; ``limit_s`` is that of all.
        """
        if len(each) > MAX_EACH:
            raise ValueError(f"{len(each)} calls in one message; at most {MAX_EACH}")
        descriptors: list[int] = []
        message = {
            "function": function,
            "arguments": packed(arguments, descriptors),
            "each": [packed(own, descriptors) for own in each],
            "threads": threads,
        }
        body = self._exchange(message, descriptors, limit_s, on_progress)
        with self._checked():
            return [_outcome(own, result) for _, own in zip(each, body["results"], strict=True)]

    def _exchange(
        self,
        message: Mapping[str, Any],
        descriptors: list[int],
        limit_s: float,
        on_progress: Callable[[dict[str, Any]], None] | None,
    ) -> dict[str, Any]:
        with self._lock:
            if self._killed:
                raise ChildKilledError("ended before it began")
            self._ensure()
            if self.killed:  # while it was being started, when there was no process to end yet
                self._end()
                raise ChildKilledError("ended before it began")
            self._calls += 1
            try:
                with opened_again(descriptors) as fresh:
                    send(self._connected(), message, fresh)
                body = self._wait_for_result(time.monotonic() + limit_s, descriptors, on_progress)
            except (OSError, EOFError, ValueError) as error:
                raise self._died(error) from error
            except BaseException as error:
                if isinstance(error, ChildLimitError):
                    _ENDS.labels("limit").inc()
                self._end()
                raise
            if body.get("spent"):
                self._end()
            return body

    @contextlib.contextmanager
    def _checked(self) -> Iterator[None]:
        """A child that answers what can't be an answer is ended."""
        try:
            yield
        except (ValidationError, KeyError, TypeError, ValueError) as error:
            self.close()
            _ENDS.labels("crashed").inc()
            raise ChildCrashedError("the media process sent an answer of the wrong shape") from error

    def kill(self) -> None:
        """End the process and all it started; a running call raises ChildKilledError. Final."""
        self._killed = True
        self._signal_group()

    def close(self) -> None:
        """End the process; the next call starts a fresh one."""
        with self._lock:
            self._end()

    def _connected(self) -> socket.socket:
        if self._socket is None:
            raise EOFError("not connected")
        return self._socket

    def _ensure(self) -> None:
        if self._process and (self._process.poll() is not None or self._calls >= _CALLS_PER_CHILD):
            self._end()
        if self._process is None:
            self._start()

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        lifeline, theirs_too = socket.socketpair()
        self._stderr = _room_for_last_words()
        command = [
            *(sys.executable, "-I", "-m", self._spec.module),
            *("--socket", str(theirs.fileno()), "--lifeline", str(theirs_too.fileno()), "--parent", str(os.getpid())),
            *("--nice", str(self._spec.nice), "--memory", str(self._spec.memory_bytes)),
            *("--file", str(self._spec.file_bytes), *(["--runs-programs"] if self._spec.runs_programs else [])),
            *(f"--folder={folder}" for folder in self._spec.folders),
            *(f"--ahead={module}" for module in self._spec.ahead),
        ]
        try:
            self._process = spawn(command, (theirs.fileno(), theirs_too.fileno()), self._stderr)
        finally:
            theirs.close()
            theirs_too.close()
        self._socket, self._lifeline, self._calls = ours, lifeline, 0
        threading.Thread(target=self._reap, args=(self._process,), name="child-reaper", daemon=True).start()
        try:
            ready = self._receive(time.monotonic() + _START_LIMIT_S)
        except (OSError, EOFError, ValueError, ChildLimitError) as error:
            raise self._died(error) from error
        self.confinement = ready["ready"]["confinement"]
        if not ready["ready"]["yields"]:
            stay_in_our_session()
            self._end()
            self._start()

    def _reap(self, process: subprocess.Popen[bytes]) -> None:
        """Clean up after a child that dies between calls, when no call notices."""
        with contextlib.suppress(ChildProcessError):  # a call was first
            # Only looked at: its number stays its own until its group is gone.
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with self._lock:
            if self._process is process:
                _ENDS.labels("stopped" if self._killed else "idle").inc()
                self._end()

    def _wait_for_result(
        self, deadline: float, descriptors: Sequence[int], on_progress: Callable[[dict[str, Any]], None] | None
    ) -> dict[str, Any]:
        last = deadline
        while True:
            body = self._receive(min(deadline, last))
            if "open" in body:  # in its sandbox it can't open a source once more, at a position of its own
                self._open_again(descriptors, body["open"])
                continue
            if "progress" not in body:
                return body
            last = time.monotonic() + _SILENT_S
            if on_progress:
                on_progress(body["progress"])

    def _open_again(self, descriptors: Sequence[int], index: object) -> None:
        if not isinstance(index, int) or not 0 <= index < len(descriptors):
            raise ValueError("no such source")
        try:
            fresh = reopened(descriptors[index])
        except OSError:
            send(self._connected(), {"opened": False}, [])
            return
        try:
            send(self._connected(), {"opened": True}, [fresh])
        finally:
            os.close(fresh)

    def _receive(self, deadline: float) -> dict[str, Any]:
        (length,) = LENGTH.unpack(self._exactly(LENGTH.size, deadline))
        if length > MAX_MESSAGE_BYTES:
            raise ValueError("message too long")
        return unpacked(self._exactly(length, deadline))

    def _exactly(self, count: int, deadline: float) -> bytes:
        connection = self._connected()
        parts = bytearray()
        while len(parts) < count:
            left_s = deadline - time.monotonic()
            if left_s <= 0:  # also where it never stops telling
                raise ChildLimitError(_LATE)
            connection.settimeout(left_s)
            try:
                part = connection.recv(min(count - len(parts), 1 << 20))
            except TimeoutError:
                raise ChildLimitError(_LATE) from None
            if not part:
                raise EOFError("closed")
            parts += part
        return bytes(parts)

    def _died(self, error: Exception) -> ChildCrashedError | ChildKilledError:
        tail = self._stderr_tail()
        code = self._end()
        _ENDS.labels("stopped" if self._killed else "crashed").inc()
        if self._killed:
            return ChildKilledError("ended on purpose")
        if tail:
            _log.error("the media process died (%s): %s", code, tail)
        number = -code if code is not None and code < 0 else None
        reason = f"exit code {code}" if number is None else f"signal {signal.Signals(number).name}"
        return ChildCrashedError(f"the media process died ({reason}, {type(error).__name__})", number)

    def _stderr_tail(self) -> str:
        if self._stderr is None:
            return ""
        size = os.lseek(self._stderr, 0, os.SEEK_CUR)  # it is where the child is, which writes at the same position
        count = min(size, _LAST_WORDS)
        return os.pread(self._stderr, count, size - count).decode(errors="replace").strip()

    def _signal_group(self) -> None:
        # Also when the child itself is gone: a program that it started lives on in its group.
        if process := self._process:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)

    def _let_die(self) -> None:
        """It may be dying already: that tells how. It isn't waited for as its parent yet: its number stays its own."""
        assert self._process is not None
        deadline = time.monotonic() + _DYING_S
        how = os.WEXITED | os.WNOWAIT | os.WNOHANG
        with contextlib.suppress(ChildProcessError):
            while os.waitid(os.P_PID, self._process.pid, how) is None and time.monotonic() < deadline:
                time.sleep(_DYING_S / 50)

    def _end(self) -> int | None:
        code = None
        if self._process:
            self._ended_cpu_s += _cpu_s(self._process.pid)
            self._let_die()
            self._signal_group()
            code = self._process.wait()
        if self._socket:
            self._socket.close()
        if self._lifeline:
            self._lifeline.close()
        if self._stderr is not None:
            os.close(self._stderr)
        self._process = self._socket = self._lifeline = self._stderr = None
        return code


def _room_for_last_words() -> int:
    """Memory for what a child and the libraries in it write to their standard error: so much, and no more."""
    number = os.memfd_create("stderr", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(number, _STDERR_BYTES)
    fcntl.fcntl(number, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    return number


def missing_in_sandboxes() -> set[str]:
    """What any of this process's media processes lacks of its sandbox."""
    return {part for child in list(_alive) for part in child.lacks}


def _cpu_s(pid: int) -> float:
    """CPU time of a process, until it is waited for, and of its children that were."""
    with contextlib.suppress(psutil.Error):
        times = psutil.Process(pid).cpu_times()
        return float(times.user + times.system + times.children_user + times.children_system)
    return 0.0


def _outcome(body: Mapping[str, Any], result: type[T]) -> T | ChildFailedError:
    if "error" in body:
        failure = body["error"]
        return ChildFailedError(str(failure["code"]), str(failure["message"]), dict(failure["fields"]))
    return result.model_validate(body["result"])
