"""Take stills of a video: at given times, evenly spread, or its most telling frames."""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image

from pipelines.media.candidates import MARGIN, candidates_at
from pipelines.media.errors import NoVideoStreamError, SourceUnreadableError, TimeOutOfRangeError
from pipelines.media.frames import FrameReader, PictureMaker
from pipelines.media.images.encode import encoded
from pipelines.media.images.info import EXTENSIONS
from pipelines.media.info import MediaInfo, VideoInfo
from pipelines.media.keyframes import told_end_s
from pipelines.media.limits import check_picture
from pipelines.media.mux import write_errors
from pipelines.media.probing.probe import probe
from pipelines.media.progress import OnProgress, Progress
from pipelines.media.side_data import first_frame
from pipelines.media.source import Source, name_of, open_input
from pipelines.media.stills_spec import Still, StillFormat, StillsResult, StillsSpec, candidate_count, fitted
from pipelines.media.telling import choose
from pipelines.media.timing import Timing


def stills(source: Source, folder: Path, spec: StillsSpec, on_progress: OnProgress, threads: int = 1) -> StillsResult:
    """Write the stills into ``folder`` and list them in order of time, sizes in the order asked for.

    The frame of a time is the one shown then; times count from the container's start. No frame is taken twice, but
    where times were given.

    Raises:
        NoVideoStreamError: there is neither a video stream nor a cover.
        TimeOutOfRangeError: a time lies behind the end.
        LimitError: the pictures are too large.
        SourceUnreadableError: nothing decodes.
    """
    info = probe(source, measured=not spec.times)
    video = info.video or info.cover
    if video is None:
        raise NoVideoStreamError(f"{name_of(source)} has no pictures; take stills of a video.")
    check_picture(video)
    with open_input(source) as container:
        if video.attached_picture:
            timing = Timing(container.streams[video.index].time_base or Fraction(1, 1000))
            frames: Iterable[VideoFrame] = [_cover(container, video)]
            count = 1
        else:
            timing = Timing.of(container, video.index)
            frames = _pick(container, video, timing, info, spec, threads)
            count = len(spec.times) or spec.count or 1
        items = _write_all(frames, count, folder, spec, video, timing, on_progress)
    return StillsResult(items=items, warnings=_fewer(name_of(source), items, spec))


def _fewer(name: str, items: Sequence[Still], spec: StillsSpec) -> tuple[str, ...]:
    """What is told where there aren't as many as were asked for."""
    made = len(items) // (max(1, len(spec.sizes)) * len(spec.format))
    if spec.times or made >= (spec.count or 1):
        return ()
    return (f"{name}: only {made} of {spec.count} stills; there are no more frames in it that differ.",)


def _cover(container: InputContainer, video: VideoInfo) -> VideoFrame:
    frame = first_frame(container, video.index)
    if frame is None:
        raise SourceUnreadableError("The cover doesn't decode; it is damaged.")
    frame.pts = 0
    return frame


def _pick(
    container: InputContainer, video: VideoInfo, timing: Timing, info: MediaInfo, spec: StillsSpec, threads: int
) -> Iterator[VideoFrame]:
    """The frames to make stills of, one at a time: a thousand decoded ones would fill the memory."""
    _check_times(spec.times, info)
    stream = container.streams[video.index]
    assert isinstance(stream, VideoStream)
    reader = FrameReader(container, stream, threads=threads)
    if spec.is_telling:
        wanted = _telling_pts(reader, video, timing, info, spec.count or 1)
    else:
        times = sorted(spec.times) or even_times(video, info, timing, spec.count or 1)
        wanted = [timing.pts_of(time_s) for time_s in times]
    frames = map(reader.at, wanted)
    return frames if spec.times else _each_once(frames)


def _each_once(frames: Iterable[VideoFrame]) -> Iterator[VideoFrame]:
    last: int | None = None
    for frame in frames:
        if frame.pts != last:
            yield frame
        last = frame.pts


def _check_times(times: Sequence[float], info: MediaInfo) -> None:
    late = [time_s for time_s in times if info.duration_s is not None and time_s > info.duration_s]
    if late:
        raise TimeOutOfRangeError(
            f"{late[0]:g} s lies behind the end at {info.duration_s:.3f} s; give earlier times.",
            time_s=late[0],
            duration_s=info.duration_s,
        )


def even_times(video: VideoInfo, info: MediaInfo, timing: Timing, count: int) -> list[float]:
    """The centres of ``count`` equal parts of the time that has pictures."""
    end_s = told_end_s(info, video, float(timing.start))
    begin_s = min(end_s, max(0.0, (video.start_s or 0.0) - float(timing.start)))
    part_s = (end_s - begin_s) / count
    return [begin_s + (number + 0.5) * part_s for number in range(count)]


def _telling_pts(reader: FrameReader, video: VideoInfo, timing: Timing, info: MediaInfo, count: int) -> list[int]:
    points = even_times(video, info, timing, candidate_count(count))
    margin = int(len(points) * MARGIN)
    wanted = [timing.pts_of(time_s) for time_s in points[margin : len(points) - margin or None]]
    candidates, around = candidates_at(reader, wanted, count, video, timing.time_base)
    return [candidate.pts for candidate in choose(candidates, count, around.is_changing, around.one_shot)]


def _write_all(
    frames: Iterable[VideoFrame],
    count: int,
    folder: Path,
    spec: StillsSpec,
    video: VideoInfo,
    timing: Timing,
    on_progress: OnProgress,
) -> tuple[Still, ...]:
    shown = (video.display_width, video.display_height)
    largest = max((fitted(size, shown) for size in spec.sizes), default=None)
    maker = PictureMaker(video, timing.time_base, largest)
    items: list[Still] = []
    for number, frame in enumerate(frames, start=1):
        assert frame.pts is not None
        time_s = round(max(0.0, timing.time_of(frame.pts)), 6)
        picture = maker.make(frame)
        for size in spec.sizes or (None,):
            resized = _resize(picture, shown if size is None else fitted(size, shown))
            for format_ in spec.format:
                name = f"still-{number:04d}{_label(size, spec)}.{EXTENSIONS[format_]}"
                save_picture(resized, folder / name, format_, spec.quality)
                items.append(
                    Still(
                        name=name,
                        format=format_,
                        time_s=time_s,
                        width=resized.width,
                        height=resized.height,
                        size_bytes=(folder / name).stat().st_size,
                        pts=frame.pts,
                        keyframe=frame.key_frame,
                    )
                )
        on_progress(Progress(fraction=min(1.0, number / count), frames=number, position_s=time_s))
    return tuple(items)


def _resize(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)


def _label(size: str | None, spec: StillsSpec) -> str:
    if size is None or len(spec.sizes) == 1:
        return ""
    return f"-{size}" if "x" in size else f"-{size}w"


def save_picture(picture: Image.Image, path: Path, format_: StillFormat, quality: int) -> None:
    """Write ``picture``.

    Raises:
        OutOfSpaceError, EncodeError: see ``mux``.
    """
    with write_errors():
        path.write_bytes(encoded((np.asarray(picture),), format_, quality))
