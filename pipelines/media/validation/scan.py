"""Read all packets of a source and note when each is shown: none is decoded."""

from array import array
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from pipelines.media.demuxing import PacketTable, packets_of, time_of
from pipelines.media.libav_log import Message, captured_messages
from pipelines.media.progress import OnProgress, ProgressMeter
from pipelines.media.source import Source, open_input
from pipelines.media.timing import start_of
from pipelines.media.validation.bitstream import Finder, zeros_finder


@dataclass(kw_only=True)
class ScannedStream(PacketTable):
    """The packets of a stream, and what its header says. ``length``: in the time base. ``attached``: a cover.

    ``codec`` is ``None`` where there is no decoder, ``pixels`` are those of a picture. ``zeroed`` packets have zeros
    where their codec has none, which ``finder`` looks for.
    """

    index: int
    kind: str
    codec: str | None
    time_base: Fraction
    start: Fraction
    length: int | None
    attached: bool
    pixels: int
    finder: Finder | None
    corrupt: "array[int]" = field(default_factory=lambda: array("b"))
    zeroed: "array[int]" = field(default_factory=lambda: array("b"))

    def note(self, packet: "Packet[Any]") -> None:
        super().note(packet)
        self.zeroed.append(self.finder is not None and self.finder(bytes(packet)) is not None)
        self.corrupt.append(packet.is_corrupt)

    def seconds(self, ticks: int) -> float:
        """From the container's start."""
        return float(ticks * self.time_base - self.start)


@dataclass(frozen=True)
class Scan:
    """``failed``: why it can't be read to its end. ``messages``: what the demuxer said, and when.

    ``from_start`` and ``to_end``: the first packets were read, and the last ones. ``unlisted``: there are packets of a
    stream that wasn't there at the beginning.
    """

    container: str
    streams: tuple[ScannedStream, ...]
    messages: tuple[tuple[float | None, Message], ...]
    failed: str | None
    duration_s: float | None
    index_end_bytes: int
    from_start: bool = True
    to_end: bool = True
    unlisted: bool = False

    @property
    def whole(self) -> bool:
        """All packets were read."""
        return self.from_start and self.to_end


def scan(source: Source, on_progress: OnProgress, *, limit_bytes: int | None = None) -> Scan:
    """Read every packet of ``source``; or as many as have ``limit_bytes``.

    Raises:
        SourceError: see ``open_input``.
    """
    with captured_messages() as messages, open_input(source) as container:
        return _read(container, messages, on_progress, limit_bytes)


def scan_end(source: Source, on_progress: OnProgress, length_s: float) -> Scan | None:
    """Read the packets of the last seconds of ``source``; ``None`` where there is no way to them but through all.

    A seek may land on any packet: the first one needn't be a keyframe.

    Raises:
        SourceError: see ``open_input``.
    """
    with captured_messages() as messages, open_input(source) as container:
        if not container.duration:
            return None
        try:
            container.seek((container.start_time or 0) + container.duration - int(length_s * av.time_base))
        except av.error.FFmpegError:
            return None
        del messages[:]  # those of opening were heard before, those of seeking tell nothing of the film
        return _read(container, messages, on_progress, None, from_start=False)


def _read(
    container: InputContainer,
    messages: list[Message],
    on_progress: OnProgress,
    limit_bytes: int | None,
    *,
    from_start: bool = True,
) -> Scan:
    """Read on from where ``container`` stands."""
    failed, last_s, size_bytes, to_end = None, None, 0, True
    unlisted: list[bool] = []
    said: list[tuple[float | None, Message]] = [(None, Message(*each)) for each in messages]
    del messages[:]
    streams = [_timeline(stream, start_of(container)) for stream in container.streams]
    index_end_bytes = max((_index_end(stream) for stream in container.streams), default=0)
    duration_s = container.duration / av.time_base if container.duration else None
    meter = ProgressMeter(on_progress, duration_s)
    try:
        for packet in packets_of(container, on_unlisted=lambda: unlisted.append(True)):
            if not packet.size:
                continue
            if messages:
                said += [(last_s, Message(*each)) for each in messages]
                del messages[:]
            timeline = streams[packet.stream_index]
            timeline.note(packet)
            size_bytes += packet.size
            if limit_bytes is not None and size_bytes > limit_bytes:
                to_end = False
                break
            time = time_of(packet)
            if time is not None:
                last_s = timeline.seconds(time)
                meter.update(last_s, 0)
    except av.error.FFmpegError as error:
        failed = error.strerror or str(error)
    said += [(last_s, Message(*each)) for each in messages]
    return Scan(
        container=container.format.name,
        streams=tuple(streams),
        messages=tuple(said),
        failed=failed,
        duration_s=duration_s,
        index_end_bytes=index_end_bytes,
        from_start=from_start,
        to_end=to_end,
        unlisted=bool(unlisted),
    )


def _timeline(stream: Stream, start: Fraction) -> ScannedStream:
    time_base = stream.time_base or Fraction(1, 1000)
    context = stream.codec_context
    return ScannedStream(
        index=stream.index,
        kind=stream.type,
        codec=None if context is None else str(context.codec.canonical_name),
        time_base=time_base,
        start=start,
        length=stream.duration or None,
        attached=bool(stream.disposition & Disposition.attached_pic),
        pixels=_pixels(stream),
        finder=None if context is None else zeros_finder(str(context.codec.canonical_name), context.extradata or b""),
    )


def _pixels(stream: Stream) -> int:
    if not isinstance(stream, VideoStream) or stream.codec_context is None:
        return 0
    return stream.codec_context.width * stream.codec_context.height


def _index_end(stream: Stream) -> int:
    entries = stream.index_entries
    if not len(entries):
        return 0
    last = entries[len(entries) - 1]
    return int(last.pos + last.size)
