"""A preview: some seconds of a film's highlights, as a moving picture without sound."""

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.video.stream import VideoStream

from pipelines.media.errors import NoVideoStreamError, ParamsError
from pipelines.media.frames import FrameReader, PictureMaker
from pipelines.media.info import VideoInfo
from pipelines.media.keyframes import cut_off_warning, find_keyframes, pictures_end_s
from pipelines.media.limits import check_picture
from pipelines.media.preview.highlights import Piece, highlights
from pipelines.media.preview.moving_picture import Picture, write_moving
from pipelines.media.preview.preview_spec import PreviewResult, PreviewSpec, Segment, rate_for
from pipelines.media.probing.probe import probe
from pipelines.media.progress import OnProgress, Progress, ProgressMeter
from pipelines.media.source import Source, name_of, open_input
from pipelines.media.stills_spec import fitted
from pipelines.media.timing import Timing

_SEARCH_SHARE = 0.2  # of the work, where packets are read to find keyframes
_CHOICE_SHARE = 0.6  # of the work up to there
_MAX_PIXELS = 100_000_000  # in all frames of a picture that moves, which are held at once


def preview(
    source: Source, folder: Path, spec: PreviewSpec, on_progress: OnProgress, threads: int = 1
) -> PreviewResult:
    """Write ``preview.webp``, ``.avif`` or ``.mp4`` into ``folder``.

    Raises:
        NoVideoStreamError: there is no video stream but maybe a cover.
        LimitError: the video's pictures are too large, or the preview doesn't fit ``max_bytes``.
        ParamsError: it would have too many pixels.
        SourceUnreadableError: nothing decodes.
        OutOfSpaceError, EncodeError: see ``mux``.
    """
    info = probe(source, measured=True)
    video = info.video
    if video is None:
        raise NoVideoStreamError(f"{name_of(source)} has no moving pictures; make a preview of a video.")
    check_picture(video)
    rate, size = rate_for(video, spec), _size(video, spec)
    _check_pixels(spec, size, rate)
    keyframes = find_keyframes(source, info, video.index, ProgressMeter(on_progress, info.duration_s, 0, _SEARCH_SHARE))
    with open_input(source) as container:
        stream = container.streams[video.index]
        assert isinstance(stream, VideoStream)
        timing = Timing.of(container, video.index)
        reader = FrameReader(container, stream, keyframes.times, threads)
        end_s = pictures_end_s(info, video, keyframes, float(timing.start))
        begin_s = min(end_s, max(0.0, (video.start_s or 0.0) - float(timing.start)))

        def on_part(number: int) -> None:
            fraction = _SEARCH_SHARE + (_CHOICE_SHARE - _SEARCH_SHARE) * number / spec.segments
            on_progress(Progress(fraction=fraction, frames=0, position_s=0.0))

        pieces = highlights(reader, video, timing, Piece(begin_s, end_s), spec, on_part)
        times = [_times(piece, rate) for piece in pieces]
        count = sum(map(len, times))
        maker = PictureMaker(video, timing.time_base, size=size)

        def pictures() -> Iterator[Picture]:
            for number, time_s in enumerate((time_s for each in times for time_s in each), start=1):
                yield np.asarray(maker.make(reader.at(timing.pts_of(time_s))))
                fraction = _CHOICE_SHARE + (1 - _CHOICE_SHARE) * number / count
                on_progress(Progress(fraction=fraction, frames=number, position_s=float(number / rate)))

        target = folder / f"preview.{spec.format}"
        quality = write_moving(pictures, target, spec.format, rate, spec.first_quality, spec.max_bytes)
    return PreviewResult(
        name=target.name,
        format=spec.format,
        width=size[0],
        height=size[1],
        frame_rate=str(rate),
        frames=count,
        duration_s=round(float(count / rate), 6),
        size_bytes=target.stat().st_size,
        quality=quality,
        segments=tuple(_segments(pieces, times, rate)),
        warnings=cut_off_warning(name_of(source), info, keyframes, end_s),
    )


def _size(video: VideoInfo, spec: PreviewSpec) -> tuple[int, int]:
    width, height = fitted(str(spec.width), (video.display_width, video.display_height))
    return (max(2, width // 2 * 2), max(2, round(height / 2) * 2)) if spec.format == "mp4" else (width, height)


def _check_pixels(spec: PreviewSpec, size: tuple[int, int], rate: Fraction) -> None:
    frames = math.ceil(spec.segments * spec.segment_s * rate)
    if spec.format != "mp4" and frames * size[0] * size[1] > _MAX_PIXELS:
        raise ParamsError(
            f"{frames} frames of {size[0]}x{size[1]} are too many for a {spec.format} "
            f"({_MAX_PIXELS // 1_000_000} megapixels in all); take fewer, make them smaller, or make an mp4.",
            frames=frames,
        )


def _times(piece: Piece, rate: Fraction) -> list[float]:
    """When the frames of the preview are shown in the film: at least one."""
    count = max(1, math.ceil(piece.length_s * rate - Fraction(1, 1000)))
    return [piece.start_s + float(number / rate) for number in range(count)]


def _segments(pieces: Sequence[Piece], times: Sequence[Sequence[float]], rate: Fraction) -> Iterator[Segment]:
    shown = 0
    for piece, each in zip(pieces, times, strict=True):
        yield Segment(
            start_s=round(piece.start_s, 6), end_s=round(piece.end_s, 6), shown_at_s=round(float(shown / rate), 6)
        )
        shown += len(each)
