"""Ports for what is started later."""

from pathlib import Path

import pytest

from cluster.ports import held_port

RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


@pytest.mark.skipif(
    not RANGE.exists() or int(RANGE.read_text().split()[0]) <= 12_000, reason="the kernel gives away all ports here"
)
def test_it_is_none_that_the_kernel_gives_to_others():
    with held_port() as held:
        address, port = held.getsockname()
    assert address == "127.0.0.1"
    assert port < int(RANGE.read_text().split()[0])


def test_nobody_else_has_it_while_it_is_held():
    with held_port() as held, pytest.raises(OSError, match="in use"):
        held.__class__(held.family, held.type).bind(held.getsockname())
