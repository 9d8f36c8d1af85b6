"""What samples of a picture show when they are decoded: its fields, its black bars, its dynamic range.

A film is looked at in fifteen places, in three of them over sixty pictures; a short one whole. However long it is, no
more than some two hundred pictures are looked at, and no more than 600 are decoded beside them: a seek goes to a
keyframe, and in one long group of pictures the places follow each other.
"""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from av.container import InputContainer
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from pipelines.media import colour
from pipelines.media.errors import MediaError
from pipelines.media.info import ContentLight, MasteringDisplay, MediaInfo, VideoInfo
from pipelines.media.limits import check_picture
from pipelines.media.output_streams import set_threads
from pipelines.media.probing.bars import BarsMeter
from pipelines.media.probing.fields import PICTURES, PLACES, FieldMeter, agreed, pictures_after
from pipelines.media.probing.probe_result import FieldCounts, HdrFindings, PictureFindings
from pipelines.media.probing.stream_info import hdr_kind
from pipelines.media.progress import OnProgress, Progress
from pipelines.media.side_data import content_light_of, mastering_display_of, side_data_of
from pipelines.media.source import Source, name_of, open_input
from pipelines.media.video_plan import nominal_rate

_WHOLE = 300  # pictures: a film that has no more is looked at whole
_MOST_PASSED = 600  # pictures that were seen before, where a seek goes back behind them
_GLANCES = 12
_GLANCE = 2  # pictures
_BARS_EVERY = 12  # pictures of a longer look
_DYNAMIC = {Type.DOVI_RPU_BUFFER, Type.DOVI_METADATA}


@dataclass(frozen=True)
class _Look:
    """From when on, in seconds from the first picture, and over how many pictures.

    Bars are looked for in each, or in one of so many.
    """

    after_s: float
    pictures: int
    bars_every: int = 1


_ALL = _Look(0.0, _WHOLE + 1, bars_every=3)


def look_at_picture(source: Source, info: MediaInfo, threads: int, on_progress: OnProgress) -> PictureFindings:
    """Decode samples of the picture of ``source``, which has one, whose headers tell ``info``.

    Raises:
        SourceError: see ``open_input``.
    """
    started_s = time.monotonic()
    assert info.video is not None
    sample = _Sample(info.video, info.start_s)
    warnings: list[str] = []
    try:
        check_picture(info.video)
    except MediaError as error:
        warnings.append(error.message)
    else:
        with open_input(source) as container:
            _look(container, sample, _looks(info, info.video), threads, on_progress)
        if not sample.pictures:  # it can't be sought in
            with open_input(source) as container:
                _look(container, sample, [_ALL], threads, on_progress)
        if not sample.pictures:
            warnings.append(f"No picture of {name_of(source)} decodes.")
    on_progress(Progress(fraction=1.0, frames=sample.pictures, position_s=info.duration_s or 0.0))
    return sample.findings(tuple(warnings), time.monotonic() - started_s)


def _looks(info: MediaInfo, video: VideoInfo) -> list[_Look]:
    """Rising in time."""
    length_s = video.duration_s or info.duration_s
    if length_s is None or (video.frames or length_s * nominal_rate(video)) <= _WHOLE:
        return [_ALL]
    glances = [_Look((number + 0.5) / _GLANCES * length_s, _GLANCE) for number in range(_GLANCES)]
    looks = [_Look(share * length_s, PICTURES, _BARS_EVERY) for share in PLACES]
    return sorted([*glances, *looks], key=lambda look: look.after_s)


def _look(
    container: InputContainer, sample: "_Sample", looks: list[_Look], threads: int, on_progress: OnProgress
) -> None:
    stream = container.streams[sample.video.index]
    assert isinstance(stream, VideoStream)
    set_threads(stream, threads)
    for number, look in enumerate(looks):
        sample.take(pictures_after(container, stream, look.after_s, look.pictures + sample.passable), look)
        on_progress(Progress(fraction=number / len(looks), frames=sample.pictures, position_s=look.after_s))


class _Sample:
    """What was seen so far."""

    def __init__(self, video: VideoInfo, start_s: float) -> None:
        self.video = video
        self.pictures = 0
        self.passable = _MOST_PASSED
        self._start_s = start_s
        self._sampled_at_s: list[float] = []
        self._last_pts: int | None = None
        self._fields: list[FieldMeter] = []
        self._bars = BarsMeter(video)
        self._kinds: Counter[Type] = Counter()
        self._transfer: str | None = None
        self._primaries: str | None = None
        self._mastering: MasteringDisplay | None = None
        self._light: ContentLight | None = None

    def take(self, frames: Iterator[VideoFrame], look: _Look) -> None:
        """Look at pictures that follow each other, and at none that was seen before."""
        fields = FieldMeter(self.video)
        seen = 0
        for frame in frames:
            if frame.pts is None:
                frame.pts = self.pictures  # of a raw stream
            elif self._last_pts is not None and frame.pts <= self._last_pts:
                self.passable = max(0, self.passable - 1)
                continue
            if seen == 0:
                self._sampled_at_s.append(self._seconds(frame))
                self._fields.append(fields)
            self._last_pts = frame.pts
            fields.take(frame)
            if seen % look.bars_every == 0:
                self._bars.take(frame)
            self._note_side_data(frame)
            self.pictures += 1
            seen += 1
            if seen == look.pictures:
                return

    def _seconds(self, frame: VideoFrame) -> float:
        return round(max(0.0, float((frame.pts or 0) * (frame.time_base or 0)) - self._start_s), 3)

    def _note_side_data(self, frame: VideoFrame) -> None:
        self._kinds.update(side_data_of(frame).keys())
        self._transfer = colour.TRANSFERS.get(frame.color_trc) or self._transfer
        self._primaries = colour.PRIMARIES.get(frame.color_primaries) or self._primaries
        self._mastering = self._mastering or mastering_display_of(frame)
        self._light = self._light or content_light_of(frame)

    def findings(self, warnings: tuple[str, ...], elapsed_s: float) -> PictureFindings:
        counts = [fields.counts for fields in self._fields]
        return PictureFindings(
            index=self.video.index,
            pictures=self.pictures,
            sampled_at_s=tuple(self._sampled_at_s),
            whole=len(self._sampled_at_s) == 1 and self.pictures <= _WHOLE,
            scan=agreed(fields.scan for fields in self._fields),
            fields=FieldCounts(
                **{name: sum(getattr(each, name) for each in counts) for name in FieldCounts.model_fields}
            ),
            box=self._bars.box(),
            hdr=self._hdr() if self.pictures else None,
            closed_captions=Type.A53_CC in self._kinds or self.video.closed_captions,
            film_grain=Type.FILM_GRAIN_PARAMS in self._kinds or self.video.film_grain,
            warnings=warnings,
            elapsed_s=round(elapsed_s, 3),
        )

    def _hdr(self) -> HdrFindings:
        transfer = self._transfer or self.video.color_transfer
        plus = self._kinds[Type.DYNAMIC_HDR_PLUS]
        vision = max(self._kinds[kind] for kind in _DYNAMIC)
        mastering = self._mastering or self.video.mastering_display
        kind = hdr_kind(
            transfer, mastered=mastering is not None, dolby_vision=self.video.dolby_vision is not None or vision > 0
        )
        return HdrFindings(
            kind="hdr10_plus" if plus and kind in {"hdr10", "pq"} else kind,
            color_transfer=transfer,
            color_primaries=self._primaries or self.video.color_primaries,
            hdr10_plus_frames=plus,
            dolby_vision_frames=vision,
            mastering_display=mastering,
            content_light=self._light or self.video.content_light,
        )
