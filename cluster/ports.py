"""Ports for what is started later."""

import contextlib
import random
import socket
from pathlib import Path

_GIVEN = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST, _TRIES = 12_000, 100


def held_port() -> socket.socket:
    """A free port of loopback, held until it is closed, that the kernel gives to nobody who doesn't name it.

    Of those that it gives to who doesn't care, Ray takes dozens until a server has come up. Where it may give any, so
    may this.
    """
    lowest = int(_GIVEN.read_text().split()[0]) if _GIVEN.exists() else _LOWEST
    for port in random.sample(range(_LOWEST, lowest), max(0, min(_TRIES, lowest - _LOWEST))):
        with contextlib.suppress(OSError):
            return socket.create_server(("127.0.0.1", port))
    return socket.create_server(("127.0.0.1", 0))
