"""Asks stores, in a process of its own: ``python -m cluster.store_asker``. See ``cluster.apart`` for why.

Each line of its input is a question; its answer is a line, which tells how many bytes follow, and those. It ends with
its input, and when it has had nothing to do for a while.
"""

import os
import queue
import sys
import threading
from typing import Literal

from pydantic import BaseModel

from cluster.arrow_store import ArrowReader, ArrowStore
from cluster.errors import StorageError
from cluster.object_paths import object_path
from cluster.stores import Noted, StoreAddresses

_IDLE_S = 60.0  # its memory is wanted elsewhere
_KEPT = 16  # objects that stay open
_Readers = dict[tuple[str, Noted], ArrowReader]


class Question(BaseModel, frozen=True):
    """What is noted of ``uri``; bytes of it as it was ``noted``; what is in ``folder``; or that it is to be removed.

    ``bucket``: whether the store lacks that of ``uri``.
    """

    what: Literal["note", "read", "list", "remove", "bucket"]
    addresses: StoreAddresses
    uri: str
    noted: Noted | None = None
    count: int = 0
    offset: int = 0
    folder: str = ""


class Answer(BaseModel, frozen=True):
    """``code`` and ``message`` where it failed; ``size_bytes`` follow."""

    noted: Noted | None = None
    listed: list[tuple[str, int, int]] = []
    lacks_bucket: bool = False
    size_bytes: int = 0
    code: str | None = None
    message: str = ""


def main() -> None:
    """Answer what the input asks."""
    asked: queue.Queue[bytes] = queue.Queue()
    threading.Thread(target=_hear, args=(asked,), daemon=True).start()
    out, readers = sys.stdout.buffer, _Readers()
    while True:
        try:
            line = asked.get(timeout=_IDLE_S)
        except queue.Empty:
            os._exit(0)
        try:
            answer, content = _answer(Question.model_validate_json(line), readers)
        except StorageError as error:
            answer, content = Answer(code=error.code, message=error.message), b""
        out.write(answer.model_dump_json().encode() + b"\n" + content)
        out.flush()


def _hear(asked: "queue.Queue[bytes]") -> None:
    for line in sys.stdin.buffer:
        asked.put(line)
    os._exit(0)


def _answer(question: Question, readers: _Readers) -> tuple[Answer, bytes]:
    store, path = ArrowStore(question.addresses), object_path(question.uri)
    if question.what == "note":
        return Answer(noted=store.note(path)), b""
    if question.what == "list":
        return Answer(listed=store.listed(path, question.folder)), b""
    if question.what == "bucket":
        return Answer(lacks_bucket=store.lacks_bucket(path)), b""
    if question.what == "remove":
        store.remove(path)
        return Answer(), b""
    assert question.noted is not None
    key = (question.uri, question.noted)
    reader = readers.pop(key, None) or store.reader(path, question.noted)
    readers[key] = reader  # the last one now
    if len(readers) > _KEPT:
        del readers[next(iter(readers))]
    content = reader.read(question.count, question.offset)
    return Answer(size_bytes=len(content)), content


if __name__ == "__main__":
    main()
