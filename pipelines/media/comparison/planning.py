"""Plan a comparison: how the films lie to each other, the form they are measured in, and the pieces."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from pipelines.media.comparison.alignment import Timeline, align, timeline_of
from pipelines.media.comparison.canvas import canvas_of
from pipelines.media.comparison.compare_spec import CompareSpec, ComparisonPlan, Piece
from pipelines.media.comparison.film import open_film
from pipelines.media.comparison.judgement import form_findings, offset_findings, rate_findings
from pipelines.media.comparison.pairing import pair_up
from pipelines.media.comparison.pieces import Cutter, Pair, memory_bytes
from pipelines.media.demuxing import PacketTable
from pipelines.media.errors import NoVideoStreamError, SourceUnreadableError
from pipelines.media.info import VideoInfo
from pipelines.media.limits import check_picture
from pipelines.media.packet_index import PacketIndex, read_index
from pipelines.media.probing.probe import probe
from pipelines.media.source import Source, name_of


def plan_comparison(source: Source, reference: Source, spec: CompareSpec, slots: int) -> ComparisonPlan:
    """Look at both films: their headers, their packets, and some of their frames.

    Raises:
        SourceError: see ``probe``; NoVideoStreamError where one has no pictures.
        LimitError: pictures are too large.
    """
    videos = (_video_of(reference), _video_of(source))
    indices = tuple(_index_of(each, video) for each, video in zip((reference, source), videos, strict=True))
    canvas = canvas_of(*videos)
    keyframes = [np.unique(index.key_times).tolist() for index in indices]
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
        cutter = Cutter(films, indices, timelines, canvas, spec, slots)
        pieces = (cutter.whole(),) if pairs is None else cutter.cut(pairs)
    return ComparisonPlan(
        reference=videos[0],
        distorted=videos[1],
        alignment=alignment,
        canvas=canvas,
        tolerance_s=tolerance_s,
        frame_rate=1 / timelines[0].step_s,
        metrics=spec.metrics,
        model=spec.model,
        reference_frames=len(indices[0].times) if timelines[0].anywhere else None,
        distorted_frames=len(indices[1].times) if timelines[1].anywhere else None,
        pieces=pieces,
        memory_bytes=memory_bytes(canvas, videos),
        warnings=(
            *form_findings(videos, canvas, spec),
            *_one_pass(indices),
            *rate_findings([timeline.step_s for timeline in timelines]),
            *offset_findings(alignment, tolerance_s),
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
        return read_index(source, video.index)[0]
    except SourceUnreadableError:  # what comes before the damage is compared
        time_base = Fraction(video.time_base or "1/1000")
        return PacketIndex(PacketTable(), time_base, "it is damaged and can't be read to its end")


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


def _one_pass(indices: Sequence[PacketIndex]) -> list[str]:
    return [
        f"The {name} film is compared in one pass: {index.doubtful}."
        for name, index in zip(("reference", "distorted"), indices, strict=True)
        if index.doubtful is not None
    ]
