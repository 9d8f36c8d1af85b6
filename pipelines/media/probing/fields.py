"""What pictures that are marked as interlaced are, by looking at some: the mark alone is often wrong.

The measure is libavfilter's ``idet``: whether lines next to each other fit better within a picture or across two, and
whether a field is that of the picture before again.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from pipelines.media.demuxing import packets_of
from pipelines.media.info import VideoInfo
from pipelines.media.packet_index import evenly_spaced
from pipelines.media.probing.probe_result import FieldCounts, Scan
from pipelines.media.source import Source, open_input, shown_at
from pipelines.media.video_filters import PictureFilter
from pipelines.media.video_plan import nominal_rate

PLACES = (0.1, 0.5, 0.85)  # of the film
PICTURES = 60  # at each place: twelve turns of the five pictures that telecine makes of four
_DECIDED = 20  # fewer tell nothing: a still shows no fields
_COMBED = 0.03  # of the decided: fewer are scene cuts and mistakes
_ONE_ORDER = 0.5  # of the decided, where nothing says that there are fields: sharp edges look combed, now so, now so
_REPEATED = 0.25  # telecine repeats a field in two of five pictures
_TELECINE_RATES = (29, 31)


def look(source: Source, video: VideoInfo, duration_s: float | None) -> Scan | None:
    """What the pictures are, or ``None`` where nothing moves enough to tell.

    ``unmarked``: interlaced, though no picture says so of itself. A film that isn't the same everywhere is interlaced:
    to undo telecine would harm what isn't.
    """
    scans: list[Scan | None] = []
    with open_input(source) as container:
        stream = container.streams[video.index]
        assert isinstance(stream, VideoStream)
        stream.codec_context.thread_type = "AUTO"
        for place in PLACES if duration_s else (0.0,):
            fields = FieldMeter(video)
            for frame in pictures_after(container, stream, place * (duration_s or 0.0), PICTURES):
                if frame.pts is not None:
                    fields.take(frame)
            scans.append(fields.scan)
    return agreed(scans)


def agreed(scans: Iterable[Scan | None]) -> Scan | None:
    """What a film is whose places look so."""
    found = {scan for scan in scans if scan}
    if len(found) > 1:
        return "unmarked" if "unmarked" in found else "interlaced"
    return next(iter(found), None)


def pictures_after(container: InputContainer, stream: VideoStream, after_s: float, count: int) -> Iterator[VideoFrame]:
    """Up to ``count`` pictures from a time on; ends where nothing can be read, or as many packets don't decode."""
    errors = 0
    try:
        if after_s:
            start = stream.start_time or 0
            container.seek(start + int(after_s / (stream.time_base or Fraction(1, 1000))), stream=stream)
        for packet in packets_of(container, stream):
            try:
                frames = packet.decode()
            except av.error.FFmpegError:  # whoever encodes it tells of the damage
                errors += 1
                if errors == count:
                    return
                continue
            for frame in frames:
                if isinstance(frame, VideoFrame):
                    frame.pts = shown_at(frame)
                    yield frame
                    count -= 1
                    if not count:
                        return
    except av.error.FFmpegError:
        return


class FieldMeter:
    """Looks at pictures that follow each other."""

    def __init__(self, video: VideoInfo) -> None:
        self._video = video
        self._filter = PictureFilter(lambda _: (("idet", ""),))
        self._times: list[int] = []
        self._fields: list[str] = []
        self._repeated: list[str] = []
        self._marked = 0

    def take(self, frame: VideoFrame) -> None:
        self._times.append(frame.pts or 0)
        self._marked += frame.interlaced_frame
        for looked_at in self._filter.run(frame):
            self._fields.append(looked_at.metadata.get("lavfi.idet.single.current_frame", ""))
            self._repeated.append(looked_at.metadata.get("lavfi.idet.repeated.current_frame", ""))

    @property
    def counts(self) -> FieldCounts:
        progressive, top, bottom = (self._fields.count(kind) for kind in ("progressive", "tff", "bff"))
        return FieldCounts(
            progressive=progressive,
            top_first=top,
            bottom_first=bottom,
            undecided=len(self._fields) - progressive - top - bottom,
            repeated=self._repeated.count("top") + self._repeated.count("bottom"),
            marked=self._marked,
        )

    @property
    def scan(self) -> Scan | None:
        counts = self.counts
        combed = counts.top_first + counts.bottom_first
        decided = combed + counts.progressive
        if decided < _DECIDED:
            return None
        if combed < _COMBED * decided:
            return "progressive"
        in_order = max(counts.top_first, counts.bottom_first)
        if not (self._video.interlaced or counts.marked) and in_order < _ONE_ORDER * decided:
            return "progressive"
        low, high = _TELECINE_RATES
        if (
            counts.repeated >= _REPEATED * len(self._repeated)
            and {"top", "bottom"} <= set(self._repeated)
            and low <= nominal_rate(self._video) <= high
            and evenly_spaced(sorted(self._times))
        ):
            return "telecined"
        return "interlaced" if counts.marked else "unmarked"
