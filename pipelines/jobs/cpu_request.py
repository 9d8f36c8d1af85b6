"""How many CPUs an autoscaler is asked for. Pure."""

import math

_GRANTED_S = 15.0  # Ray's looks every 5 s
_FORGET_S = 600.0  # somebody may have let it bring more meanwhile


class CpuRequest:
    """What is asked of an autoscaler that brings nothing at all where it can't bring everything.

    It says what it refuses. Then what lies as many times above what is sure as below what is refused is asked for,
    until nothing is refused, and from there the same again: so it comes to what there can be, whatever that is.
    """

    def __init__(self) -> None:
        self.asked = 0
        self._asked_at = 0.0
        self._refused: int | None = None  # the least that was
        self._refused_at = 0.0

    def next(self, wanted: int, present: int, refused: int | None, now_s: float) -> int:
        """CPUs to ask for now. ``present`` are there; ``refused`` is what the autoscaler says it can't bring."""
        if refused is not None and (self._refused is None or refused < self._refused):
            self._refused, self._refused_at = refused, now_s
        if not wanted or now_s - self._refused_at > _FORGET_S:
            self._refused = None
        asked = wanted
        if self._refused is not None:  # also where by now one less is wanted: that would most likely be refused, too
            asked = min(wanted, self._up_to(self._refused, present, now_s))
        if asked != self.asked:
            self.asked, self._asked_at = asked, now_s
        return asked

    def _up_to(self, refused: int, present: int, now_s: float) -> int:
        """Half of the way from what is sure to what is refused, by ratio: a few machines are there in few looks."""
        sure = present
        if self.asked < refused:
            if self.asked > present and now_s - self._asked_at <= _GRANTED_S:
                return self.asked
            sure = max(present, self.asked)
        between = max(sure + 1, math.isqrt(max(1, sure) * refused))
        return max(1, sure, min(between, refused - 1))
