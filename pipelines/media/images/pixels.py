"""Decode an image to 8-bit pixels, no more of them than are needed."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import SAMPLEFORMAT, TiffImageFile

from pipelines.media.errors import LimitError, SourceUnreadableError
from pipelines.media.images.colour import is_srgb, print_to_srgb, to_srgb
from pipelines.media.images.header import DEEP, PHOTOMETRIC, WHITE_IS_ZERO, profile_of, reading
from pipelines.media.images.info import ImageInfo
from pipelines.media.images.scaling import halvings

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
_SIGNED = 2  # of TIFF's sample formats
_DEEP_PNG = 16  # bits

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
        stored = image
        if info.format != "jpeg":
            stored, span = _lessened(ImageOps.exif_transpose(image) if info.orientation != 1 else image, needed)
        array, left = _eight_bits(stored, foreign, info.bits, signed=_is_signed(image))
    if _white_is_zero(image):
        array = 255 - array
    return Pixels(array, span, info.orientation if info.format == "jpeg" else 1, left)


def _lessened(image: Image.Image, needed: tuple[int, int]) -> tuple[Image.Image, tuple[float, float]]:
    """A plain image with the fewer pixels that ``scaled`` would begin with, before they become an array; its span."""
    across, down = halvings(image.size, needed)
    if image.mode not in ("L", "RGB") or "transparency" in image.info or (across, down) == (1, 1):
        return image, image.size
    return image.reduce((across, down)), (image.width / across, image.height / down)


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


def _eight_bits(
    image: Image.Image, profile: bytes | None, bits: int, *, signed: bool
) -> tuple[NDArray[np.uint8], bytes | None]:
    """Pixels of any of Pillow's modes, and the profile that they are left in. ``bits`` are of a channel as stored."""
    clear = image.info.get("transparency")
    if image.mode in DEEP:
        levels = _levels(image, signed=signed)
        return _with_clear(_scaled_down(levels, bits), levels == clear if isinstance(clear, int) else None), profile
    if isinstance(clear, int | tuple) and image.mode in ("L", "RGB"):
        pixels = np.asarray(image)
        colours = pixels[..., None] if pixels.ndim == 2 else pixels
        return _with_clear(colours, (colours == _clear_level(clear, bits)).all(axis=2)), profile
    if image.mode in _CLEAR or clear is not None:
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


def _is_signed(image: Image.Image) -> bool:
    """Whether a TIFF's levels may lie below 0."""
    return isinstance(image, TiffImageFile) and _SIGNED in image.tag_v2.get(SAMPLEFORMAT, ())


def _with_clear(colours: NDArray[np.uint8], clear: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    """RGB and alpha, where some pixels (height, width) are clear: a PNG may name one level or colour that is."""
    if clear is None:
        return colours
    alpha = np.where(clear, 0, 255).astype(np.uint8)[..., None]
    return np.concatenate([np.repeat(colours, 3, axis=2) if colours.shape[2] == 1 else colours, alpha], axis=2)


def _clear_level(level: int | tuple[int, ...], bits: int) -> NDArray[np.int64]:
    """The level that is clear, told in ``bits``, in the 8 that Pillow makes of them: of 16, the upper ones."""
    told = np.asarray(level)
    return told >> 8 if bits == _DEEP_PNG else told * 255 // (2**bits - 1)


def _levels(image: Image.Image, *, signed: bool) -> NDArray[np.generic]:
    """Deep grey. Pillow has 32 bits without a sign as numbers with one."""
    levels = np.asarray(image)
    return levels if levels.dtype != np.int32 or signed else levels.view(np.uint32)


def _scaled_down(deep: NDArray[np.generic], bits: int) -> NDArray[np.uint8]:
    """To 8 bits: 0 is black, the highest level of ``bits`` white. Floats are taken to lie between 0 and 1."""
    highest = {"f": 1, "u": 2**bits - 1, "i": 2 ** (bits - 1) - 1}[deep.dtype.kind]
    levels = np.nan_to_num(deep.astype(np.float32)) * np.float32(255 / highest)
    eight: NDArray[np.uint8] = np.clip(levels + 0.5, 0, 255).astype(np.uint8)
    return eight[..., None]
