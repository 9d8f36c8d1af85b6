"""Processes of others, watched."""

import threading
import time
from collections.abc import Callable
from typing import Any

import psutil


def until(true: Callable[[], Any], limit_s: float = 10.0) -> None:
    """Wait for what nobody announces."""
    deadline = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def is_gone(pid: int) -> bool:
    """Whether it runs no more; it may wait for whoever adopted it."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
