"""What the processes of a node have to say: all in one file, as text or as an object of JSON a line.

A line tells which job and unit it is of where it is written within ``about``, or with ``extra={"job": …}``.
"""

import contextlib
import functools
import json
import logging
import logging.handlers
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

Format = Literal["text", "json"]
MOST_BYTES = 10 << 20
_KEPT = 3
_ABOUT = ("job", "unit", "operation", "code")
_about: ContextVar[dict[str, str] | None] = ContextVar("about", default=None)


@contextlib.contextmanager
def about(**of: str) -> Iterator[None]:
    """Lines that this thread, or task, writes meanwhile are about this: ``job``, ``unit``, ``operation``."""
    token = _about.set({**(_about.get() or {}), **of})
    try:
        yield
    finally:
        _about.reset(token)


@functools.cache
def log_to(file: Path, form: Format) -> None:
    """Have this process write its lines to ``file``, beside others that do."""
    _take(logging.handlers.WatchedFileHandler(file, encoding="utf-8"), form)


class RotatedLog(logging.handlers.RotatingFileHandler):
    """The file, kept small by the one process that stays; others notice that it was renamed."""

    def __init__(self, file: Path, form: Format) -> None:
        super().__init__(file, maxBytes=MOST_BYTES, backupCount=_KEPT, encoding="utf-8")
        _take(self, form)

    def keep_small(self) -> None:
        """Begin a new file where this one has grown too long, whoever wrote to it."""
        with self.lock or contextlib.nullcontext():
            if Path(self.baseFilename).stat().st_size > self.maxBytes:
                self.doRollover()


def _take(handler: logging.Handler, form: Format) -> None:
    handler.setFormatter(_Json() if form == "json" else _Text())
    ours = logging.getLogger("mediaray")
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)


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
