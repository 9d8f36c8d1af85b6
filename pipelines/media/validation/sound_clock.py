"""When sound ought to come, held against when it does."""

from pipelines.media.validation.timeline import LOOSE_STEPS

# Sound that is off by a frame is missing, or there twice. Less than that, but from then on, is a short packet; a clock
# that is off again and again is a recorder's, or was rounded.
_SOUND_GAP_S, _FRAMES_OFF = 0.015, 0.9
_SHORT_GAP_S, _TICKS_OFF = 0.0015, 1.5
_STAYS_OFF = 3  # frames
_OFTEN_OFF = 0.01  # of the frames


class SoundClock:
    """When sound ought to come, by how much has come before."""

    def __init__(self, tick_s: float, *, loose: bool) -> None:
        """``loose``: times aren't in the container, but worked out from few."""
        self._tick_s = tick_s
        self._frames_off = LOOSE_STEPS if loose else _FRAMES_OFF
        self._next_s = 0.0
        self.frames = 0
        self._off: list[float] = []
        self._short: list[tuple[int, float]] = []

    def off_s(self, pts: int, length_s: float) -> float:
        """By how much a frame comes late (positive) or early, where that is a frame's length or more; else 0."""
        begin_s = pts * self._tick_s
        if not self.frames:
            self._next_s = begin_s
        self.frames += 1
        off_s = begin_s - self._next_s
        self._next_s += length_s
        if abs(off_s) > max(_SOUND_GAP_S, self._frames_off * length_s):
            self._next_s, self._off = begin_s + length_s, []
            return off_s
        self._off = [*self._off[1 - _STAYS_OFF :], off_s]
        least = max(_SHORT_GAP_S, _TICKS_OFF * self._tick_s)
        if len(self._off) == _STAYS_OFF and (min(self._off) > least or max(self._off) < -least):
            self._short.append((pts, off_s))
            self._next_s, self._off = begin_s + length_s, []
        return 0.0

    @property
    def short(self) -> list[tuple[int, float]]:
        """When packets are short, and by how much the sound is off from then on; none where it often is."""
        return self._short if len(self._short) <= max(_STAYS_OFF, _OFTEN_OFF * self.frames) else []
