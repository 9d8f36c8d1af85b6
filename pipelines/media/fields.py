"""What pictures that are marked as interlaced are, by looking at some: the mark alone is often wrong.

The measure is libavfilter's ``idet``: whether lines next to each other fit better within a picture or across two, and
whether a field is that of the picture before again.
"""

from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from typing import Literal

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from pipelines.media.info import VideoInfo
from pipelines.media.packet_index import evenly_spaced
from pipelines.media.source import Source, open_input, shown_at
from pipelines.media.video_filters import PictureFilter
from pipelines.media.video_plan import nominal_rate

Scan = Literal["progressive", "interlaced", "unmarked", "telecined"]

_PLACES = (0.1, 0.5, 0.85)  # of the film
_PICTURES = 60  # at each place: twelve turns of the five pictures that telecine makes of four
_DECIDED = 20  # fewer tell nothing: a still shows no fields
_COMBED = 0.03  # of the decided: fewer are scene cuts and mistakes
_REPEATED = 0.25  # telecine repeats a field in two of five pictures
_TELECINE_RATES = (29, 31)


def look(source: Source, video: VideoInfo, duration_s: float | None) -> Scan | None:
    """What the pictures are, or ``None`` where nothing moves enough to tell.

    ``unmarked``: interlaced, though no picture says so of itself. A film that isn't the same everywhere is interlaced:
    to undo telecine would harm what isn't.
    """
    found: set[Scan] = set()
    with open_input(source) as container:
        stream = container.streams[video.index]
        assert isinstance(stream, VideoStream)
        stream.codec_context.thread_type = "AUTO"
        for place in _PLACES if duration_s else (0.0,):
            scan = _scan(_pictures(container, stream, place * (duration_s or 0.0)), video)
            found |= {scan} if scan else set()
    if len(found) > 1:
        return "unmarked" if "unmarked" in found else "interlaced"
    return next(iter(found), None)


def _pictures(container: InputContainer, stream: VideoStream, after_s: float) -> Iterator[VideoFrame]:
    """Some pictures from a time on, as far as they decode."""
    try:
        if after_s:
            start = stream.start_time or 0
            container.seek(start + int(after_s / (stream.time_base or Fraction(1, 1000))), stream=stream)
        for frame in islice(container.decode(stream), _PICTURES):
            frame.pts = shown_at(frame)
            if frame.pts is not None:
                yield frame
    except av.error.FFmpegError:  # whoever encodes it tells of the damage
        return


def _scan(frames: Iterator[VideoFrame], video: VideoInfo) -> Scan | None:
    times: list[int] = []
    fields: list[str] = []
    repeated: list[str] = []
    marked = False
    filter_ = PictureFilter(lambda _: (("idet", ""),))
    for frame in frames:
        times.append(frame.pts or 0)
        marked = marked or frame.interlaced_frame
        for looked_at in filter_.run(frame):
            fields.append(looked_at.metadata.get("lavfi.idet.single.current_frame", ""))
            repeated.append(looked_at.metadata.get("lavfi.idet.repeated.current_frame", ""))
    combed = fields.count("tff") + fields.count("bff")
    decided = combed + fields.count("progressive")
    if decided < _DECIDED:
        return None
    if combed < _COMBED * decided:
        return "progressive"
    twice = {side: repeated.count(side) for side in ("top", "bottom")}
    low, high = _TELECINE_RATES
    if (
        sum(twice.values()) >= _REPEATED * len(repeated)
        and all(twice.values())
        and low <= nominal_rate(video) <= high
        and evenly_spaced(sorted(times))
    ):
        return "telecined"
    return "interlaced" if marked else "unmarked"
