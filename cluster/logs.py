"""What the processes of a node have to say: all in one file, as text or as an object of JSON a line.

A line tells which job and unit it is of where it is written within ``about``, or with ``extra={"job": …}``.
"""

import contextlib
import functools
import json
import logging
import logging.handlers
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Literal

Format = Literal["text", "json"]
MOST_BYTES = 10 << 20
_KEPT = 3
_EVERY_S = 60.0
_LEFT_S = 30 * 86_400.0
_ABOUT = ("job", "unit", "operation", "code", "trace_id")
_about: ContextVar[dict[str, str] | None] = ContextVar("about", default=None)


@contextlib.contextmanager
def about(**of: str) -> Iterator[None]:
    """Lines that this thread, or task, writes meanwhile are about this: ``job``, ``unit`` and so on."""
    token = _about.set({**(_about.get() or {}), **of})
    try:
        yield
    finally:
        _about.reset(token)


@functools.cache
def log_to(file: Path, form: Format) -> None:
    """Have this process write its lines to ``file``, beside others that do."""
    handler = logging.handlers.WatchedFileHandler(file, encoding="utf-8")
    handler.setFormatter(_Json() if form == "json" else _Text())
    ours = logging.getLogger("mediaray")
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)


@functools.cache
def keep_small(file: Path) -> None:
    """Have this process, one of each node, begin a new file from time to time; all others notice."""
    threading.Thread(target=_keep_small, args=(file,), name="log", daemon=True).start()


def _keep_small(file: Path) -> None:
    while True:
        time.sleep(_EVERY_S)
        with contextlib.suppress(OSError):
            begin_anew(file)
            forget_left(file.parent)


def begin_anew(file: Path) -> None:
    """Put a file that has grown too long aside, for a new one; the last three stay."""
    if file.stat().st_size <= MOST_BYTES:
        return
    aside = [file, *(file.with_name(f"{file.name}.{number}") for number in range(1, _KEPT + 1))]
    for newer, older in reversed(list(pairwise(aside))):
        if newer.exists():
            newer.replace(older)


def forget_left(folder: Path) -> None:
    """Remove what nodes have left that nothing was heard of for a month."""
    for file in folder.glob("node-*.log*"):
        with contextlib.suppress(FileNotFoundError):  # another node was first
            if time.time() - file.stat().st_mtime > _LEFT_S:
                file.unlink()


class _Text(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s%(about)s")

    def format(self, record: logging.LogRecord) -> str:
        told = _told(record)
        record.about = f" [{' '.join(f'{name}={value}' for name, value in told.items())}]" if told else ""
        return super().format(record)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {
            "at": at,
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
            **_told(record),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def _told(record: logging.LogRecord) -> dict[str, str]:
    """What a line is about."""
    given = {name: str(record.__dict__[name]) for name in _ABOUT if name in record.__dict__}
    return {**(_about.get() or {}), **given}
