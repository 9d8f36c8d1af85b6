"""Write pixels as JPEG, WebP, AVIF or PNG, soon; what takes its time to be small is in ``conversion``."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.media.errors import LimitError
from pipelines.media.images.animation import Timing
from pipelines.media.images.conversion.convert_spec import Chroma, ConvertFormat
from pipelines.media.images.conversion.encoders import Way
from pipelines.media.images.info import EXTENSIONS, ImageFile, ImageFormat
from pipelines.media.mux import write_errors

FULL_CHROMA_QUALITY = 90  # from here on colour keeps its full resolution
MAX_SIDES = {"jpeg": 65_500, "webp": 16_383, "avif": 32_768, "png": 65_536}


def encoded(
    frames: Sequence[NDArray[np.uint8]], format_: ConvertFormat, quality: int, timing: Timing | None = None
) -> bytes:
    """The file of ``frames``: (height, width, channel) of 1 (grey), 3 (sRGB) or 4 (with alpha, not in JPEG).

    Raises:
        EncodeError: the encoder can't.
    """
    return _way(format_, quality).encoded(frames, quality, timing)


def _way(format_: ConvertFormat, quality: int) -> Way:
    match format_:
        case "jpeg":
            chroma: Chroma = "4:4:4" if quality >= FULL_CHROMA_QUALITY else "4:2:0"
            return Way("jpeg", effort="fast", chroma=chroma, progressive=False)
        case "png":
            return Way("png", "lossless", plain=True)
    return Way(format_)


def check_sides(size: tuple[int, int], format_: str, name: str) -> None:
    """Raise LimitError where a format can't hold what is to be written: ``size`` is its width and height."""
    width, height = size
    if max(size) > MAX_SIDES[format_]:
        raise LimitError(
            f"{name} has {width}x{height} pixels; {format_} holds at most {MAX_SIDES[format_]} a side.",
            width=width,
            height=height,
        )


def written(target: Path, ending: str, data: bytes, format_: ImageFormat, size: tuple[int, int]) -> ImageFile:
    """Write a finished file of ``size`` (width, height) beside ``target``, whose name goes on with ``ending``.

    Raises:
        OutOfSpaceError, EncodeError: see ``mux``.
    """
    name = f"{ending}.{EXTENSIONS[format_]}"
    with write_errors():
        target.with_name(target.name + name).write_bytes(data)
    return ImageFile(name=name, format=format_, width=size[0], height=size[1], size_bytes=len(data))
