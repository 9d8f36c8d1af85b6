"""Whether a client was told everything: the numbers of a job's events, as one socket brings them."""

from collections.abc import Mapping
from typing import Any


class Sequence:
    """What came. ``lost`` events were missing; ``summed_up`` ones a later snapshot stood for, as for a slow client."""

    def __init__(self) -> None:
        self.count = 0
        self.lost = 0
        self.summed_up = 0
        self._at: tuple[int, int] | None = None  # epoch and number of the last one

    def take(self, event: Mapping[str, Any]) -> None:
        epoch, number = int(event["epoch"]), int(event["seq"])
        if self._at is not None and epoch == self._at[0]:
            missing = number - self._at[1] - 1
            if event["type"] == "snapshot":
                self.summed_up += max(0, missing)
            else:
                self.lost += max(0, missing)
        elif event["type"] != "snapshot" and number != 1:  # what came before it in this epoch was never told
            self.lost += number - 1
        self.count += 1
        self._at = epoch, number
