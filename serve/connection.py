"""What both clients do alike: find the server, tell a refusal from a server that is away, name what they fetch."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import httpx
from websockets.exceptions import ConnectionClosed, InvalidStatus

from cluster.home import Home
from cluster.settings import Settings
from cluster.staging import give_new_name, staged_name
from serve.protocol import PREFIX, EventCursor, Patience, ServerUnreachableError, events_url

_TIMEOUT = httpx.Timeout(30.0, connect=5.0)


@dataclass(frozen=True)
class Server:
    """Where the server is and what to show it."""

    url: str
    headers: Mapping[str, str]

    @classmethod
    def find(cls, url: str | None, token: str | None, home: Path | None) -> "Server":
        if url is None or token is None:
            settings = Settings() if home is None else Settings(home=home)
            place = Home(settings.home)
            url = url or (place.server() or {}).get("url") or settings.url
            token = token or (place.token() if place.path.is_dir() else None)
        return cls(url.rstrip("/"), {"Authorization": f"Bearer {token}"} if token else {})

    def http(self) -> dict[str, Any]:
        # No proxy of the environment: the token is for this server only.
        return {
            "base_url": self.url + PREFIX,
            "headers": dict(self.headers),
            "timeout": _TIMEOUT,
            "trust_env": False,
        }

    def websocket(self, job_id: str, cursor: EventCursor) -> dict[str, Any]:
        address = events_url(self.url, job_id, cursor)
        return {"uri": address, "additional_headers": dict(self.headers), "proxy": None}


def refused(failure: Exception | None) -> bool:
    """Whether the server doesn't want to, as opposed to: can't now."""
    if isinstance(failure, InvalidStatus):
        return failure.response.status_code < 500
    return isinstance(failure, ConnectionClosed) and failure.rcvd is not None and failure.rcvd.code >= 4000


def delay_s(patience: Patience, url: str, failure: Exception | None) -> float:
    """Seconds until the next try. Raises ServerUnreachableError where patience is over."""
    delay = patience.delay_s()
    if delay is None:
        raise ServerUnreachableError(url, str(failure) if failure else "") from failure
    return delay


def download_target(name: str, to: Path) -> Path:
    return to / Path(name).name if to.is_dir() else to


def begun(target: Path) -> tuple[Path, BinaryIO]:
    """What is to become a file, beside it under a name of its own, until it's whole.

    Raises:
        OSError: of the folder, since nobody knows that name.
    """
    temporary = staged_name(target, uuid.uuid4().hex)
    try:
        return temporary, temporary.open("xb")
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(temporary.parent)) from error


def ended(temporary: Path, target: Path, *, overwrite: bool) -> None:
    """Give a file that is whole its name. Raises StorageError: ``output_exists``."""
    if overwrite:
        temporary.replace(target)
    else:
        give_new_name(temporary, target)
