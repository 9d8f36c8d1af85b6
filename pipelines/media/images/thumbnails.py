"""Make renditions of an image: several sizes of one decode, upright, in sRGB, without the source's metadata."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.media.images.crop import window
from pipelines.media.images.encode import encoded, written
from pipelines.media.images.geometry import Placement, place
from pipelines.media.images.header import bytes_of, check_size, describe, open_image
from pipelines.media.images.info import ImageResult
from pipelines.media.images.picture import in_srgb, warnings_of
from pipelines.media.images.pixels import Pixels, decode
from pipelines.media.images.scaling import flattened, scaled, upright
from pipelines.media.images.thumbnail_spec import ThumbnailSpec, label_of
from pipelines.media.source import Source, name_of


def thumbnails(source: Source, target: Path, spec: ThumbnailSpec) -> ImageResult:
    """Write the renditions: ``target`` without an extension is what their names begin with, their sizes follow.

    Raises:
        SourceError: it's no image that is read here, or it's damaged.
        LimitError: it has too many pixels or bytes.
        OutOfSpaceError, EncodeError: see ``mux``.
    """
    name = name_of(source)
    data = bytes_of(source)
    with open_image(data, name) as image:
        info = describe(image, name, spec.frame)
        placements = [place(info.width, info.height, *spec.box(size), enlarge=spec.enlarge) for size in spec.sizes]
        needed = max(each.scaled[0] for each in placements), max(each.scaled[1] for each in placements)
        check_size(needed, f"A rendition of {name}")  # enlarged, or made to cover a box, it has no other bound
        pixels = decode(data, image, info, name, needed)
    files = []
    for size, placement in zip(spec.sizes, placements, strict=True):
        made = encoded(_render(pixels, placement, spec), spec.format, spec.quality)
        files.append(written(target, f"-{label_of(size)}", made, spec.format, placement.size))
    return ImageResult(source=info, files=tuple(files), warnings=warnings_of(info))


def _render(pixels: Pixels, placement: Placement, spec: ThumbnailSpec) -> NDArray[np.uint8]:
    width, height = placement.scaled
    stored = (height, width) if pixels.orientation >= 5 else (width, height)
    picture = upright(scaled(pixels.array, stored, pixels.span), pixels.orientation)
    if pixels.profile is not None:
        picture = in_srgb(picture, pixels.profile)
    left, top = window(picture, placement, spec)
    cut = picture[top : top + placement.size[1], left : left + placement.size[0]]
    return flattened(cut, _rgb(spec.background)) if spec.format == "jpeg" else cut


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
