"""Encode one chunk of a picture into a file of its own, and decode that again to prove it.

A chunk is kept as NUT, which holds every codec of ours with exact times. They count from the output's zero already;
``join`` works out when each packet is decoded.
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from pipelines.media.damage import first_times
from pipelines.media.demuxing import packets_of, to_end
from pipelines.media.encoding import Borders
from pipelines.media.errors import OutputInvalidError, SourceError
from pipelines.media.keyframe_seeking import find_keyframe, from_keyframe
from pipelines.media.mux import Writer, open_file, sha256_of, write_errors
from pipelines.media.output_streams import add_picture, clock_of, picture_track, set_threads
from pipelines.media.plan import Chunk, TranscodePlan
from pipelines.media.progress import OnProgress, ProgressMeter
from pipelines.media.results import ChunkResult
from pipelines.media.source import Source, name_of, open_input
from pipelines.media.tracks import Window
from pipelines.media.video_track import VideoTrack

_MUXER = "nut"
_MUXER_OPTIONS = {"avoid_negative_ts": "disabled"}  # decoding begins before zero where frames are reordered
_VERIFY_SHARE = 0.08  # of the time
_EQUAL_DB = 60.0  # above it nobody sees a difference, and flat pictures give any figure


def encode_chunk(
    source: Source, target: Path, plan: TranscodePlan, chunk: Chunk, on_progress: OnProgress
) -> ChunkResult:
    """Encode ``chunk`` of the plan's picture into ``target`` on one thread, and decode it again.

    A chunk in which nothing decodes has no frames: the rest of the film may be whole, so ``join`` decides.

    Raises:
        SourceUnreadableError: the source can't be read on, or it's damaged and the plan is to fail then.
        OutputInvalidError: what was written isn't what decodes.
        OutOfSpaceError, EncodeError: see ``mux``.
    """
    started_s = time.monotonic()
    track, extradata, time_base = _encode(source, target, plan, chunk, on_progress)
    encoded_s = time.monotonic() - started_s
    read = _read_back(target) if track.times else _ReadBack([], time_base, [], 0)  # NUT without a frame can't be read
    if not _same_times(read.times, read.time_base, track.times, time_base):
        raise OutputInvalidError(f"Of a chunk of {len(track.times)} frames, {len(read.times)} decode in their place.")
    return ChunkResult(
        number=chunk.number,
        frames=track.frames,
        source_frames=track.source_frames,
        planned_frames=chunk.frames,
        source_first_pts=track.first_pts,
        source_beyond_pts=track.beyond_pts,
        first_pts=track.times[0] if track.times else None,
        last_pts=track.times[-1] if track.times else None,
        last_duration=track.last_duration if track.times else None,
        reorder=read.reorder,
        extradata=hashlib.sha256(extradata).hexdigest(),
        size_bytes=target.stat().st_size,
        sha256=sha256_of(target),
        decode_errors=track.decode_errors,
        damaged_at_s=first_times(track.damage.times_s),
        first_psnr_db=_psnr_db(track.edges[0], read.edges[0]) if track.edges else None,
        last_psnr_db=_psnr_db(track.edges[-1], read.edges[-1]) if track.edges else None,
        transcode_s=encoded_s,
        verify_s=time.monotonic() - started_s - encoded_s,
    )


def _encode(
    source: Source, target: Path, plan: TranscodePlan, chunk: Chunk, on_progress: OnProgress
) -> tuple[VideoTrack, bytes, Fraction]:
    """The track that encoded the chunk, and the encoder's extradata and time base."""
    assert plan.video is not None
    encode = plan.video.video
    assert encode is not None
    with ExitStack() as opened:
        container, packets = _entered(source, plan.video.source_index, chunk, opened)
        original = container.streams[plan.video.source_index]
        assert isinstance(original, VideoStream)
        set_threads(original, 1)
        rate = float(encode.frame_rate)
        meter = ProgressMeter(on_progress, chunk.frames / rate, share=1 - _VERIFY_SHARE)
        with open_file(target, _MUXER, _MUXER_OPTIONS) as output:
            with write_errors():
                known = chunk.next_pts is not None and not encode.capped
                borders = Borders(follows=chunk.number > 0, after=chunk.frames if known else None)
                encoder = add_picture(output, original, encode, threads=1, borders=borders)
                output.start_encoding()
            window = Window(chunk.begin_pts, chunk.end_pts)
            clock = clock_of(container, plan)
            # What lies before is seen, and told, by the chunk before; only the first has none.
            counted = Window(chunk.begin_pts if chunk.number else None, chunk.next_pts)
            writer = Writer(output, encoder)
            track = picture_track(original, writer, plan, encode, clock, window, chunk.next_pts, counted)

            def tell() -> None:
                meter.update(track.writer.packets / rate, track.writer.packets)

            _pump(to_end(packets, name_of(source), clock.end, {plan.video.source_index}), track, tell)
            context = encoder.codec_context
            return track, context.extradata or b"", context.time_base


def _entered(
    source: Source, stream_index: int, chunk: Chunk, opened: ExitStack
) -> "tuple[InputContainer, Iterator[Packet[Any]]]":
    """The open source, and the picture's packets from the chunk's keyframe on; none where that isn't there any more."""
    if chunk.key_pts is not None and chunk.seek_pts is not None:
        container = opened.enter_context(open_input(source))
        found = find_keyframe(container, container.streams[stream_index], chunk.key_pts, aim=chunk.seek_pts)
        if found is not None:
            return container, found[1]
    container = opened.enter_context(open_input(source))
    packets = packets_of(container, container.streams[stream_index])
    return container, packets if chunk.key_pts is None else from_keyframe(packets, chunk.key_pts) or iter(())


def _pump(packets: "Iterator[Packet[Any]]", track: VideoTrack, on_packet: Callable[[], None]) -> None:
    """Decode until a frame behind the chunk's end is seen."""
    for packet in packets:
        if packet.size:
            track.take(packet)
            on_packet()
        if track.done:
            break
    track.finish(on_packet)


@dataclass(frozen=True)
class _ReadBack:
    """What a chunk's file holds: when its frames are shown, and the first and the last of them."""

    times: Sequence[int]
    time_base: Fraction
    edges: Sequence[VideoFrame]
    reorder: int


def _read_back(target: Path) -> _ReadBack:
    times: list[int] = []
    coded: list[int] = []
    edges: list[VideoFrame] = []
    try:
        with open_input(target) as container:
            stream = container.streams.video[0]
            set_threads(stream, 1)
            for packet in container.demux(stream):
                if packet.size and packet.pts is not None:
                    coded.append(packet.pts)
                for frame in packet.decode():
                    if not frame.is_corrupt and frame.pts is not None:
                        times.append(frame.pts)
                        edges[1:] = [frame]
            return _ReadBack(times, stream.time_base or Fraction(0), edges, reorder_of(coded))
    except (SourceError, av.error.FFmpegError) as error:
        raise OutputInvalidError(f"A chunk that was encoded can't be read back: {error}.") from error


def _same_times(ours: Sequence[int], our_base: Fraction, theirs: Sequence[int], their_base: Fraction) -> bool:
    our_factor = our_base.numerator * their_base.denominator
    their_factor = their_base.numerator * our_base.denominator
    return [our_factor * ticks for ticks in ours] == [their_factor * ticks for ticks in theirs]


def reorder_of(coded: Sequence[int]) -> int:
    """By how many places packets in order of decoding come before their place in order of showing, at most."""
    places = {pts: place for place, pts in enumerate(sorted(coded))}
    return max((number - places[pts] for number, pts in enumerate(coded)), default=0)


def _psnr_db(reference: VideoFrame, decoded: VideoFrame) -> float:
    """Peak signal-to-noise ratio of the luma: 10·log10(peak² / mean squared error), 60 dB at most."""
    depth = max(component.bits for component in reference.format.components)
    error = float(np.mean((_luma(reference, depth) - _luma(decoded, depth)) ** 2))
    return round(min(_EQUAL_DB, 10 * math.log10((2**depth - 1) ** 2 / error)), 3) if error else _EQUAL_DB


def _luma(frame: VideoFrame, depth: int) -> NDArray[np.float32]:
    plane, sample = frame.planes[0], np.dtype(np.uint8 if depth == 8 else np.uint16)
    lines = np.frombuffer(memoryview(plane), dtype=sample).reshape(plane.height, plane.line_size // sample.itemsize)
    luma: NDArray[np.float32] = lines[:, : plane.width].astype(np.float32)
    return luma
