"""One of the two films, open: its frames by time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from pipelines.media.comparison.compare_spec import Span
from pipelines.media.errors import SourceUnreadableError
from pipelines.media.frames import FrameReader
from pipelines.media.info import VideoInfo
from pipelines.media.source import Source, name_of, open_input
from pipelines.media.ticks import seconds
from pipelines.media.timing import start_of


@dataclass(frozen=True)
class Film:
    """Times in seconds count from the start of the file."""

    name: str
    video: VideoInfo
    reader: FrameReader
    time_base: Fraction
    start: Fraction

    @cached_property
    def start_s(self) -> float:
        return float(self.start)

    def time_s(self, pts: int) -> float:
        return seconds(pts, self.time_base) - self.start_s

    def pts_at(self, time_s: float) -> int:
        return round((Fraction(time_s) + self.start) / self.time_base)

    def frames(self, span: Span) -> Iterator[VideoFrame]:
        """The frames of ``span`` that decode, in order of showing. Without a beginning, of a film just opened.

        Raises:
            SourceUnreadableError: nothing decodes.
        """
        frame = self._first(span.begin_pts)
        while frame is not None and (span.last_pts is None or shown_pts(frame) <= span.last_pts):
            if span.begin_pts is None or shown_pts(frame) >= span.begin_pts:
                yield frame
            frame = self.reader.following()

    def _first(self, pts: int | None) -> VideoFrame | None:
        try:
            return self.reader.first() if pts is None else self.reader.at(pts)
        except SourceUnreadableError as error:
            raise SourceUnreadableError(f"No frame of {self.name} decodes; it is damaged.") from error


@contextmanager
def open_film(
    source: Source, video: VideoInfo, threads: int | None = None, keyframes: Sequence[int | None] = ()
) -> Iterator[Film]:
    """``keyframes``: those from which frames may be decoded, as far as they are known, rising."""
    with open_input(source) as container:
        stream = container.streams[video.index]
        assert isinstance(stream, VideoStream)
        reader = FrameReader(container, stream, [pts for pts in keyframes if pts is not None], threads)
        yield Film(name_of(source), video, reader, stream.time_base or Fraction(1, 1000), start_of(container))


def shown_pts(frame: VideoFrame) -> int:
    assert frame.pts is not None  # FrameReader sets it
    return frame.pts
