"""Read an image as it is shown: upright, in sRGB."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipelines.media.images.colour import fits, to_srgb
from pipelines.media.images.header import bytes_of, describe, open_image
from pipelines.media.images.info import ImageInfo
from pipelines.media.images.metadata.carried import Carried, carried
from pipelines.media.images.metadata.metadata_spec import Keep
from pipelines.media.images.pixels import Pixels, decode
from pipelines.media.images.scaling import scaled, upright
from pipelines.media.source import Source, name_of


@dataclass(frozen=True)
class Picture:
    """``array`` is (height, width, channel) uint8, upright and in sRGB: 1 grey, 3 RGB, 4 RGB and alpha.

    It is the whole picture, smaller than ``info`` tells where no more was needed. ``along`` has what of its metadata
    goes with what is made of it.
    """

    info: ImageInfo
    array: NDArray[np.uint8]
    along: Carried = field(default_factory=Carried)


def picture_of(
    source: Source,
    frame: int = 0,
    most_pixels: int | None = None,
    told: Callable[[ImageInfo], None] = lambda _info: None,
    keep: Keep = "none",
) -> Picture:
    """The picture of ``frame``; where it has more than ``most_pixels``, a JPEG is decoded at a part of its size.

    ``told`` is called with what its header tells, before it is decoded; ``keep`` says which metadata come along.

    Raises:
        SourceError: it's no image that is read here, or it's damaged.
        LimitError: it has too many pixels or bytes.
    """
    name = name_of(source)
    data = bytes_of(source)
    with open_image(data, name) as image:
        info = describe(image, name, frame)
        told(info)
        pixels = decode(data, image, info, name, _needed(info, most_pixels))
        along = carried(data, image, keep)
    return Picture(info, as_shown(pixels), along)


def as_shown(pixels: Pixels, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """(height, width, channel), upright and in sRGB; ``size`` is its width and height, else as many as there are."""
    if size is None:
        # The last column or row of a reduced JPEG may be covered in part.
        stored = max(1, round(pixels.span[0])), max(1, round(pixels.span[1]))
    else:
        stored = (size[1], size[0]) if pixels.orientation >= 5 else size
    array = upright(scaled(pixels.array, stored, pixels.span), pixels.orientation)
    return array if pixels.profile is None else _in_srgb(array, pixels.profile)


def _in_srgb(array: NDArray[np.uint8], profile: bytes) -> NDArray[np.uint8]:
    """``array`` of ``profile`` in sRGB; as it is where the profile doesn't fit it.

    Grey with alpha has three channels here that are alike: a profile of grey fits them.
    """
    if array.shape[2] == 1 or (fits(profile, "L") and (array[..., :3] == array[..., :1]).all()):
        converted = to_srgb(array[..., 0], profile, "L")
    else:
        converted = to_srgb(array[..., :3], profile, "RGB")
    if converted is None:
        return array
    return np.concatenate([converted, array[..., 3:]], axis=2) if array.shape[2] == 4 else converted


def warnings_of(info: ImageInfo, frame: int = 0) -> tuple[str, ...]:
    """What is to be told of a picture of which ``frame`` is asked for."""
    warnings = []
    if frame >= info.frames:
        what = "page" if info.format == "tiff" else "frame"
        has = f"{info.frames} {what}s, 0 to {info.frames - 1}; the last" if info.frames > 1 else f"one {what}, which"
        warnings.append(f"It has {has} is taken instead of {what} {frame}.")
    if info.profile == "unreadable":
        warnings.append("Its ICC profile can't be read; its colours are taken as sRGB.")
    if info.hdr:
        warnings.append("It is HDR, and comes out in SDR: what is brighter than white is compressed.")
    return tuple(warnings)


def _needed(info: ImageInfo, most_pixels: int | None) -> tuple[int, int]:
    """The least size that still has half of ``most_pixels``: reducing goes by halves of a side."""
    width, height, factor = info.width, info.height, 1
    while most_pixels is not None and width * height > most_pixels * factor**2 and factor < 8:
        factor *= 2
    return max(1, width // factor), max(1, height // factor)
