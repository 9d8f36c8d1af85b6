"""The media child: ``python -m pipelines.media.child``, one warm process that decodes and encodes.

It is started clean by its host, holds no credential, and is in a sandbox before it sees the first byte of media. The
host sends calls of functions of this package over a Unix socket, with the descriptors of the sources; the child answers
with progress, then a result or an error. A message is a 4-byte big-endian length and that much JSON:

    → {"function": "pipelines.media.probing.probe:probe", "arguments": {"source": {"descriptor": 0, "name": "a.mkv"}}}
    ← {"progress": {...}}                                      any number of times
    ← {"result": {...}}  or  {"error": {"code": "...", "message": "...", "fields": {...}}}

In between it may ask for a source to be opened once more, since it opens nothing itself:

    ← {"open": 0}                                              → {"opened": true} with a descriptor, or false

A call of many has the arguments that differ in ``each``, and a number of ``threads`` to do them on; its answer has, in
their order, a result or an error of each in ``results``. One that is ``spent`` holds more memory than it should.

A third thing ends it: when the host dies, the lifeline pipe closes, and the kernel ends the whole process group.
"""

import argparse
import contextlib
import ctypes
import errno
import fcntl
import importlib
import inspect
import json
import logging
import os
import resource
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import BaseModel, TypeAdapter

from pipelines.media.errors import MediaError
from pipelines.media.memory import give_back_free_memory, zero_new_memory
from pipelines.media.progress import OnProgress, Progress
from pipelines.media.reopening import hand_over
from pipelines.media.sandbox.confinement import confine

MAX_MESSAGE_BYTES = 64 << 20
MAX_DESCRIPTORS = 128  # of 64 sources, each with a socket for its ranges
_LENGTH = struct.Struct(">I")
# Memory that was freed is kept for the next call. It goes back to the system after a while, and what is more than a
# chunk of 1080p takes at once: the next may be of another film, which claimed less.
_IDLE_S = 5.0
_KEPT_BYTES = 640 << 20
_MOST_BYTES = 1536 << 20  # what isn't free then, between two calls, is lost for good: another process takes over
_AUTOGROUP, _STATM = Path("/proc/self/autogroup"), Path("/proc/self/statm")
_AGAIN_S = 0.05
_PR_SET_PDEATHSIG = 1
_F_SETSIG = 10
_talking = threading.Lock()  # a message is sent as a whole, and an answer is for who asked last
_log = logging.getLogger("mediaray.child")


def main() -> None:
    """Confine this process, then serve calls until the host closes the socket."""
    parser = argparse.ArgumentParser(prog="pipelines.media.child")
    for name in ("socket", "lifeline", "nice", "memory", "file", "parent"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--runs-programs", action="store_true")
    for name in ("folder", "ahead"):
        parser.add_argument(f"--{name}", action="append", default=[])
    given = parser.parse_args()
    _die_with_host(given.lifeline, given.parent)
    yields, yield_later = yield_to_others(given.nice)
    folders = tuple(map(Path, given.folder))
    memory = _own_memory()
    confinement = confine(given.memory, given.file, folders, lifeline=given.lifeline, runs_programs=given.runs_programs)
    if yield_later is not None:
        threading.Thread(target=yield_later, name="yielding", daemon=True).start()
    with socket.socket(fileno=given.socket) as host:
        _send(host, {"ready": {"pid": os.getpid(), "yields": yields, "confinement": confinement}})
        for module in given.ahead:  # what the first call would wait for
            importlib.import_module(module)
        while (request := _receive(host, memory)) is not None:
            message, descriptors = request
            hand_over(descriptors, partial(_opened_again, host, descriptors))
            try:
                _answer(host, message, descriptors, memory)
            finally:
                zero_new_memory(on=False)
                for number in descriptors:
                    with contextlib.suppress(OSError):
                        os.close(number)


def yield_to_others(nice: int) -> tuple[bool, Callable[[], None] | None]:
    """Be nicer by so much, to every process of the machine; False: to those of this session alone.

    With Linux' autogroup a nice value counts among the processes of a session, and each session has one of its own.
    Encoders in the session of a server take the share of both: whoever answers people then waits for what they used.
    So the host gives a child a session of its own, where that can be set, and it is as nice as the child is.

    Returns:
        Whether, and what is left to be done for it, by a thread: it waits.
    """
    value = os.nice(nice)
    if os.getsid(0) != os.getpid():
        return True, None
    try:
        autogroup = os.open(_AUTOGROUP, os.O_WRONLY | os.O_CLOEXEC)
        made = _make_nice(autogroup, value)
    except OSError:
        return False, None
    return True, None if made else lambda: _yield_later(autogroup, value)


def _make_nice(autogroup: int, value: int) -> bool:
    """False: not yet. Of all processes of a system but root's one may make its session nice in 0.1 s."""
    try:
        os.write(autogroup, str(value).encode())
    except OSError as error:
        if error.errno != errno.EAGAIN:
            raise
        return False
    os.close(autogroup)
    return True


def _yield_later(autogroup: int, value: int) -> None:
    with contextlib.suppress(OSError):
        while not _make_nice(autogroup, value):
            time.sleep(_AGAIN_S)


def _die_with_host(lifeline: int, parent: int) -> None:
    # Two ways, since each has a hole: the first is lost on what this process starts, and the second on what has closed
    # the pipe, which nothing in the sandbox can, where there is seccomp. Both end what is stopped, too.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgid(0))
    fcntl.fcntl(lifeline, _F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([lifeline], [], [], 0)[0]:  # it was closed before
        os.killpg(os.getpgid(0), signal.SIGKILL)
    for ignored in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # Ctrl-C is the host's to handle: it ends us when it's time
        signal.signal(ignored, signal.SIG_IGN)


def _answer(host: socket.socket, message: dict[str, Any], descriptors: list[int], memory: int) -> None:
    arguments, each = message["arguments"], message.get("each")
    if each is None:
        body = _outcome(message["function"], arguments, descriptors, lambda progress: _report(host, progress))
    else:
        calls = [{**arguments, **own} for own in each]
        body = {"results": _outcomes(host, message["function"], calls, descriptors, message["threads"])}
    if _resident_bytes(memory) > _MOST_BYTES:
        give_back_free_memory()
        body["spent"] = _resident_bytes(memory) > _MOST_BYTES
    try:
        _send(host, body)
    except ValueError:  # nothing is sent of what isn't JSON
        results = body.get("results")
        _send(host, _sendable(body) if results is None else {"results": [_sendable(each) for each in results]})


def _outcomes(
    host: socket.socket, function: str, calls: list[dict[str, Any]], descriptors: list[int], threads: int
) -> list[dict[str, Any]]:
    outcomes = []
    with ThreadPoolExecutor(threads) as pool:
        for outcome in pool.map(lambda call: _outcome(function, call, descriptors, lambda _: None), calls):
            outcomes.append(outcome)
            _report(host, Progress(fraction=len(outcomes) / len(calls), frames=0, position_s=0.0))
    return outcomes


def _outcome(name: str, sent: dict[str, Any], descriptors: list[int], on_progress: OnProgress) -> dict[str, Any]:
    try:
        function = _function(name)
        result = function(**_arguments(function, sent, descriptors, on_progress))
    except Exception as error:  # noqa: BLE001 everything that fails here must be told to the host
        return {"error": _describe(error)}
    return {"result": result.model_dump(mode="json") if isinstance(result, BaseModel) else result}


def _sendable(outcome: dict[str, Any]) -> dict[str, Any]:
    """An outcome that is JSON; what isn't (an infinite number) is a failure, not the end of this process."""
    try:
        json.dumps(outcome, allow_nan=False)
    except (ValueError, TypeError) as error:
        return {"error": _describe(error)}
    return outcome


def _report(host: socket.socket, progress: Progress) -> None:
    _send(host, {"progress": progress.model_dump(mode="json")})


@cache
def _function(name: str) -> Callable[..., Any]:
    module_name, _, attribute = name.partition(":")
    if not module_name.startswith("pipelines.media.") or attribute.startswith("_"):
        raise ValueError(f"not a media function: {name}")
    function = getattr(importlib.import_module(module_name), attribute)
    if not inspect.isfunction(function):
        raise TypeError(f"not a media function: {name}")
    return function


@cache
def _adapters(function: Callable[..., Any]) -> dict[str, TypeAdapter[Any]]:
    hints = get_type_hints(function)
    return {name: TypeAdapter(hint) for name, hint in hints.items() if name not in ("return", "on_progress")}


def _arguments(
    function: Callable[..., Any], sent: dict[str, Any], descriptors: list[int], on_progress: OnProgress
) -> dict[str, Any]:
    def real(value: Any) -> Any:
        if isinstance(value, dict) and "descriptor" in value:
            ranges = descriptors[value["ranges"]] if "ranges" in value else None
            return {"number": descriptors[value["descriptor"]], "name": value["name"], "ranges": ranges}
        return value

    adapters = _adapters(function)
    arguments = {name: adapters[name].validate_python(real(value)) for name, value in sent.items()}
    if "on_progress" in inspect.signature(function).parameters:
        arguments["on_progress"] = on_progress
    return arguments


def _describe(error: Exception) -> dict[str, Any]:
    if isinstance(error, MediaError):
        return {"code": error.code, "message": str(error), "fields": error.fields}
    if isinstance(error, MemoryError):
        return {
            "code": "limit_exceeded",
            "message": "The media needs more memory than allowed.",
            "fields": {},
        }
    if isinstance(error, OSError) and error.errno == errno.EFBIG:
        return {"code": "limit_exceeded", "message": "A file would be larger than allowed.", "fields": {}}
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return {"code": "disk_full", "message": "No space left on the disk.", "fields": {}}
    _log.error("a media function failed", exc_info=error)
    return {"code": "internal", "message": f"{type(error).__name__} in the media process", "fields": {}}


def _send(host: socket.socket, body: dict[str, Any]) -> None:
    data = json.dumps(body, allow_nan=False).encode()
    with _talking:
        host.sendall(_LENGTH.pack(len(data)) + data)


def _opened_again(host: socket.socket, descriptors: list[int], number: int) -> int:
    """A source of this call, opened once more by the host, which sends nothing else in a call. Raises OSError."""
    data = json.dumps({"open": descriptors.index(number)}).encode()
    with _talking:
        host.sendall(_LENGTH.pack(len(data)) + data)
        received = _next_message(host)
    if received is None or not received[1]:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))
    return received[1][0]


def _receive(host: socket.socket, memory: int) -> tuple[dict[str, Any], list[int]] | None:
    if _resident_bytes(memory) > _KEPT_BYTES or not select.select([host], [], [], _IDLE_S)[0]:
        give_back_free_memory()
    return _next_message(host)


def _next_message(host: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    head, descriptors, _, _ = socket.recv_fds(host, _LENGTH.size, MAX_DESCRIPTORS)
    if not head:
        return None
    head += _exactly(host, _LENGTH.size - len(head))
    (length,) = _LENGTH.unpack(head)
    if length > MAX_MESSAGE_BYTES:
        raise ValueError("message too long")
    return json.loads(_exactly(host, length)), descriptors


def _own_memory() -> int:
    """What tells how much memory this process has, while it can be opened; -1 where nothing does."""
    try:
        return os.open(_STATM, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


def _resident_bytes(memory: int) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(os.pread(memory, 100, 0).split()[1]) * resource.getpagesize()
    return 0


def _exactly(host: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = host.recv(count - len(parts))
        if not part:
            sys.exit(0)
        parts += part
    return bytes(parts)


if __name__ == "__main__":
    main()
