"""Scenes of a film: where one shot ends and the next begins, found in stretches that are looked through apart."""

import contextlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from pipelines.media.container_index import has_index
from pipelines.media.demuxing import packets_of
from pipelines.media.errors import NoVideoStreamError
from pipelines.media.frames import decoded, raw_step_of
from pipelines.media.info import VideoInfo
from pipelines.media.keyframe_seeking import KeyframeSeeker
from pipelines.media.keyframes import Keyframes, cut_off_warning, find_keyframes, pictures_end_s
from pipelines.media.limits import check_picture
from pipelines.media.probing.probe import probe
from pipelines.media.progress import OnProgress, ProgressMeter
from pipelines.media.scenes.detector import REACH_LOOKS, ShotDetector, look_of
from pipelines.media.scenes.scenes_spec import (
    ScenesPlan,
    Stretch,
    StretchResult,
    cost_s,
    frame_rate_of,
    memory_bytes,
    stretch_count,
)
from pipelines.media.scenes.thumbs import ThumbMaker
from pipelines.media.source import Source, name_of, open_input
from pipelines.media.timing import Timing
from pipelines.media.tracks import Window

# Blocks that show are smaller than a pixel of a thumb, and a third of the time is saved.
_OPTIONS = {"skip_loop_filter": "all"}


def plan_scenes(source: Source, slots: int, on_progress: OnProgress) -> ScenesPlan:
    """Cut a film at keyframes into stretches that don't take long, and are enough for so many slots.

    Raises:
        NoVideoStreamError: there is no video stream but maybe a cover.
        LimitError: its pictures are too large.
    """
    info = probe(source, measured=True)
    video = info.video
    if video is None:
        raise NoVideoStreamError(f"{name_of(source)} has no moving pictures; look for scenes in a video.")
    check_picture(video)
    keyframes = find_keyframes(source, info, video.index, ProgressMeter(on_progress, info.duration_s))
    with open_input(source) as container:
        timing = Timing.of(container, video.index)
        stream = container.streams[video.index]
        first_pts = stream.start_time
        few = not has_index(container, stream, keyframes.times)
    end_s = pictures_end_s(info, video, keyframes, float(timing.start))
    return ScenesPlan(
        stretches=tuple(_stretches(video, keyframes, timing, end_s, stretch_count(video, end_s, slots, few=few))),
        stream=video.index,
        time_base=str(timing.time_base),
        start=str(timing.start),
        first_pts=first_pts or 0,
        end_s=round(end_s, 6),
        frame_rate=frame_rate_of(video),
        memory_bytes=memory_bytes(video),
        warnings=cut_off_warning(name_of(source), info, keyframes, end_s),
    )


def _stretches(video: VideoInfo, keyframes: Keyframes, timing: Timing, end_s: float, count: int) -> Iterator[Stretch]:
    times, rate = keyframes.times, frame_rate_of(video)
    reach = int(REACH_LOOKS * look_of(rate) / rate / timing.time_base)
    wanted = [timing.pts_of(number * end_s / count) for number in range(1, count)]
    places = sorted({place for pts in wanted if 0 < (place := bisect_left(times, pts)) < len(times)})
    borders = [None, *(times[place] for place in places), None]
    for begin, end in pairwise(borders):
        before = 0 if begin is None else bisect_right(times, begin - reach) - 1
        length_s = end_s / (len(borders) - 1)
        yield Stretch(
            begin_pts=begin,
            end_pts=end,
            from_pts=times[before] if before > 0 else None,
            until_pts=None if end is None else end + reach,
            length_s=length_s,
            cost_s=round(cost_s(video, length_s), 3),
        )


def find_shots(
    source: Source, plan: ScenesPlan, stretch: Stretch, threads: int, on_progress: OnProgress
) -> StretchResult:
    """Look through a stretch, decoding all of it; what is damaged is passed over."""
    own = Window(stretch.begin_pts, stretch.end_pts)
    thumbs = ThumbMaker()
    detector: ShotDetector | None = None
    meter = ProgressMeter(on_progress, stretch.length_s)
    frames, damaged = 0, 0
    with open_input(source) as container:
        stream = container.streams[plan.stream]
        assert isinstance(stream, VideoStream)
        stream.codec_context.thread_type, stream.codec_context.thread_count = "AUTO", threads
        stream.codec_context.options = _OPTIONS
        time_base = Fraction(plan.time_base)
        begin = shown = round(Fraction(plan.start) / time_base) if own.begin_pts is None else own.begin_pts

        def count_damage() -> None:
            nonlocal damaged
            damaged += own.holds(shown)

        packets = _packets_from(container, stream, stretch.from_pts)
        for frame in decoded(packets, raw_step_of(stream), count_damage):
            assert frame.pts is not None
            shown = frame.pts
            if stretch.until_pts is not None and shown >= stretch.until_pts:
                break
            if detector is None:
                frames_before = round((shown - plan.first_pts) * float(time_base) * plan.frame_rate)
                detector = ShotDetector(
                    plan.frame_rate, from_start=stretch.from_pts is None, frames_before=frames_before
                )
            detector.push(thumbs.make(frame), shown)
            frames += own.holds(shown)
            meter.update(float((shown - begin) * time_base), frames)
    found = () if detector is None else detector.result()
    boundaries = tuple(each for each in found if own.holds(each.pts))
    return StretchResult(boundaries=boundaries, frames=frames, decode_errors=damaged)


def _packets_from(
    container: InputContainer, stream: VideoStream, from_pts: int | None
) -> "Iterator[Packet[VideoStream]]":
    """From a keyframe on; where it can't be gone to, from the start."""
    if from_pts is not None:
        packets = KeyframeSeeker(container, stream, (from_pts,)).packets_from(0)
        if packets is not None:
            return packets
        with contextlib.suppress(av.error.FFmpegError):
            container.seek(0)
    return packets_of(container, stream)
