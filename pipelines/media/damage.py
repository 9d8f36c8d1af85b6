"""What of a stream doesn't decode: concealed and told, or the end of the work."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Literal

from av.packet import Packet
from av.video.codeccontext import VideoCodecContext

from pipelines.media.errors import SourceUnreadableError
from pipelines.media.profiles import DamagePolicy
from pipelines.media.tracks import Window

_KEPT_TIMES = 10
_DECIMALS = 3


class Damage:
    """The decode errors of a track, or what a container lost.

    ``times_s``: when the first ten are shown, in seconds from the start of the source, as far as known. Of an error
    without a frame it's the time of the packet read last: behind it by as many frames as are decoded at once.
    """

    def __init__(
        self,
        what: Literal["picture", "sound", "container"],
        policy: DamagePolicy,
        time_base: Fraction,
        zero_pts: int,
        counted: Window,
    ) -> None:
        """``zero_pts`` is the start of the source, in ``time_base``; damage outside ``counted`` doesn't matter."""
        self.errors = 0
        self.times_s: list[float] = []
        self._what = what
        self._policy = policy
        self._time_base = time_base
        self._zero_pts = zero_pts
        self._counted = counted
        self._read_pts: int | None = None

    def reading(self, packet: "Packet[Any]") -> None:
        """Take note of what is given to the decoder; the empty packet at the end has no time."""
        pts = packet.pts if packet.pts is not None else packet.dts
        self._read_pts = pts if pts is not None else self._read_pts

    def found(self, pts: int | None = None) -> None:
        """Count an error, in the frame shown at ``pts`` or in what was read last.

        Raises:
            SourceUnreadableError: the policy is to fail.
        """
        pts = self._read_pts if pts is None else pts
        if pts is not None and not self._counted.holds(pts):
            return
        time_s = None if pts is None else round(float((pts - self._zero_pts) * self._time_base), _DECIMALS)
        if self._policy == "fail":
            where = "" if time_s is None else f" at {time_s:.1f} s"
            raise SourceUnreadableError(
                f"The source's {self._what} is damaged{where}; repair it, or set damage to conceal.", time_s=time_s
            )
        self.errors += 1
        if time_s is not None and len(self.times_s) < _KEPT_TIMES:
            self.times_s.append(time_s)


def set_to_tell(decoder: VideoCodecContext) -> None:
    """Have ``decoder`` tell of what it would conceal without a word."""
    if decoder.name == "hevc":
        # Measured with four bytes of a packet changed: libav's HEVC decoder tells of 13 in 20 such, else of none. Other
        # decoders tell as much without, and H.264's would take what comes before a keyframe of an open GOP for damage.
        decoder.options = {**decoder.options, "err_detect": "explode"}


def first_times(*tracks: "tuple[float, ...] | list[float]") -> tuple[float, ...]:
    """The first ten of several tracks or chunks, in order; chunks may meet the same damage."""
    return tuple(sorted({time_s for times_s in tracks for time_s in times_s})[:_KEPT_TIMES])


def concealed(errors: int, times_s: tuple[float, ...]) -> str:
    """The warning that goes with a damaged source."""
    told = "1 error was" if errors == 1 else f"{errors} errors were"
    return f"{told} concealed while reading the source{first_of(errors, times_s)}; look at the result."


def first_of(errors: int, times_s: Sequence[float]) -> str:
    """Where the first of some errors is, to follow their number; nothing where that isn't known."""
    return "" if not times_s else f", {'' if errors == 1 else 'the first '}at {times_s[0]:.1f} s"
