"""The host's side of stores that are asked in a process apart.

Arrow holds Python's lock while it begins to read of Google's store, which would stop an event loop for as long as the
store takes. With Azure's it ends the process where it can't get a token for an identity.
"""

import atexit
import contextlib
import subprocess
import threading
from typing import Any

from cluster.errors import StorageError
from cluster.object_paths import ObjectPath
from cluster.side_process import end, started
from cluster.store_asker import Answer, Question
from cluster.stores import Noted, StoreAddresses

_ASKER = "cluster.store_asker"
_IDLE = 2  # askers that wait for the next question


class Askers:
    """Processes that ask, each one question at a time; as many as threads ask at once."""

    def __init__(self) -> None:
        self._alone = threading.Lock()
        self._idle: list[subprocess.Popen[bytes]] = []

    def ask(self, question: Question) -> tuple[Answer, bytes]:
        """The answer, and the bytes that follow it.

        Raises:
            StorageError: what the store says, as ``ObjectStore`` tells it; ``storage_unavailable``: the process ended.
        """
        with self._alone:
            asker = self._idle.pop() if self._idle else None
        told = self._asked(asker, question) if asker else None
        if told is None:  # there was none, or it ended for want of work
            told = self._asked(started(_ASKER), question)
        if told is None:
            raise StorageError(
                "storage_unavailable",
                f"The process that asks the store of {question.uri} ended, as it does where it finds no credentials. "
                "The server's log has more.",
            )
        answer, content = told
        if answer.code is not None:
            raise StorageError(answer.code, answer.message)
        return answer, content

    def end(self) -> None:
        with self._alone:
            idle, self._idle = self._idle, []
        for asker in idle:
            end(asker)

    def _asked(self, asker: subprocess.Popen[bytes], question: Question) -> tuple[Answer, bytes] | None:
        assert asker.stdin is not None
        assert asker.stdout is not None
        told = None
        try:
            with contextlib.suppress(BrokenPipeError):
                asker.stdin.write(question.model_dump_json().encode() + b"\n")
                asker.stdin.flush()
                if line := asker.stdout.readline():
                    answer = Answer.model_validate_json(line)
                    content = asker.stdout.read(answer.size_bytes)
                    told = (answer, content) if len(content) == answer.size_bytes else None
        finally:
            with self._alone:
                kept = told is not None and len(self._idle) < _IDLE
                if kept:
                    self._idle.append(asker)
            if not kept:
                end(asker)
        return told


ASKERS = Askers()
atexit.register(ASKERS.end)


class ApartReader:
    """An object whose bytes are read apart."""

    def __init__(self, path: ObjectPath, noted: Noted, addresses: StoreAddresses) -> None:
        self._path, self._noted, self._addresses = path, noted, addresses

    def read(self, count: int, offset: int) -> bytes:
        asked: dict[str, Any] = {"noted": self._noted, "count": count, "offset": offset}
        return ASKERS.ask(Question(what="read", addresses=self._addresses, uri=str(self._path), **asked))[1]


class ApartStore:
    """As ``ArrowStore``, asked apart."""

    def __init__(self, addresses: StoreAddresses) -> None:
        self._addresses = addresses

    def note(self, path: ObjectPath) -> Noted:
        answer, _ = ASKERS.ask(Question(what="note", addresses=self._addresses, uri=str(path)))
        assert answer.noted is not None
        return answer.noted

    def lacks_bucket(self, path: ObjectPath) -> bool:
        answer, _ = ASKERS.ask(Question(what="bucket", addresses=self._addresses, uri=str(path)))
        return answer.lacks_bucket

    def reader(self, path: ObjectPath, noted: Noted) -> ApartReader:
        return ApartReader(path, noted, self._addresses)

    def listed(self, prefix: ObjectPath, folder: str) -> list[tuple[str, int, int]]:
        question = Question(what="list", addresses=self._addresses, uri=str(prefix), folder=folder)
        return ASKERS.ask(question)[0].listed

    def remove(self, path: ObjectPath) -> None:
        ASKERS.ask(Question(what="remove", addresses=self._addresses, uri=str(path)))
