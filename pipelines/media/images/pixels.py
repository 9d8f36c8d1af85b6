"""Decode an image to 8-bit pixels, no more of them than are needed."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import TiffImageFile

from pipelines.media.errors import LimitError, SourceUnreadableError
from pipelines.media.images.colour import is_srgb, print_to_srgb, to_srgb
from pipelines.media.images.header import DEEP, PHOTOMETRIC, WHITE_IS_ZERO, profile_of, reading
from pipelines.media.images.info import ImageInfo

# OpenCV's flags of a JPEG decoded at a part of its size, without those of what is made: its names have grey and BGR.
_REDUCED = {
    1: 0,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}
_RGB = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
_SCAN = b"\xff\xda"  # its marker, which can't stand in compressed data
_MAX_SCANS = 500
_CHEAP_PIXELS = 1_000_000
_CLEAR = frozenset({"PA", "LA", "La", "RGBa"})

cv2.setNumThreads(1)  # one image a thread: threads of its own would fight for the same CPUs


@dataclass(frozen=True)
class Pixels:
    """``array`` is (height, width, channel) uint8: 1 grey, 3 RGB, 4 RGB and alpha.

    ``span`` is how many of its columns and rows the image covers: of a JPEG 2725 wide, decoded at half size, the last
    of 1363 columns is covered by half. ``orientation`` is what is still to be done to show it (EXIF, 1 to 8);
    ``profile`` is its ICC profile, where that isn't sRGB.
    """

    array: NDArray[np.uint8]
    span: tuple[float, float]
    orientation: int = 1
    profile: bytes | None = None


def decode(data: bytes, image: Image.Image, info: ImageInfo, name: str, needed: tuple[int, int]) -> Pixels:
    """The pixels of ``image``, whose file is ``data``; at least ``needed`` of them (width, height as shown).

    Raises:
        SourceUnreadableError: they don't decode to the end.
        LimitError: a JPEG refines them in far more scans than anybody needs.
    """
    if info.progressive and data.count(_SCAN) > _MAX_SCANS:
        raise LimitError(f"{name} comes in more than {_MAX_SCANS} scans; that many only take time.")
    profile = profile_of(image)
    foreign = profile if profile and not is_srgb(profile) else None
    if info.format == "jpeg" and info.colour == "rgb":
        return _jpeg(data, info, name, needed, foreign)
    with reading(name):
        span: tuple[float, float] = image.size
        if info.format == "jpeg" and (drafted := image.draft(None, info.as_stored(needed))):
            span = drafted[1][2:]
        image.load()
        # A JPEG is turned when it is small, since the uncovered part of a reduced one is at its end.
        stored = image if info.format == "jpeg" else ImageOps.exif_transpose(image)
        array, left = _eight_bits(stored, foreign)
    if _white_is_zero(image):
        array = 255 - array
    if stored is not image:
        return Pixels(array, (array.shape[1], array.shape[0]), profile=left)
    return Pixels(array, span, info.orientation, left)


def _jpeg(data: bytes, info: ImageInfo, name: str, needed: tuple[int, int], profile: bytes | None) -> Pixels:
    width, height = info.as_stored((info.width, info.height))
    across, down = info.as_stored(needed)
    factor = _factor(min(width / across, height / down), width * height)
    try:
        array = cv2.imdecode(np.frombuffer(data, np.uint8), _REDUCED[factor] | _RGB)
    except cv2.error as error:  # of what is beyond its own limits, see modules/imgcodecs/src/loadsave.cpp
        raise SourceUnreadableError(f"{name} can't be decoded: {error.err}.") from error
    if array is None:
        raise SourceUnreadableError(f"{name} is damaged: its pixels don't decode.")
    return Pixels(np.asarray(array, np.uint8), (width / factor, height / factor), info.orientation, profile)


def _factor(ratio: float, pixels: int) -> int:
    """The part of its size that a JPEG of ``pixels`` is decoded at, to be made smaller by ``ratio``.

    Something is left for the filter that scales: at least twice as much as is made where that many decode at once.
    """
    for factor in (8, 4, 2):
        cheap = pixels / (factor / 2) ** 2 <= _CHEAP_PIXELS
        if ratio / factor >= (2 if cheap else 1):
            return factor
    return 1


def _eight_bits(image: Image.Image, profile: bytes | None) -> tuple[NDArray[np.uint8], bytes | None]:
    """Pixels of any of Pillow's modes, and the profile that they are left in."""
    if image.mode in DEEP:
        return _with_clear(_scaled_down(np.asarray(image)), image), profile
    if image.mode in _CLEAR or "transparency" in image.info:
        return np.asarray(image.convert("RGBA")), profile
    if image.mode == "1":
        return np.asarray(image.convert("L"))[..., None], None
    if image.mode in ("L", "RGB", "RGBA"):
        array = np.asarray(image)
        return (array[..., None] if array.ndim == 2 else array), profile
    if image.mode == "CMYK":
        inks = np.asarray(image)
        converted = to_srgb(inks, profile, "CMYK") if profile is not None else None
        return print_to_srgb(inks) if converted is None else converted, None
    # A palette's colours are in the profile's space still; of LAB, HSV and YCbCr Pillow makes RGB by formulas that know
    # no profile.
    return np.asarray(image.convert("RGB")), profile if image.mode == "P" else None


def _white_is_zero(image: Image.Image) -> bool:
    """Of a TIFF's deep grey; Pillow turns the levels of other modes itself."""
    return isinstance(image, TiffImageFile) and image.mode in DEEP and image.tag_v2.get(PHOTOMETRIC) == WHITE_IS_ZERO


def _with_clear(grey: NDArray[np.uint8], image: Image.Image) -> NDArray[np.uint8]:
    """A PNG of 16-bit grey may name one level that is clear: RGB and alpha then."""
    level = image.info.get("transparency")
    if not isinstance(level, int):
        return grey
    alpha = np.where(np.asarray(image) == level, 0, 255).astype(np.uint8)[..., None]
    return np.concatenate([np.repeat(grey, 3, axis=2), alpha], axis=2)


def _scaled_down(deep: NDArray[np.generic]) -> NDArray[np.uint8]:
    """16 bits to 8: 65535 becomes 255. Floats are taken to lie between 0 and 1."""
    factor = 255.0 if deep.dtype.kind == "f" else 1 / 257
    levels = np.nan_to_num(deep.astype(np.float32)) * factor
    eight: NDArray[np.uint8] = np.clip(levels + 0.5, 0, 255).astype(np.uint8)
    return eight[..., None]
