"""What was found where something was looked at, and what to do about it."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    """``fail``: mediaray can't work. ``warn``: it works, but less well, or not all of it."""

    name: str
    status: Status
    found: str
    advice: str = ""


def worst(statuses: list[Status]) -> Status:
    """The status of several together."""
    return "fail" if "fail" in statuses else "warn" if "warn" in statuses else "ok"
