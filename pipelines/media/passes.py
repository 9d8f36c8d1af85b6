"""One pass over a source: it is read once and decoded once, and all who look at it are shown what comes.

Of a part that begins and ends at keyframes only what is its own is shown, so that all parts of a stream together show
each packet and each frame once.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import Any, Protocol

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Stream
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from pipelines.media.demuxing import packets_of, time_of
from pipelines.media.errors import SourceUnreadableError
from pipelines.media.keyframe_seeking import find_keyframe, from_keyframe
from pipelines.media.libav_log import Message, captured_messages
from pipelines.media.parts import Part
from pipelines.media.progress import OnProgress, ProgressMeter
from pipelines.media.source import Source, name_of, open_input, shown_at
from pipelines.media.ticks import seconds
from pipelines.media.tracks import Window

# libav's strictest detection that still hands out what it conceals: checksums that codecs have, bits left over and
# values out of range. What decoders say of it is shown to listeners; ``explode`` would only take the frames away.
_STRICT = "crccheck+bitstream+buffer+careful+compliant+aggressive"
_PADDED = {"mpeg1video", "mpeg2video"}  # these bits may be left over: pictures of a constant bit rate are filled up
_STRICT_OF_PADDED = "crccheck+buffer+careful+compliant"
_KINDS = frozenset({"video", "audio"})


@dataclass(frozen=True)
class Fault:
    """What a decoder said of a packet, or of what it held back: ``raised`` where it gave up on it.

    On several threads it may be one of the packets before.
    """

    stream: int
    pts: int | None
    messages: tuple[Message, ...]
    raised: str | None = None


class Listener(Protocol):
    """Looks at a pass. A frame is the listener's only during the call: what it wants to keep, it copies.

    ``opened`` comes first, and once. Packets come in order of decoding, frames in the order the decoder gives them out;
    both have times of their stream's time base, as stored.
    """

    def opened(self, container: InputContainer) -> None: ...

    def packet(self, packet: "Packet[Any]") -> None: ...

    def picture(self, stream: int, frame: VideoFrame) -> None: ...

    def sound(self, stream: int, frame: AudioFrame) -> None: ...

    def fault(self, fault: Fault) -> None: ...


def run_pass(
    source: Source, part: Part, listeners: Sequence[Listener], threads: int, on_progress: OnProgress
) -> str | None:
    """Decode ``part`` of ``source``; returns why it couldn't be read to its end, if so.

    Raises:
        SourceError: see ``open_input``; SourceUnreadableError: the keyframe that it begins with isn't there any more.
    """
    for by_seek in (True, False):
        with captured_messages() as messages, open_input(source) as container:
            one = _Pass(container, part, listeners, messages, on_progress)
            one.set_up(threads)
            packets = one.packets(by_seek=by_seek)
            if packets is not None:
                return one.run(packets)
    raise SourceUnreadableError(f"{name_of(source)} has another content than when it was looked at.")


class _Pass:
    def __init__(
        self,
        container: InputContainer,
        part: Part,
        listeners: Sequence[Listener],
        messages: list[Message],
        on_progress: OnProgress,
    ) -> None:
        self._container = container
        self._streams = [container.streams[index] for index in part.streams]
        self._part = part
        self._window = Window(part.begin_pts, part.end_pts)
        self._listeners = listeners
        self._messages = messages
        self._meter = ProgressMeter(on_progress, self._length_s())
        self._frames = 0

    def _length_s(self) -> float | None:
        if self._part.begin_pts is not None and self._part.end_pts is not None:
            return float((self._part.end_pts - self._part.begin_pts) * self._time_base)
        return self._container.duration / av.time_base if self._container.duration else None

    @property
    def _time_base(self) -> Fraction:
        return self._streams[0].time_base or Fraction(1, 1000)

    def set_up(self, threads: int) -> None:
        for stream in self._container.streams:
            if stream not in self._streams:
                stream.discard = Discard.all
            elif stream.type in _KINDS and stream.codec_context is not None:
                context = stream.codec_context
                context.options = {
                    **context.options,
                    "err_detect": _STRICT_OF_PADDED if context.name in _PADDED else _STRICT,
                }
                context.thread_type = "AUTO"
                context.thread_count = threads if stream.type == "video" else 1

    def packets(self, *, by_seek: bool) -> "Iterator[Packet[Any]] | None":
        """From the keyframe on that the part begins with, by a seek or from the start; ``None`` where it isn't."""
        key_pts, key_bytes = self._part.key_pts, self._part.key_bytes
        if key_pts is None:
            return islice(packets_of(self._container, *self._streams), self._part.packets)
        if by_seek:
            found = find_keyframe(self._container, self._streams[0], key_pts, size_bytes=key_bytes)
            return None if found is None else found[1]
        with suppress(av.error.FFmpegError):
            return from_keyframe(packets_of(self._container, *self._streams), key_pts, key_bytes)
        return None

    def run(self, packets: "Iterator[Packet[Any]]") -> str | None:
        for listener in self._listeners:
            listener.opened(self._container)
        del self._messages[:]  # those of opening are none of the decoders'
        failed = None
        decoded = [stream for stream in self._streams if stream.type in _KINDS and stream.codec_context is not None]
        try:
            for packet in self._own(packets):
                self._take(packet)
        except av.error.FFmpegError as error:
            failed = error.strerror or str(error)
        for stream in decoded:
            self._decode(stream, None)
        return failed

    def _own(self, packets: "Iterator[Packet[Any]]") -> "Iterator[Packet[Any]]":
        """The packets to decode: up to the keyframe behind the part's end, with what leads it where that is wanted."""
        end, ended = self._part.end_pts, False
        for packet in packets:
            if not packet.size:
                continue
            time = time_of(packet)
            if end is not None and time is not None and time >= end:
                if ended or not self._part.leading:
                    return
                ended = True
            yield packet

    def _take(self, packet: "Packet[Any]") -> None:
        stream, pts = packet.stream, time_of(packet)
        if self._counts(pts):
            for listener in self._listeners:
                listener.packet(packet)
            if pts is not None:
                begin = stream.start_time or 0 if self._part.begin_pts is None else self._part.begin_pts
                self._meter.update(seconds(pts - begin, packet.time_base), self._frames)
        if stream.type in _KINDS and stream.codec_context is not None:
            self._decode(stream, packet)

    def _decode(self, stream: Stream, packet: "Packet[Any] | None") -> None:
        """Decode a packet, or what the decoder holds back."""
        index, raised = stream.index, None
        context = stream.codec_context
        assert isinstance(context, VideoCodecContext | AudioCodecContext)
        try:
            for frame in context.decode(packet):
                self._show(index, frame)
        except av.error.EOFError:
            pass
        except av.error.FFmpegError as error:
            raised = error.strerror or str(error)
        if raised is None and not self._messages:
            return
        pts = None if packet is None else time_of(packet)
        messages = tuple(Message(*each) for each in self._messages)
        del self._messages[:]
        if packet is None or self._counts(pts):
            for listener in self._listeners:
                listener.fault(Fault(index, pts, messages, raised))

    def _counts(self, pts: int | None) -> bool:
        """Whether what is shown then is the part's own. Only where all has times, a source is cut."""
        return self._window.holds(pts) if pts is not None else self._part.begin_pts is None

    def _show(self, index: int, frame: object) -> None:
        if isinstance(frame, VideoFrame):
            if self._counts(shown_at(frame)):
                self._frames += 1
                for listener in self._listeners:
                    listener.picture(index, frame)
        elif isinstance(frame, AudioFrame) and self._counts(frame.pts):
            for listener in self._listeners:
                listener.sound(index, frame)
