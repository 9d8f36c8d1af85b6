"""The output file: its container, tags, chapters, covers and the errors of writing."""

import errno
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream

from pipelines.media.demuxing import packets_to_end
from pipelines.media.errors import EncodeError, LimitError, OutOfSpaceError
from pipelines.media.plan import TranscodePlan
from pipelines.media.source import Source, name_of, open_input
from pipelines.media.ticks import end_s_of, seconds

MUXERS = {"mp4": "mp4", "webm": "webm", "mkv": "matroska", "mp3": "mp3", "opus": "opus"}
_MUXER_OPTIONS = {
    "mp4": {"movflags": "+faststart"},  # the index first: playback starts before the file has arrived
    "mp3": {"id3v2_version": "3"},  # Windows and older cars don't read 2.4
}
_MOVIE_TICKS, _MAX_MOVIE_TICKS = 1_000, 1_000_000
_FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# Tags that describe the source's file, not its content.
_FILE_TAGS = frozenset(
    {
        "major_brand", "minor_version", "compatible_brands", "encoder", "duration", "handler_name", "vendor_id",
        "alpha_mode", "rotate", "bps", "number_of_frames", "number_of_bytes", "filename", "mimetype",
    }
)  # fmt: skip
_STATISTICS_TAGS = ("_statistics_", "bps-", "duration-", "number_of_")  # Matroska's


@contextmanager
def open_output(target: Path, plan: TranscodePlan) -> Iterator[OutputContainer]:
    """Open the output of a plan; see ``open_file``."""
    with open_file(target, MUXERS[plan.container], _muxer_options(plan)) as output:
        yield output


@contextmanager
def open_file(target: Path, muxer: str, options: Mapping[str, str] | None = None) -> Iterator[OutputContainer]:
    """Open ``target`` for writing and close it whole; after an error it's closed as it is.

    Raises:
        OutOfSpaceError: the disk, the quota or the file size limit is full.
        EncodeError: it can't be written.
    """
    # "file:" keeps libav from reading a protocol into the name.
    with write_errors():
        output = av.open(f"file:{os.fspath(target)}", mode="w", format=muxer, container_options=dict(options or {}))
    try:
        yield output
    except BaseException:
        with suppress(av.error.FFmpegError, OSError, ValueError):  # the error that led here is the one to report
            output.close()
        raise
    with write_errors():
        output.close()


def _muxer_options(plan: TranscodePlan) -> dict[str, str]:
    options = dict(_MUXER_OPTIONS.get(plan.container, {}))
    if plan.container == "mp4":
        options["movie_timescale"] = str(_movie_ticks(plan))
    return options


def _movie_ticks(plan: TranscodePlan) -> int:
    """What the edit lists of MP4 count by, in a second: where each track begins, and how long it is shown.

    A whole number for each tick of the picture, whose late start is exact then; and two for each sample or more: in
    milliseconds a last packet of a few samples would lie behind the end, and players leave it out.
    """
    video, rates = plan.source.video, [audio.sample_rate_hz for audio in plan.source.audio]
    rates += [stream.audio.sample_rate_hz for stream in plan.kept if stream.audio]
    fewest = max([_MOVIE_TICKS, *(2 * rate for rate in rates)])
    ticks = Fraction(video.time_base).denominator if video is not None and video.time_base is not None else 1
    return fewest if ticks > _MAX_MOVIE_TICKS else ticks * -(-fewest // ticks)


@contextmanager
def write_errors() -> Iterator[None]:
    """Translate libav's errors of encoding and writing."""
    try:
        yield
    except MemoryError as error:
        raise LimitError("Encoding needs more memory than allowed; take fewer pixels or another codec.") from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        number = getattr(error, "errno", None)
        if number in _FULL_DISK:
            message = "There is no space left for the output; free some or choose another folder."
            raise OutOfSpaceError(message, errno=number) from error
        # Without the path that libav names: it lies in a folder of ours.
        raise EncodeError(f"The output can't be written: {getattr(error, 'strerror', None) or error}.") from error


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy_tags(tags: Mapping[str, str], target: dict[str, str]) -> None:
    """Add the tags that describe the content to ``target``."""
    for key, value in tags.items():
        lower = key.lower()
        if lower not in _FILE_TAGS and not lower.startswith(_STATISTICS_TAGS):
            target[key] = value


def set_head(output: OutputContainer, plan: TranscodePlan) -> None:
    """Write what belongs to the file and not to a stream: tags and chapters."""
    copy_tags(plan.source.tags, output.metadata)
    _set_chapters(output, plan)


def _set_chapters(output: OutputContainer, plan: TranscodePlan) -> None:
    """Write the source's chapters, cut and shifted to the part that is kept."""
    if not plan.keep_chapters:
        return
    offset_s = plan.start_s or 0.0
    end_s = plan.end_s if plan.end_s is not None else float("inf")
    kept = [c for c in plan.source.chapters if c.end_s > offset_s and c.start_s < end_s]
    output.set_chapters(
        [
            {
                "id": number,
                "start": round((max(chapter.start_s, offset_s) - offset_s) * 1000),
                "end": round((min(chapter.end_s, end_s) - offset_s) * 1000),
                "time_base": Fraction(1, 1000),
                "metadata": {"title": chapter.title} if chapter.title else {},
            }
            for number, chapter in enumerate(kept, start=1)
        ]
    )


def add_cover_attachment(source: Source, output: OutputContainer, index: int) -> None:
    """Matroska keeps a cover as an attached file, which is part of the header.

    Raises:
        SourceUnreadableError: the cover can't be read.
    """
    with open_input(source) as container:
        stream = container.streams[index]
        packet = next((p for p in packets_to_end(container, name_of(source), stream) if p.size), None)
        if packet is not None:
            name, media_type = ("cover.png", "image/png") if stream.name == "png" else ("cover.jpg", "image/jpeg")
            output.add_attachment(name, media_type, bytes(packet))


class Writer:
    """Writes packets of one output stream and remembers how many, how large, from when and until when.

    ``widest_s``: the longest time from decoding one to decoding the next. MP4 keeps that instead of how long a frame is
    shown: by as much its end may be another where frames are reordered.
    """

    def __init__(self, output: OutputContainer, stream: Stream) -> None:
        self._output = output
        self.stream = stream
        self.packets = 0
        self.size_bytes = 0
        self.begin_s: float | None = None
        self.end_s = 0.0
        self.widest_s = 0.0
        self._last_dts: int | None = None

    def write(self, packet: "Packet[Any]") -> None:
        packet.stream = self.stream
        pts, dts, time_base, size, end_s = packet.pts, packet.dts, packet.time_base, packet.size, end_s_of(packet)
        self._output.mux_one(packet)  # which changes its time base
        self.end_s = max(self.end_s, end_s)
        if dts is not None:
            if self._last_dts is not None:
                self.widest_s = max(self.widest_s, seconds(dts - self._last_dts, time_base))
            self._last_dts = dts
        if self.begin_s is None and pts is not None:
            self.begin_s = seconds(pts, time_base)
        self.size_bytes += size
        self.packets += size > 0  # FLAC's encoder ends with one that only completes the header


def index_in_file(writer: Writer, writers: Iterable[Writer], container: str) -> int:
    """Where a stream is found when the file is read: MP4's muxer leaves out streams without a packet."""
    index = writer.stream.index
    if container != "mp4":
        return index
    return index - sum(not other.packets and other.stream.index < index for other in writers)


def nothing_of(source_index: int) -> str:
    """The warning that goes with a track that has no packet in the part that was wanted."""
    return f"Stream {source_index} of the source has nothing in this part."
