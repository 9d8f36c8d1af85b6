"""What the object stores of tests that aren't moto keep: whole objects, and parts of those that are on their way."""

import itertools
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from email.utils import formatdate

import httpx
from object_server import Application, ObjectServer
from werkzeug.wrappers import Request, Response

_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Kept:
    """An object. ``number`` is another for each; ``copy`` tells how far the store is that makes it of another."""

    content: bytes
    media_type: str = "application/octet-stream"
    copy: str = ""
    number: int = field(default_factory=_NUMBERS.__next__)
    at_s: float = field(default_factory=time.time)

    @property
    def written(self) -> str:
        """When, as HTTP writes it."""
        return formatdate(self.at_s, usegmt=True)


@dataclass
class KeepingServer(ObjectServer, ABC):
    """One with a bucket, whose ``objects`` are by key."""

    objects: dict[str, Kept] = field(default_factory=dict)
    parts: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def get(self, key: str) -> httpx.Response:
        kept = self.objects.get(key)
        if kept is None:
            return httpx.Response(404)
        return httpx.Response(200, content=kept.content, headers={"Content-Type": kept.media_type})

    def keys(self, prefix: str = "") -> list[str]:
        return sorted(key for key in self.objects if key.startswith(prefix) and not key.endswith("/"))

    def application(self) -> Application:
        return Request.application(self.answer)

    @abstractmethod
    def answer(self, request: Request) -> Response:
        """What the store answers, as its protocol has it."""

    def page(self, prefix: str, begin: str, delimiter: str, most: int) -> tuple[list[str], list[str], str]:
        """Keys and folders below ``prefix`` from ``begin`` on, and where the next page begins; none: ''."""
        keys: list[str] = []
        folders: list[str] = []
        for key in sorted(key for key in self.objects if key.startswith(prefix) and key >= begin):
            rest = key[len(prefix) :]
            folder = prefix + rest.partition(delimiter)[0] + delimiter if delimiter and delimiter in rest else ""
            if folder and folder in folders:
                continue
            if len(keys) + len(folders) == most:
                return keys, folders, key
            (folders if folder else keys).append(folder or key)
        return keys, folders, ""

    def _put(self, key: str, body: bytes) -> None:
        self.objects[key] = Kept(body)

    def _empty(self) -> None:
        self.objects.clear()
        self.parts.clear()


def range_of(header: str | None, content: bytes) -> tuple[bytes, str] | None:
    """The part of ``content`` that ``bytes=5-9`` asks for, and what is told of it; None where nothing is asked for."""
    if not header:
        return None
    first, _, last = header.removeprefix("bytes=").partition("-")
    begin, end = int(first), min(int(last or len(content) - 1), len(content) - 1) + 1
    return content[begin:end], f"bytes {begin}-{end - 1}/{len(content)}"


def path_below(request: Request, folder: str) -> str | None:
    """What follows ``folder`` in a request's path, as it was written; None of another path."""
    path = str(request.environ.get("RAW_URI", request.path)).partition("?")[0]
    return path.removeprefix(folder) if path.startswith(folder) else None
