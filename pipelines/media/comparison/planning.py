"""Plan a comparison: how the films lie to each other, the form they are measured in, and the pieces."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np

from pipelines.media.comparison.alignment import Timeline, align, timeline_of
from pipelines.media.comparison.canvas import canvas_of
from pipelines.media.comparison.compare_spec import (
    SMALLEST_FOR_VMAF,
    Alignment,
    Canvas,
    CompareSpec,
    ComparisonPlan,
    Piece,
    Span,
)
from pipelines.media.comparison.film import Film, open_film
from pipelines.media.comparison.pairing import pair_up
from pipelines.media.errors import NoVideoStreamError, SourceUnreadableError
from pipelines.media.info import VideoInfo
from pipelines.media.limits import check_picture
from pipelines.media.packet_index import PacketIndex, read_index
from pipelines.media.probe import probe
from pipelines.media.source import Source, name_of

_PIECE_COST_S = 12.0  # what comes with a piece beside its frames takes a quarter of a second
_FEWEST_S = 2.0
_LEAD_PAIRS, _TRAIL_PAIRS = 2, 1  # XPSNR looks up to two frames back, VMAF one back and one ahead
_NEAR = 0.15  # of a piece: its border moves so far to a keyframe of the reference
_MEGAPIXELS_PER_S = {8: 37.0, 10: 24.0, 12: 24.0}
_DECODED_MEGAPIXELS_PER_S = 400.0
_PROCESSES_BYTES = 320 << 20  # both, with what they load
_CANVAS_BYTES_PER_PIXEL = 190  # of both, at 8 bits: libvmaf's pictures, and those on the way
_DECODER_BYTES_PER_PIXEL = 40
_SHAPES_APART = 0.02
_HD_PIXELS = 2560 * 1440


Pair = tuple[int, int]


def plan_comparison(source: Source, reference: Source, spec: CompareSpec, slots: int) -> ComparisonPlan:
    """Look at both films: their headers, their packets, and some of their frames.

    Raises:
        SourceError: see ``probe``; NoVideoStreamError where one has no pictures.
        LimitError: pictures are too large.
    """
    videos = (_video_of(reference), _video_of(source))
    indices = tuple(_index_of(each, video) for each, video in zip((reference, source), videos, strict=True))
    canvas = canvas_of(*videos)
    keyframes = [sorted({entry.pts for entry in index.entries if entry.keyframe}) for index in indices]
    with (
        open_film(reference, videos[0], keyframes=keyframes[0]) as reference_film,
        open_film(source, videos[1], keyframes=keyframes[1]) as distorted_film,
    ):
        films = (reference_film, distorted_film)
        timelines = (timeline_of(reference_film, indices[0]), timeline_of(distorted_film, indices[1]))
        alignment = align(*films, timelines, spec)
    tolerance_s = max(timeline.step_s for timeline in timelines) / 2 + 0.001  # some containers have milliseconds
    counted = all(timeline.anywhere for timeline in timelines)
    pairs = _pairs(timelines, alignment.offset_s, tolerance_s) if counted else None
    pieces: tuple[Piece, ...] = ()
    if alignment.verdict != "different":
        cutter = _Cutter(films, indices, timelines, _cost_s(canvas, videos[1]), slots, spec.piece_s)
        pieces = (cutter.whole(),) if pairs is None else cutter.cut(pairs)
    return ComparisonPlan(
        reference=videos[0],
        distorted=videos[1],
        alignment=alignment,
        canvas=canvas,
        tolerance_s=tolerance_s,
        frame_rate=1 / timelines[0].step_s,
        model=spec.model,
        reference_frames=len(indices[0].times) if timelines[0].anywhere else None,
        distorted_frames=len(indices[1].times) if timelines[1].anywhere else None,
        pieces=pieces,
        memory_bytes=_memory_bytes(canvas, videos),
        warnings=(
            *_form_warnings(videos, canvas, spec),
            *_time_warnings(indices, timelines, pairs),
            *_offset_warnings(alignment, tolerance_s),
        ),
    )


def _video_of(source: Source) -> VideoInfo:
    info = probe(source)
    if info.video is None:
        what = "only a cover" if info.cover is not None else "no pictures"
        raise NoVideoStreamError(f"{name_of(source)} has {what}; compare two videos.")
    check_picture(info.video)
    return info.video


def _index_of(source: Source, video: VideoInfo) -> PacketIndex:
    try:
        return read_index(source, video.index)
    except SourceUnreadableError:  # what comes before the damage is compared
        time_base = Fraction(video.time_base or "1/1000")
        return PacketIndex((), (), time_base, "it is damaged and can't be read to its end", 0.0)


def _pairs(timelines: tuple[Timeline, Timeline], offset_s: float, tolerance_s: float) -> list[Pair]:
    """The numbers of the frames that are compared."""
    reference, distorted = (timeline.times_s for timeline in timelines)
    return list(
        pair_up(
            zip(reference.tolist(), range(len(reference)), strict=True),
            zip((distorted - offset_s).tolist(), range(len(distorted)), strict=True),
            tolerance_s,
        )
    )


class _Cutter:
    def __init__(
        self,
        films: tuple[Film, Film],
        indices: Sequence[PacketIndex],
        timelines: tuple[Timeline, Timeline],
        pair_cost_s: float,
        slots: int,
        piece_s: float | None,
    ) -> None:
        self._films, self._indices, self._timelines = films, indices, timelines
        self._pair_cost_s = pair_cost_s
        self._slots = slots
        self._piece_s = piece_s

    def whole(self) -> Piece:
        """One piece, from the beginnings on: what lies where isn't known before it's decoded."""
        reference, distorted = (
            Span(begin_pts=film.pts_at(float(timeline.times_s[0])))
            for film, timeline in zip(self._films, self._timelines, strict=True)
        )
        frames = max(len(timeline.times_s) for timeline in self._timelines)
        if frames == 1:
            video = self._films[0].video
            frames = video.frames or round((video.duration_s or 60.0) / self._timelines[0].step_s)
        cost_s = round(max(_FEWEST_S, frames * self._pair_cost_s), 2)
        return Piece(number=0, reference=reference, distorted=distorted, kept=reference, pairs=None, cost_s=cost_s)

    def cut(self, pairs: Sequence[Pair]) -> tuple[Piece, ...]:
        """Pieces of about as much work each, as many for each slot; with warm-up, so that none feels its borders."""
        pieces = []
        for number, (begin, end) in enumerate(pairwise(self._borders(pairs))):
            first, last = max(0, begin - _LEAD_PAIRS), min(len(pairs), end + _TRAIL_PAIRS) - 1
            pieces.append(
                Piece(
                    number=number,
                    reference=self._span(0, pairs[first], pairs[last]),
                    distorted=self._span(1, pairs[first], pairs[last]),
                    kept=self._span(0, pairs[begin], pairs[end - 1]),
                    pairs=end - begin,
                    cost_s=round(max(_FEWEST_S, (end - begin) * self._pair_cost_s), 2),
                )
            )
        return tuple(pieces)

    def _span(self, side: int, first: Pair, last: Pair) -> Span:
        index = self._indices[side]
        begin_pts = index.times[first[side]]
        return Span(begin_pts=begin_pts, last_pts=index.times[last[side]], key_pts=index.keyframe_before(begin_pts).pts)

    def _count(self, pairs: int) -> int:
        """How many pieces to make."""
        if self._piece_s is not None:
            return max(1, min(pairs, round(pairs * self._timelines[0].step_s / self._piece_s)))
        cost_s = pairs * self._pair_cost_s
        if cost_s < _FEWEST_S:
            return 1
        return -(-max(self._slots, round(cost_s / _PIECE_COST_S)) // self._slots) * self._slots

    def _borders(self, pairs: Sequence[Pair]) -> list[int]:
        """Numbers of the pairs that pieces begin with, and how many pairs there are."""
        if not pairs:
            return []
        count = self._count(len(pairs))
        each = len(pairs) / count
        keys = {entry.pts for entry in self._indices[0].entries if entry.keyframe}
        numbers = np.array([number for number, (r, _) in enumerate(pairs) if self._indices[0].times[r] in keys] or [0])
        borders = [0]
        for number in range(1, count):
            wanted = number * each
            nearest = int(numbers[np.abs(numbers - wanted).argmin()])
            border = nearest if abs(nearest - wanted) <= each * _NEAR else round(wanted)
            if border > borders[-1]:
                borders.append(border)
        return [*borders, len(pairs)]


def _cost_s(canvas: Canvas, distorted: VideoInfo) -> float:
    """Seconds that a pair takes on one CPU."""
    shown = canvas.width * canvas.height / 1e6
    scaled = distorted.width * distorted.height / 1e6
    return shown / _MEGAPIXELS_PER_S[canvas.depth] + abs(scaled - shown) / _DECODED_MEGAPIXELS_PER_S


def _memory_bytes(canvas: Canvas, videos: tuple[VideoInfo, VideoInfo]) -> int:
    """What a piece takes in both processes, at most."""
    deep = 1 if canvas.depth == 8 else 2
    decoders = sum(video.width * video.height * (2 if (video.bit_depth or 8) > 8 else 1) for video in videos)
    shown = canvas.width * canvas.height * deep
    return _PROCESSES_BYTES + shown * _CANVAS_BYTES_PER_PIXEL + decoders * _DECODER_BYTES_PER_PIXEL


def _form_warnings(videos: tuple[VideoInfo, VideoInfo], canvas: Canvas, spec: CompareSpec) -> list[str]:
    reference, distorted = videos
    found = []
    shapes = [video.display_width / video.display_height for video in videos]
    if abs(shapes[1] / shapes[0] - 1) > _SHAPES_APART:
        found.append(
            f"The pictures differ in shape ({reference.display_width}x{reference.display_height} against "
            f"{distorted.display_width}x{distorted.display_height}): one may be cropped or have bars, which lowers all "
            "scores. Crop both alike."
        )
    if min(canvas.width, canvas.height) < SMALLEST_FOR_VMAF:
        found.append(f"Pictures of {canvas.width}x{canvas.height} pixels are too small for VMAF.")
    elif canvas.width * canvas.height > _HD_PIXELS and spec.model != "vmaf_4k_v0.6.1":
        found.append(f"{spec.model} was made for 1080p; for pictures this large choose vmaf_4k_v0.6.1.")
    if (reference.hdr == "sdr") != (distorted.hdr == "sdr"):
        found.append("One is HDR, the other SDR: they are compared as they are coded, so the scores mean little.")
    elif reference.hdr != "sdr":
        found.append("Both are HDR: VMAF's models were made with SDR, so compare its scores among HDR only.")
    interlaced = [name for name, video in zip(("reference", "distorted"), videos, strict=True) if video.interlaced]
    if interlaced:
        found.append(f"The {' and the '.join(interlaced)} film is interlaced: pictures are compared as they are coded.")
    return found


def _time_warnings(
    indices: Sequence[PacketIndex], timelines: tuple[Timeline, Timeline], pairs: list[Pair] | None
) -> list[str]:
    found = [
        f"The {name} film is compared in one pass: {index.doubtful}."
        for name, index in zip(("reference", "distorted"), indices, strict=True)
        if index.doubtful is not None
    ]
    steps = [timeline.step_s for timeline in timelines]
    if pairs and abs(steps[1] / steps[0] - 1) > _SHAPES_APART:
        rates = [round(1 / step_s, 3) for step_s in steps]
        found.append(
            f"They have different frame rates ({rates[0]:g} and {rates[1]:g}): only frames with a partner count."
        )
    return found


def _offset_warnings(alignment: Alignment, tolerance_s: float) -> list[str]:
    apart = [place for place in alignment.places if abs(place.offset_s - alignment.offset_s) > tolerance_s]
    if alignment.verdict == "different" or not apart:
        return []
    told = ", ".join(f"{place.offset_s:.3f} s at {place.time_s:.1f} s" for place in apart)
    return [
        f"The films don't keep one offset: they fit better at {told}, or farther. Something may have been cut or added."
    ]
