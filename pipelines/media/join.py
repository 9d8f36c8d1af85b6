"""Put chunks, sound tracks and what is copied from the source into one file, and prove that all of it arrived.

Every chunk and every track was decoded already. What is left to prove: that the chunks follow each other without a gap,
that one decoder takes them all, and that the file holds as many packets as were written, in order, up to its end.
"""

import hashlib
import heapq
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from operator import itemgetter
from pathlib import Path

from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from pipelines.media.copy_track import CopyTrack
from pipelines.media.damage import concealed, first_times
from pipelines.media.demuxing import packets_of, to_end
from pipelines.media.errors import OutputInvalidError
from pipelines.media.info import VideoInfo
from pipelines.media.mux import (
    Writer,
    add_cover_attachment,
    copy_tags,
    index_in_file,
    nothing_of,
    open_output,
    set_head,
    write_errors,
)
from pipelines.media.output_streams import add_picture, add_stream, clock_of, track_of
from pipelines.media.packet_feeds import TimedPacket, picture_feed, sound_feed, timed, until_end
from pipelines.media.pieces import check_borders, check_files, missing_frames, seams_of
from pipelines.media.plan import StreamPlan, TranscodePlan
from pipelines.media.progress import OnProgress, ProgressMeter
from pipelines.media.rate_bound import above_bound
from pipelines.media.results import (
    ChunkResult,
    EncodedChunk,
    EncodedSound,
    Expected,
    ExpectedStream,
    SoundResult,
    TranscodeResult,
)
from pipelines.media.source import Source, name_of, open_input
from pipelines.media.tracks import Clock, Track
from pipelines.media.verify import TakenOver, verify_packets
from pipelines.media.video_plan import nominal_rate

_VERIFY_SHARE = 0.3
_SOUND_FRAME = 2048  # samples: the longest packet of any codec here, HE-AAC's
_ROUNDED_S = 0.002  # begin and length in Matroska, whose clock has milliseconds


def join(
    source: Source,
    target: Path,
    plan: TranscodePlan,
    chunks: Sequence[EncodedChunk],
    sounds: Sequence[EncodedSound],
    on_progress: OnProgress,
) -> TranscodeResult:
    """Write ``target`` from pieces and source. Copied sound is decoded, and all that is copied if damage is to end it.

    Raises:
        OutputInvalidError: the pieces don't make one film, one has changed, or the file isn't what was written.
        SourceError: what is copied can't be read, or it's damaged and the plan is to fail then.
        OutOfSpaceError, EncodeError: see ``mux``.
    """
    started_s = time.monotonic()
    chunks = sorted(chunks, key=lambda chunk: chunk.result.number)
    check_borders([chunk.result for chunk in chunks], plan)
    check_files([*chunks, *sounds])
    meter = ProgressMeter(on_progress, plan.duration_s, share=1 - _VERIFY_SHARE)
    with ExitStack() as opened, open_output(target, plan) as output:
        container = opened.enter_context(open_input(source))
        set_head(output, plan)
        joining = _Joining(plan, container, output, clock_of(container, plan), opened)
        with write_errors():
            for stream_plan in plan.kept:
                joining.add(source, stream_plan, chunks, sounds)
            output.start_encoding()
        joining.check_extradata(chunks)
        joining.run(meter, name_of(source))
    joined_s = time.monotonic() - started_s
    expected = Expected(streams=tuple(joining.expected()))
    taken_over = verify_packets(target, expected, on_progress, 1 - _VERIFY_SHARE, _VERIFY_SHARE, plan.damage)
    meter.finish(plan.duration_s or 0.0, 0)
    verified_s = time.monotonic() - started_s - joined_s
    return _result(target, plan, chunks, sounds, joining, taken_over, expected, joined_s, verified_s)


class _Joining:
    """The output's streams, and what feeds each."""

    def __init__(
        self, plan: TranscodePlan, container: InputContainer, output: OutputContainer, clock: Clock, opened: ExitStack
    ) -> None:
        self._plan = plan
        self._container = container
        self._output = output
        self._clock = clock
        self._opened = opened
        self._tracks: list[Track | None] = []
        self._writers: list[tuple[StreamPlan, Writer]] = []
        self._feeds: list[Iterator[TimedPacket]] = []
        self._copied: dict[int, int] = {}  # source stream → track
        assert plan.video is not None
        self._picture_index = plan.video.source_index
        self._encoder: VideoStream | None = None
        self._frames: int | None = None

    def add(
        self,
        source: Source,
        stream_plan: StreamPlan,
        chunks: Sequence[EncodedChunk],
        sounds: Sequence[EncodedSound],
    ) -> None:
        original = self._container.streams[stream_plan.source_index]
        if stream_plan.cover and self._plan.container == "mkv":
            add_cover_attachment(source, self._output, stream_plan.source_index)
        elif stream_plan.video is not None:
            assert isinstance(original, VideoStream)
            # Opened as for a chunk, and never fed: the muxer takes from it what it would take from a serial encode.
            self._encoder = add_picture(self._output, original, stream_plan.video, threads=1)
            copy_tags(original.metadata, self._encoder.metadata)
            self._encoder.disposition = original.disposition
            self._frames = sum(chunk.result.frames for chunk in chunks)
            self._feeds.append(picture_feed(chunks, len(self._tracks), self._encoder.codec_context.time_base))
            self._keep(stream_plan, Writer(self._output, self._encoder), None)
        elif stream_plan.audio is not None:
            sound = next(each for each in sounds if each.result.source_index == stream_plan.source_index)
            if not sound.result.packets:
                return
            encoded = self._opened.enter_context(open_input(sound.path))
            piece = encoded.streams[0]
            stream = self._output.add_stream_from_template(piece, opaque=True)
            copy_tags(original.metadata, stream.metadata)
            stream.disposition = original.disposition
            self._feeds.append(sound_feed(encoded, len(self._tracks), sound.result))
            writer = Writer(self._output, stream)
            self._keep(stream_plan, writer, CopyTrack(piece, writer, Clock(Fraction(0))))
        else:
            stream = add_stream(self._output, original, self._plan, stream_plan)
            if original.type != "attachment":
                writer = Writer(self._output, stream)
                self._copied[stream_plan.source_index] = len(self._tracks)
                self._keep(stream_plan, writer, track_of(original, writer, self._plan, stream_plan, self._clock))

    def _keep(self, stream_plan: StreamPlan, writer: Writer, track: Track | None) -> None:
        self._tracks.append(track)
        self._writers.append((stream_plan, writer))

    def check_extradata(self, chunks: Sequence[EncodedChunk]) -> None:
        assert self._encoder is not None
        ours = hashlib.sha256(self._encoder.codec_context.extradata or b"").hexdigest()
        if ours != chunks[0].result.extradata:
            raise OutputInvalidError("The chunks were encoded by another build of the encoder.")

    def run(self, meter: ProgressMeter, name: str) -> None:
        """Write all packets in the order they are decoded in; ``name`` is the source's."""
        if self._copied:
            streams = [self._container.streams[index] for index in {self._picture_index, *self._copied}]
            packets = to_end(packets_of(self._container, *streams), name, self._clock.end, {self._picture_index})
            wanted = until_end(packets, self._picture_index, self._clock)
            self._feeds.append(timed(wanted, self._copied, self._clock.zero))
        for decoded_s, number, packet in heapq.merge(*self._feeds, key=itemgetter(0)):
            track = self._tracks[number]
            if track is None:
                with write_errors():
                    self._writers[number][1].write(packet)
            elif not track.done:
                track.take(packet)
            meter.update(float(decoded_s), 0)
        for track in self._tracks:
            if track is not None:
                track.finish()

    @property
    def decode_errors(self) -> int:
        """Of what was decoded here; chunks and sound tracks have told theirs."""
        return sum(track.decode_errors for track in self._tracks if track is not None)

    @property
    def damaged_at_s(self) -> tuple[float, ...]:
        """Where what was copied is damaged so that it was left out."""
        copies = (track for track in self._tracks if isinstance(track, CopyTrack))
        return first_times(*(track.damage.times_s for track in copies if track.damage is not None))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What of the source is lost without a decode error, and what of the plan isn't kept."""
        empty = [
            nothing_of(each.source_index)
            for each, writer in self._writers
            if each.kind == "audio" and each.action == "copy" and not writer.packets
        ]
        picture = next(writer for each, writer in self._writers if each.video is not None)
        bound = above_bound(self._plan, picture)
        return (*empty, *bound, *(warning for track in self._tracks if track is not None for warning in track.warnings))

    def expected(self) -> Iterator[ExpectedStream]:
        writers = [writer for _, writer in self._writers]
        for stream_plan, writer in self._writers:
            if not writer.packets or stream_plan.cover:
                continue
            if stream_plan.kind == "video" or stream_plan.kind == "audio":
                yield ExpectedStream(
                    index=index_in_file(writer, writers, self._plan.container),
                    kind=stream_plan.kind,
                    copied=stream_plan.action == "copy",
                    packets=writer.packets,
                    frames=self._frames if stream_plan.video is not None else None,
                    end_s=writer.end_s,
                    tolerance_s=_ROUNDED_S + max(writer.widest_s, self._frame_s(stream_plan, writer.stream)),
                )

    def _frame_s(self, stream_plan: StreamPlan, stream: Stream) -> float:
        """How long a frame is: MP4 tells when a stream ends only by when its last packets are decoded."""
        if isinstance(stream, AudioStream):
            return _SOUND_FRAME / stream.sample_rate
        original = self._plan.source.streams[stream_plan.source_index]
        assert isinstance(original, VideoInfo)
        return float(1 / nominal_rate(original))


def _result(
    target: Path,
    plan: TranscodePlan,
    chunks: Sequence[EncodedChunk],
    sounds: Sequence[EncodedSound],
    joining: _Joining,
    taken_over: TakenOver,
    expected: Expected,
    joined_s: float,
    verified_s: float,
) -> TranscodeResult:
    assert plan.video is not None
    picture = plan.video.video
    assert picture is not None
    pictures = [chunk.result for chunk in chunks]
    results: list[ChunkResult | SoundResult] = [*pictures, *(sound.result for sound in sounds)]
    errors = sum(result.decode_errors for result in results) + joining.decode_errors
    warnings = [*plan.warnings, *(w for sound in sounds for w in sound.result.warnings), *joining.warnings]
    missing = missing_frames(pictures, plan)
    if missing:
        warnings.append(f"Damage took {'1 frame' if missing == 1 else f'{missing} frames'} of the picture.")
    places = [stream.source_index for stream in plan.kept]
    in_order = sorted(sounds, key=lambda sound: places.index(sound.result.source_index))
    damaged_at_s = first_times(*(result.damaged_at_s for result in results), joining.damaged_at_s)
    if errors:
        warnings.append(concealed(errors, damaged_at_s))
    warnings += taken_over.warnings
    return TranscodeResult(
        method="chunk",
        reason=plan.reason,
        streams=plan.decisions,
        chunks=len(chunks),
        seams=seams_of(pictures),
        name=target.name,
        container=plan.container,
        size_bytes=target.stat().st_size,
        duration_s=max(stream.end_s for stream in expected.streams),
        width=picture.width,
        height=picture.height,
        video_codec=plan.video.codec,
        audio_codecs=tuple(str(each.codec) for each in plan.kept if each.kind == "audio"),
        video_frames=sum(result.frames for result in pictures),
        missing_frames=missing,
        warnings=tuple(warnings),
        loudness=tuple(sound.result.loudness for sound in in_order if sound.result.loudness is not None),
        decode_errors=errors + taken_over.errors,
        damaged_at_s=first_times(damaged_at_s, taken_over.damaged_at_s, plan.lost_at_s),
        transcode_s=joined_s + sum(result.transcode_s for result in results),
        verify_s=verified_s + sum(result.verify_s for result in results),
        unit_s=tuple(round(result.transcode_s + result.verify_s, 3) for result in results),
        expected=expected,
    )
