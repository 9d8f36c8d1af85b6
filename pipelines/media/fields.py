"""What pictures that are marked as interlaced are, by looking at some: the mark alone is often wrong.

The measure is libavfilter's ``idet``: whether lines next to each other fit better within a picture or across two, and
whether a field is that of the picture before again.
"""

from collections.abc import Iterator
from fractions import Fraction
from itertools import islice, pairwise
from typing import Literal

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from pipelines.media.info import VideoInfo
from pipelines.media.source import Source, open_input, shown_at
from pipelines.media.video_filters import PictureFilter
from pipelines.media.video_plan import nominal_rate

Scan = Literal["progressive", "interlaced", "telecined"]

_PLACES = (0.1, 0.5, 0.85)  # of the film
_PICTURES = 60  # at each place: twelve turns of the five pictures that telecine makes of four
_DECIDED = 20  # fewer tell nothing: a still shows no fields
_COMBED = 0.03  # of the decided: fewer are scene cuts and mistakes
_REPEATED = 0.25  # telecine repeats a field in two of five pictures
_TELECINE_RATES = (29, 31)


def look(source: Source, video: VideoInfo, duration_s: float | None) -> Scan | None:
    """What the pictures are, or ``None`` where nothing moves enough to tell.

    A film that is telecined at one place and interlaced at another is interlaced: undoing one would harm the other.
    """
    found: set[Scan] = set()
    with open_input(source) as container:
        stream = container.streams[video.index]
        assert isinstance(stream, VideoStream)
        stream.codec_context.thread_type = "AUTO"
        for place in _PLACES if duration_s else (0.0,):
            scan = _scan(_pictures(container, stream, place * (duration_s or 0.0)), video)
            found |= {scan} if scan else set()
    return next((scan for scan in ("interlaced", "telecined", "progressive") if scan in found), None)


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
    filter_ = PictureFilter(lambda _: (("idet", ""),))
    for frame in frames:
        times.append(frame.pts or 0)
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
        and _even(times)
    ):
        return "telecined"
    return "interlaced"


def _even(times: list[int]) -> bool:
    """Whether pictures follow each other at one rate, but for the rounding of their times."""
    steps = [after - before for before, after in pairwise(sorted(times))]
    return bool(steps) and max(steps) - min(steps) <= 1
