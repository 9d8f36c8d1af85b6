"""Go to a keyframe, to the packet, and decode it without those around it."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import chain, islice
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from pipelines.media.demuxing import packets_of, time_of
from pipelines.media.source import shown_at

# A seek may land behind the time asked for (MPEG-TS and -PS, RealMedia, old AVI): then look farther back.
STEPS_BACK_S = (0, 1, 4, 16, 64)
MAX_READ = 3000  # packets from where a seek landed: more is no seek


def find_keyframe(
    container: InputContainer,
    stream: Stream,
    time: int,
    *,
    aim: int | None = None,
    size_bytes: int | None = None,
    or_decoded: bool = False,
) -> "tuple[int, Iterator[Packet[Any]]] | None":
    """Where to seek to come upon the keyframe that is shown at ``time``, and the stream's packets from it on.

    ``None`` where it isn't found. It has ``size_bytes``, if that is known. The first seek goes to ``aim``, the next
    ones to earlier times. ``or_decoded``: ``time`` may be when it is decoded.
    """
    for back_s in STEPS_BACK_S:
        place = (time if aim is None else aim) - _ticks(back_s, stream)
        try:
            container.seek(place, stream=stream)
            packets = packets_of(container, stream)
            found = from_keyframe(packets, time, size_bytes, near=True, or_decoded=or_decoded)
        except av.error.FFmpegError:
            continue
        if found is not None:
            return place, found
    return None


def from_keyframe(
    packets: "Iterator[Packet[Any]]",
    time: int,
    size_bytes: int | None = None,
    *,
    near: bool = False,
    or_decoded: bool = False,
) -> "Iterator[Packet[Any]] | None":
    """``packets`` from the keyframe on that is shown at ``time``; ``None`` where it isn't there.

    ``near``: they come from a seek, which landed before it if it is among the first. ``or_decoded``: see
    ``find_keyframe``.
    """
    for packet in _near(packets, time) if near else packets:
        fits = time_of(packet) == time or (or_decoded and packet.dts == time)
        if packet.is_keyframe and fits and size_bytes in (None, packet.size):
            return chain((packet,), packets)
    return None


def _near(packets: "Iterator[Packet[Any]]", time: int) -> "Iterator[Packet[Any]]":
    """Up to the first that is decoded after ``time``."""
    for packet in islice(packets, MAX_READ):
        yield packet
        if packet.dts is not None and packet.dts > time:
            return


def _ticks(time_s: float, stream: Stream) -> int:
    return int(time_s / (stream.time_base or Fraction(1, 1000)))


class KeyframeSeeker:
    """Goes to keyframes of a stream whose times are known: where a seek of the container's own lands elsewhere, too."""

    def __init__(self, container: InputContainer, stream: VideoStream, times: Sequence[int]) -> None:
        """``times`` as ``Keyframes`` has them."""
        self.times = times
        self._container = container
        self._stream = stream

    def packets_from(self, place: int) -> "Iterator[Packet[VideoStream]] | None":
        """The stream's packets from the keyframe at ``place`` in the times on; ``None`` where it isn't found."""
        time = self.times[place]
        behind = self.times[place + 1] if place + 1 < len(self.times) else time + _ticks(2, self._stream)
        # An index may tell when a keyframe is decoded, and a seek looks for when it's shown: soon after.
        aim = time + min(_ticks(1, self._stream), (behind - time) // 2)
        found = find_keyframe(self._container, self._stream, time, aim=aim, or_decoded=True)
        return None if found is None else found[1]


class KeyframeReader:
    """Decodes keyframes one by one: of each, no other packet is given to the decoder."""

    def __init__(self, container: InputContainer, stream: VideoStream, times: Sequence[int]) -> None:
        """``times`` as ``Keyframes`` has them."""
        self._seeker = KeyframeSeeker(container, stream, times)
        self._decoder = stream.codec_context
        self._decoder.thread_count = 1  # with threads for frames, none comes until each has one

    def frame(self, place: int) -> VideoFrame | None:
        """The keyframe at ``place`` in the times; ``None`` where it isn't found or doesn't decode."""
        packets = self._seeker.packets_from(place)
        return None if packets is None else decoded_alone(next(packets), self._decoder)


def decoded_alone(keyframe: "Packet[VideoStream]", decoder: VideoCodecContext) -> VideoFrame | None:
    """The frame of ``keyframe``, which is all that is given to ``decoder``; ``None`` where it doesn't decode."""
    try:
        frames = [*decoder.decode(keyframe), *decoder.decode(None)]
    except av.error.FFmpegError:
        return None
    finally:
        decoder.flush_buffers()
    frame = next((frame for frame in frames if not frame.is_corrupt), None)
    if frame is not None:
        frame.pts = shown_at(frame)
    return None if frame is None or frame.pts is None else frame
