"""PNG of 16 bits a channel: read by OpenCV, as Pillow has 8 of most; changed and written by libvips."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pyvips
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from pipelines.media.errors import EncodeError, SourceUnreadableError
from pipelines.media.images.colour import fits, is_srgb, rgb_of_hex
from pipelines.media.images.conversion.convert_spec import ConvertSpec, Effort
from pipelines.media.images.conversion.frames import Frames
from pipelines.media.images.header import PHOTOMETRIC, WHITE_IS_ZERO, profile_of
from pipelines.media.images.info import ImageInfo

_COMPRESSION: dict[Effort, int] = {"fast": 3, "normal": 6, "best": 9}
_BLACK_IS_ZERO, _RGB = 1, 2
_PLANES, _EXTRA_SAMPLES = 0x011C, 0x0152
_PREMULTIPLIED = 1
_Tiff = TiffImagePlugin.TiffImageFile


@dataclass(frozen=True)
class Deep:
    """``array`` is (height, width, channel) uint16: 1 grey, 3 RGB, 4 RGB and alpha.

    ``orientation`` is what is still to be done to show it (EXIF, 1 to 8); ``profile`` is its ICC profile, where that
    isn't sRGB. ``premultiplied``: colours are less where they are clear.
    """

    array: NDArray[np.uint16]
    orientation: int
    profile: bytes | None
    premultiplied: bool = False


def deep_pixels(data: bytes, image: Image.Image, frames: Frames) -> Deep | None:
    """The pixels of a still of 16 bits, which ``image`` is at; None where it has fewer, or is of an unusual kind."""
    info = frames.info
    if frames.timing is not None or info.bits != 16:
        return None
    if info.format == "png" and info.frames == 1:
        levels, orientation, premultiplied = _png(data, image), info.orientation, False
    elif isinstance(image, _Tiff) and _is_plain(image):
        # OpenCV turns a TIFF, and whatever is asked.
        levels, orientation = _tiff(data, image, frames.first), 1
        premultiplied = image.tag_v2.get(_EXTRA_SAMPLES) == (_PREMULTIPLIED,)
    else:
        return None
    if levels is None or levels.dtype != np.uint16 or levels.shape[:2] != _size(info, orientation):
        return None
    array = levels[..., None] if levels.ndim == 2 else levels[..., [2, 1, 0, 3][: levels.shape[2]]]
    array = array if info.alpha else array[..., :3]
    profile = profile_of(image)
    return Deep(array, orientation, profile if profile and not is_srgb(profile) else None, premultiplied)


def _size(info: ImageInfo, orientation: int) -> tuple[int, int]:
    """Height and width of pixels that are still to be turned."""
    return (info.width, info.height) if orientation >= 5 else (info.height, info.width)


def _png(data: bytes, image: Image.Image) -> NDArray[Any] | None:
    levels = _decoded(data)
    clear = image.info.get("transparency")
    if levels is None or levels.ndim == 3 or not isinstance(clear, int):
        return levels
    # Of grey, one level may be clear.
    alpha = np.where(levels == clear, 0, 65535).astype(levels.dtype)
    return np.dstack([levels, levels, levels, alpha])


def _decoded(data: bytes) -> NDArray[Any] | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None


def _is_plain(image: _Tiff) -> bool:
    """Grey, RGB or RGBA, whose samples stand side by side."""
    tags = image.tag_v2
    channels = (3, 4) if tags.get(PHOTOMETRIC) == _RGB else (1,)
    known = tags.get(PHOTOMETRIC) in (WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB)
    return known and tags.get(_PLANES, 1) == 1 and len(image.getbands()) in channels


def _tiff(data: bytes, image: _Tiff, page: int) -> NDArray[Any] | None:
    try:
        _, pages = cv2.imdecodemulti(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED, range=(page, page + 1))
    except cv2.error:
        return None
    if not pages:
        return None
    return 65535 - pages[0] if image.tag_v2.get(PHOTOMETRIC) == WHITE_IS_ZERO else pages[0]


def deep_png(deep: Deep, size: tuple[int, int], spec: ConvertSpec, name: str) -> bytes:
    """The picture with all its bits, upright, in sRGB, of ``size`` (width, height).

    Raises:
        SourceUnreadableError: its colours can't be changed.
        EncodeError: it can't be written.
    """
    try:
        image = _turned(_in_srgb(deep), deep.orientation)
        if spec.background is not None and image.hasalpha():
            levels = [level * 257 for level in rgb_of_hex(spec.background)]
            image = image.colourspace("rgb16").flatten(background=levels, max_alpha=65535).cast("ushort")
        image = image.copy_memory()
    except pyvips.Error as error:
        raise SourceUnreadableError(f"{name} is damaged: {error.message.strip()}.") from error
    try:
        scaled = _scaled(image, size)
        made: bytes = scaled.pngsave_buffer(bitdepth=16, compression=_COMPRESSION[spec.effort], keep="none")
    except pyvips.Error as error:
        raise EncodeError(f"A picture can't be written as png: {error.message.strip()}.") from error
    return made


def _in_srgb(deep: Deep) -> Any:
    """As it is where the profile doesn't fit it."""
    array, profile = deep.array, deep.profile
    if profile is None:
        return _vips(deep, array)
    colours = array[..., :3]
    if fits(profile, "L") and (colours == colours[..., :1]).all():
        array = np.concatenate([array[..., :1], array[..., 3:]], axis=2)
    elif array.shape[2] == 1 or not fits(profile, "RGB"):
        return _vips(deep, array)
    image = _vips(deep, array)
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    return image.icc_transform("srgb", embedded=True, intent="perceptual", black_point_compensation=True, depth=16)


def _vips(deep: Deep, array: NDArray[np.uint16]) -> Any:
    height, width, bands = array.shape
    image = pyvips.Image.new_from_memory(np.ascontiguousarray(array), width, height, bands, "ushort")
    image = image.copy(interpretation="grey16" if bands < 3 else "rgb16")
    return image.unpremultiply(max_alpha=65535).cast("ushort") if deep.premultiplied and image.hasalpha() else image


def _turned(image: Any, orientation: int) -> Any:
    image = image.copy()
    image.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    return image.autorot()


def _scaled(image: Any, size: tuple[int, int]) -> Any:
    """With alpha, hidden colours don't show at edges."""
    if (image.width, image.height) == size:
        return image
    across, down = size[0] / image.width, size[1] / image.height
    if not image.hasalpha():
        return image.resize(across, vscale=down, kernel="lanczos3").cast("ushort")
    mixed = image.premultiply(max_alpha=65535).resize(across, vscale=down, kernel="lanczos3")
    return mixed.unpremultiply(max_alpha=65535).cast("ushort").copy(interpretation=image.interpretation)
