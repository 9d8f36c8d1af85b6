"""Write pixels as JPEG, WebP, AVIF or PNG, soon; what takes its time to be small is in ``conversion``."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.media.errors import EncodeError, LimitError
from pipelines.media.images.info import EXTENSIONS, ImageFile, ImageFormat
from pipelines.media.mux import write_errors

_FULL_CHROMA_QUALITY = 90  # from here on colour keeps its full resolution
_WEBP_EFFORT, _AVIF_SPEED = 4, 8
MAX_SIDES = {"jpeg": 65_500, "webp": 16_383, "avif": 32_768, "png": 65_536}


def encoded(
    pixels: NDArray[np.uint8], format_: str, quality: int, timing: Mapping[str, Any] = MappingProxyType({})
) -> bytes:
    """The file of ``pixels``: (height, width, channel) of 1 (grey), 3 (sRGB) or 4 (with alpha, not in JPEG).

    ``timing`` are options of Pillow's that bring an animation's other frames along.

    Raises:
        EncodeError: the encoder can't.
    """
    image = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels))
    options = _OPTIONS[format_](quality) | dict(timing)
    try:
        try:
            return _saved(image, format_, options)
        except OSError:
            if not options.pop("optimize", False):
                raise
            # Pillow made room for a byte a pixel, which noise needs more than.
            return _saved(image, format_, options)
    except (OSError, ValueError) as error:
        raise EncodeError(f"A picture can't be written as {format_}: {error}.") from error


def check_sides(size: tuple[int, int], format_: str, name: str) -> None:
    """Raise LimitError where a format can't hold what is to be written: ``size`` is its width and height."""
    width, height = size
    if max(size) > MAX_SIDES[format_]:
        raise LimitError(
            f"{name} has {width}x{height} pixels; {format_} holds at most {MAX_SIDES[format_]} a side.",
            width=width,
            height=height,
        )


def _saved(image: Image.Image, format_: str, options: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_.upper(), **options)
    return buffer.getvalue()


def written(target: Path, ending: str, data: bytes, format_: ImageFormat, size: tuple[int, int]) -> ImageFile:
    """Write a finished file of ``size`` (width, height) beside ``target``, whose name goes on with ``ending``.

    Raises:
        OutOfSpaceError, EncodeError: see ``mux``.
    """
    name = f"{ending}.{EXTENSIONS[format_]}"
    with write_errors():
        target.with_name(target.name + name).write_bytes(data)
    return ImageFile(name=name, format=format_, width=size[0], height=size[1], size_bytes=len(data))


def _jpeg(quality: int) -> dict[str, Any]:
    subsampling = "4:4:4" if quality >= _FULL_CHROMA_QUALITY else "4:2:0"
    return {"quality": quality, "optimize": True, "subsampling": subsampling}


def _webp(quality: int) -> dict[str, Any]:
    return {"quality": quality, "method": _WEBP_EFFORT}


def _avif(quality: int) -> dict[str, Any]:
    # Otherwise the tiles, and so the bytes, depend on how many CPUs there are.
    return {"quality": quality, "speed": _AVIF_SPEED, "autotiling": False, "max_threads": 1}


def _png(_quality: int) -> dict[str, Any]:
    return {}


_OPTIONS: dict[str, Callable[[int], dict[str, Any]]] = {"jpeg": _jpeg, "webp": _webp, "avif": _avif, "png": _png}
