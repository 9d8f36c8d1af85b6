"""Write pixels as JPEG, WebP, AVIF or PNG; nothing of the source's metadata is in them."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.media.errors import EncodeError
from pipelines.media.images.info import ImageFile, ImageFormat
from pipelines.media.mux import write_errors

_SUFFIXES = {
    "jpeg": "jpg",
    "webp": "webp",
    "avif": "avif",
    "png": "png",
    "gif": "gif",
    "tiff": "tif",
    "bmp": "bmp",
}
_FULL_CHROMA_QUALITY = 90  # from here on colour keeps its full resolution
_WEBP_EFFORT, _AVIF_SPEED = 4, 8


def encoded(pixels: NDArray[np.uint8], format_: str, quality: int) -> bytes:
    """The file of ``pixels``: (height, width, channel) of 1 (grey), 3 (sRGB) or 4 (with alpha, not in JPEG).

    Raises:
        EncodeError: the encoder can't.
    """
    image = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels))
    buffer = io.BytesIO()
    try:
        _SAVE[format_](image, buffer, quality)
    except (OSError, ValueError) as error:
        raise EncodeError(f"A picture can't be written as {format_}: {error}.") from error
    return buffer.getvalue()


def written(target: Path, ending: str, data: bytes, format_: ImageFormat, size: tuple[int, int]) -> ImageFile:
    """Write a finished file of ``size`` (width, height) beside ``target``, whose name goes on with ``ending``.

    Raises:
        OutOfSpaceError, EncodeError: see ``mux``.
    """
    name = f"{ending}.{_SUFFIXES[format_]}"
    with write_errors():
        target.with_name(target.name + name).write_bytes(data)
    return ImageFile(name=name, format=format_, width=size[0], height=size[1], size_bytes=len(data))


def _jpeg(image: Image.Image, buffer: io.BytesIO, quality: int) -> None:
    subsampling = "4:4:4" if quality >= _FULL_CHROMA_QUALITY else "4:2:0"
    image.save(buffer, "JPEG", quality=quality, optimize=True, subsampling=subsampling)


def _webp(image: Image.Image, buffer: io.BytesIO, quality: int) -> None:
    image.save(buffer, "WEBP", quality=quality, method=_WEBP_EFFORT)


def _avif(image: Image.Image, buffer: io.BytesIO, quality: int) -> None:
    # Otherwise the tiles, and so the bytes, depend on how many CPUs there are.
    image.save(buffer, "AVIF", quality=quality, speed=_AVIF_SPEED, autotiling=False, max_threads=1)


def _png(image: Image.Image, buffer: io.BytesIO, _quality: int) -> None:
    image.save(buffer, "PNG")


_SAVE: dict[str, Callable[[Image.Image, io.BytesIO, int], None]] = {
    "jpeg": _jpeg,
    "webp": _webp,
    "avif": _avif,
    "png": _png,
}
