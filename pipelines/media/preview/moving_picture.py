"""Write pictures that follow each other at a constant rate: an animated WebP or AVIF, or an MP4."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace
from numpy.typing import NDArray

from pipelines.media.encoding import add_video_encoder
from pipelines.media.errors import LimitError
from pipelines.media.images.animation import Timing
from pipelines.media.images.conversion.encoders import Way
from pipelines.media.images.conversion.search import largest_that_fits
from pipelines.media.mux import open_file, write_errors
from pipelines.media.plan import VideoEncode
from pipelines.media.preview.preview_spec import PreviewFormat
from pipelines.media.profiles import VideoSettings

Picture = NDArray[np.uint8]  # (height, width, 3), RGB
Pictures = Callable[[], Iterator[Picture]]  # each time from the start

_MOST_TRIES = 6
_LESS = 0.7  # of a quality that made too many bytes
_WORST_CRF, _CRF_A_QUALITY = 51, 0.36


def write_moving(
    pictures: Pictures, target: Path, format_: PreviewFormat, rate: Fraction, quality: int, max_bytes: int | None
) -> int:
    """Write them to ``target``, whose sides are even if it's an MP4; returns the quality that it has.

    That is ``quality``, from 1 to 100, or the highest found below it with which the file has at most ``max_bytes``.

    Raises:
        LimitError: it has more of the least quality.
        OutOfSpaceError, EncodeError: see ``mux``.
    """

    def encoded(tried: int) -> bytes:
        if format_ == "mp4":
            _write_mp4(pictures(), target, rate, tried)
            return target.read_bytes()
        frames = list(pictures())
        made = Way(format_).encoded(frames, tried, _timing(len(frames), rate))
        return _undated(made) if format_ == "avif" else made

    data = encoded(quality)
    found: int | None = quality
    if max_bytes is not None and len(data) > max_bytes:
        found, data, _ = largest_that_fits(encoded, max_bytes, max(1, round(_LESS * quality)), _MOST_TRIES)
    if found is None:
        target.unlink(missing_ok=True)
        raise LimitError(
            f"Of the least quality it has {len(data)} bytes, more than {max_bytes}; "
            "give fewer or shorter segments, a smaller width or a lower frame rate.",
            size_bytes=len(data),
        )
    with write_errors():
        target.write_bytes(data)
    return found


def _timing(count: int, rate: Fraction) -> Timing:
    """Whole milliseconds that never lag behind ``rate`` by one."""
    times = [round(number * 1000 / rate) for number in range(count + 1)]
    return Timing(tuple(end - begin for begin, end in pairwise(times)), plays=0)


def _undated(avif: bytes) -> bytes:
    """Without the time at which it was made, which libavif writes into the headers of the movie and its tracks."""
    data = bytearray(avif)
    begin = data.find(b"moov")
    end = data.find(b"mdat", begin)
    for header in (b"mvhd", b"tkhd", b"mdhd"):
        at = data.find(header, begin, end)
        while at >= 0:
            version = data[at + 4]
            length = 16 if version else 8  # of the times of creation and modification, behind version and flags
            data[at + 8 : at + 8 + length] = bytes(length)
            at = data.find(header, at + 8, end)
    return bytes(data)


def _write_mp4(pictures: Iterable[Picture], target: Path, rate: Fraction, quality: int) -> None:
    pictures = iter(pictures)
    first = next(pictures)
    with open_file(target, "mp4", {"movflags": "+faststart"}) as output:
        # With more threads, the bytes would depend on how many CPUs there are.
        stream = add_video_encoder(output, _encode(first.shape, rate, quality), 1 / rate, threads=1)
        with write_errors():
            for number, picture in enumerate(_all(first, pictures)):
                frame = VideoFrame.from_ndarray(picture, format="rgb24").reformat(
                    format="yuv420p", dst_colorspace=Colorspace.ITU709
                )
                frame.pts, frame.time_base = number, 1 / rate
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))


def _all(first: Picture, others: Iterator[Picture]) -> Iterator[Picture]:
    yield first
    yield from others


def _encode(shape: Sequence[int], rate: Fraction, quality: int) -> VideoEncode:
    crf = round(_WORST_CRF - _CRF_A_QUALITY * quality, 1)
    return VideoEncode(
        settings=VideoSettings(codec="h264", preset="medium", crf=crf, pixel_formats=("yuv420p",)),
        width=shape[1],
        height=shape[0],
        pixel_format="yuv420p",
        frame_rate=rate,
        color_range="tv",
        color_primaries="bt709",
        color_transfer="bt709",
        color_space="bt709",
    )
