"""Messages between the host and a media child: a length, JSON, and open descriptors beside it."""

import contextlib
import json
import os
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from cluster.descriptors import SourceDescriptor

MAX_MESSAGE_BYTES = 64 << 20
LENGTH = struct.Struct(">I")
_SEND_LIMIT_S = 60.0


def unpacked(data: bytes) -> dict[str, Any]:
    """What a child sent. Raises ValueError where it isn't an object of JSON."""
    try:
        body = json.loads(data, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("too deep") from None
    if not isinstance(body, dict):
        raise ValueError("not an object")  # noqa: TRY004 one kind of error for a bad message
    return body


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")


def packed(arguments: Mapping[str, Any], descriptors: list[int]) -> dict[str, Any]:
    """``arguments`` as JSON values; the descriptors among them go to the end of ``descriptors``."""
    sent: dict[str, Any] = {}
    for name, value in arguments.items():
        if isinstance(value, SourceDescriptor):
            sent[name] = {"descriptor": len(descriptors), "name": value.name}
            descriptors.append(value.number)
            if value.ranges is not None:
                sent[name]["ranges"] = len(descriptors)
                descriptors.append(value.ranges)
        elif isinstance(value, BaseModel):
            sent[name] = value.model_dump(mode="json")
        else:
            sent[name] = value
    return sent


@contextlib.contextmanager
def opened_again(descriptors: Sequence[int]) -> Iterator[list[int]]:
    """The same files, each with a position that no other process moves; a socket stands for itself."""
    fresh: list[int] = []
    try:
        for number in descriptors:
            try:
                fresh.append(reopened(number))
            except OSError:
                fresh.append(os.dup(number))
        yield fresh
    finally:
        for number in fresh:
            os.close(number)


def reopened(number: int) -> int:
    return os.open(f"/proc/self/fd/{number}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)


def send(connection: socket.socket, body: Mapping[str, Any], descriptors: list[int]) -> None:
    data = json.dumps(body, allow_nan=False).encode()
    connection.settimeout(_SEND_LIMIT_S)
    message = LENGTH.pack(len(data)) + data
    sent = socket.send_fds(connection, [message], descriptors) if descriptors else 0
    connection.sendall(message[sent:])
