"""Whether what was encoded of a stream lasts as long as the stream: a decoder may go quiet without an error."""

from fractions import Fraction
from typing import Any

from av.packet import Packet
from av.stream import Stream

from pipelines.media.errors import SourceUnreadableError
from pipelines.media.mux import Writer
from pipelines.media.plan import StreamPlan, TranscodePlan
from pipelines.media.ticks import seconds
from pipelines.media.tracks import Clock

_SOUND_FRAME = 2048  # samples: the longest of any encoder here
_ROUNDED_S = 0.002  # of two millisecond clocks


class StreamEnd:
    """Until when the packets of a stream that were read are shown, in seconds of the output.

    Only the part that is wanted counts. Packets without a time, or that an edit list takes out, tell nothing.
    """

    def __init__(self, source: Stream, clock: Clock) -> None:
        time_base = source.time_base or Fraction(1, 1000)
        self.end_s = 0.0
        self.last_s = 0.0  # how long the packet that ends last is shown
        self._offset = clock.offset(time_base)
        self._window = clock.window(time_base)

    def read(self, packet: "Packet[Any]") -> None:
        if packet.pts is None or packet.is_discard or self._window.ends_before(packet.pts):
            return
        end_pts = packet.pts + (packet.duration or 0)
        if self._window.end_pts is not None:
            end_pts = min(end_pts, self._window.end_pts)
        end_s = seconds(end_pts - self._offset, packet.time_base)
        if end_s > self.end_s:
            self.end_s, self.last_s = end_s, seconds(packet.duration or 0, packet.time_base)


def early_end(plan: TranscodePlan, stream_plan: StreamPlan, end: StreamEnd, writer: Writer) -> str | None:
    """The warning that goes with an encoded track that ends before its source, by more than a frame of each.

    Raises:
        SourceUnreadableError: it ends before, and the plan is to fail where the source is damaged.
    """
    missing_s = end.end_s - writer.end_s
    # A last packet may be padded, and a bounded frame rate may leave out a last picture.
    if missing_s <= end.last_s + _frame_s(stream_plan) + _ROUNDED_S:
        return None
    what = "picture" if stream_plan.kind == "video" else f"sound of stream {stream_plan.source_index}"
    message = f"The {what} ends {missing_s:.1f} s early, at {writer.end_s:.1f} s: the rest of it doesn't decode"
    if plan.damage == "fail":
        raise SourceUnreadableError(f"{message}. Repair the source, or set damage to conceal.", time_s=writer.end_s)
    return f"{message}; look at the result."


def _frame_s(stream_plan: StreamPlan) -> float:
    if stream_plan.audio is not None:
        return _SOUND_FRAME / stream_plan.audio.sample_rate_hz
    return 0.0 if stream_plan.video is None else float(1 / stream_plan.video.frame_rate)
