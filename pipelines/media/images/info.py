"""What an image file holds, read from its header, and what operations on images return."""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator
from pydantic.color import COLORS_BY_NAME

ImageFormat = Literal["jpeg", "png", "webp", "gif", "tiff", "bmp", "avif"]
MEDIA_TYPES: dict[ImageFormat, str] = {
    format_: f"image/{format_}" for format_ in ("jpeg", "png", "webp", "gif", "tiff", "bmp", "avif")
}
EXTENSIONS: dict[ImageFormat, str] = {
    **{format_: format_ for format_ in ("png", "webp", "gif", "bmp", "avif")},
    "jpeg": "jpg",
    "tiff": "tif",
}
# How files in a folder are named that are taken for images; what they are is told by their content.
SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif"),
        *(".tif", ".tiff", ".bmp", ".avif", ".avifs"),
    )
)
# Of images too, which aren't read here: in a folder they are told.
OTHER_SUFFIXES = frozenset(
    (
        *(".heic", ".heif", ".hif", ".jxl", ".jp2", ".j2k", ".psd", ".svg", ".ico", ".eps", ".tga", ".exr", ".hdr"),
        *(".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf", ".pef", ".srw"),
    )
)
_ANIMATED = frozenset({"gif", "webp", "png", "avif"})  # the pages of a TIFF have no time
MAX_FRAMES, MAX_FRAME_PIXELS = 300, 100_000_000  # of an animation, in all, that are dealt with
ColourModel = Literal["grey", "rgb", "cmyk"]
_HEX = re.compile(r"#(?:[0-9a-f]{3}|([0-9a-f]{6}))")


def parse_colour(value: object) -> str:
    """``#rrggbb`` of a colour as CSS has it: ``#ff8000``, ``#f80``, or one of its names, as ``red``."""
    text = str(value).strip().lower()
    if named := COLORS_BY_NAME.get(text):
        return "#" + bytes(named).hex()
    if (match := _HEX.fullmatch(text)) is None:
        raise ValueError(f"{value!r} is no colour; give red, green and blue in hexadecimal, as #ff8000, or a name")
    return text if match[1] else "#" + "".join(2 * digit for digit in text[1:])


Colour = Annotated[str, BeforeValidator(parse_colour)]


class ImageInfo(BaseModel, frozen=True, extra="forbid"):
    """An image as its header tells it. ``width`` and ``height`` are as shown: the orientation is applied.

    ``orientation`` is EXIF's, 1 to 8; ``bits`` are of one channel as stored. ``profile`` is the name of the embedded
    ICC profile, or of the colour space that AVIF and PNG may tell instead (ITU-T H.273), where it isn't sRGB. ``hdr``:
    its levels are PQ's or HLG's; ``gain_map``: an SDR picture with what makes it HDR. ``frames`` is 1 for a still.
    """

    format: ImageFormat
    width: int
    height: int
    orientation: int = 1
    colour: ColourModel
    bits: int = 8
    alpha: bool = False
    palette: bool = False
    progressive: bool = False
    frames: int = 1
    profile: str | None = None
    hdr: bool = False
    gain_map: bool = False

    @property
    def is_moving(self) -> bool:
        return self.frames > 1 and self.format in _ANIMATED

    def as_stored(self, shown: tuple[int, int]) -> tuple[int, int]:
        """A width and height as shown, as they are before the orientation is applied."""
        return (shown[1], shown[0]) if self.orientation >= 5 else shown


class Box(BaseModel, frozen=True, extra="forbid"):
    """A part of a picture, in fractions of its width and height."""

    x: float
    y: float
    width: float
    height: float


class ImageFile(BaseModel, frozen=True, extra="forbid"):
    """A file made of an image. ``name`` follows the source's own without its extension: ``-square.jpg``, ``.webp``."""

    name: str
    format: ImageFormat
    width: int
    height: int
    size_bytes: int


class ImageResult(BaseModel, frozen=True, extra="forbid"):
    """What an operation tells of one image; each has a model of its own with more."""

    source: ImageInfo
    files: tuple[ImageFile, ...] = ()
    warnings: tuple[str, ...] = ()
