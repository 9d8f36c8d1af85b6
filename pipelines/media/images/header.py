"""Tell what an image is by its content, and refuse what is too large, before a pixel is decoded."""

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, get_args

from PIL import Image, ImageCms, PngImagePlugin, TiffImagePlugin, UnidentifiedImageError

from pipelines.media.errors import LimitError, NotMediaError, SourceUnreadableError, SourceUnsupportedError
from pipelines.media.images.avif_properties import code_points_and_bits
from pipelines.media.images.cicp import is_hdr, profile_for
from pipelines.media.images.info import ColourModel, ImageFormat, ImageInfo
from pipelines.media.images.metadata import gif_blocks
from pipelines.media.source import Source, name_of, open_file, size_of

# Pillow's names. Left out on purpose: what runs programs (EPS, WMF), what is text or vector, and formats whose readers
# nobody keeps.
_FORMATS: dict[str, ImageFormat] = {
    "JPEG": "jpeg",
    "MPO": "jpeg",
    "PNG": "png",
    "WEBP": "webp",
    "GIF": "gif",
    "TIFF": "tiff",
    "BMP": "bmp",
    "AVIF": "avif",
}
_OPENED = tuple(each for each in _FORMATS if each != "MPO")  # the JPEG plugin finds out that it's several pictures
MAX_PIXELS = 100_000_000
_MEGAPIXELS = f"the {MAX_PIXELS // 1_000_000} megapixels that are dealt with"
MAX_SIDE = 65_500
_MAX_BYTES = 256 << 20
_MAX_PAGES = 1000
MAX_PROFILE_BYTES = 4 << 20
_MAX_NAME = 200  # of a profile
_ORIENTATION, _BITS_PER_SAMPLE = 0x0112, 0x0102
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # what such a file begins with, by byte order; + of more than 4 GiB
PHOTOMETRIC, WHITE_IS_ZERO = 0x0106, 0  # TIFF's tag of what levels mean, and a value of it
_GREY = frozenset({"1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I", "F"})
_ALPHA = frozenset({"RGBA", "RGBa", "LA", "La", "PA"})
DEEP = frozenset({"I;16", "I;16B", "I;16L", "I", "F"})

_POINTS, _BITS = "cicp", "bits"  # in Pillow's ``info``: the colour space's code points (H.273), an AVIF's depth

# What Pillow raises of damaged files, by plugin.
_DAMAGED = (
    OSError,
    EOFError,
    RuntimeError,
    SyntaxError,
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    struct.error,
    ZeroDivisionError,
)

# Pillow looks before it makes room for frames too; it refuses twice as many as it warns of.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2
warnings.simplefilter("ignore", Image.DecompressionBombWarning)


def _keep_points(stream: PngImagePlugin.PngStream, _at: int, size: int) -> bytes:
    """Read a PNG's chunk cICP, as Pillow's own methods do for other chunks."""
    assert stream.fp is not None
    read: bytes = stream.fp.read(size)
    stream.im_info[_POINTS] = (read[0], read[1]) if len(read) == 4 else None
    return read


PngImagePlugin.PngStream.chunk_cICP = _keep_points  # type: ignore[attr-defined]  # Pillow finds it by this name


def look(source: Source) -> ImageInfo:
    """What the image ``source`` is; only its header is read. Raises as ``bytes_of`` and ``open_image``."""
    with _opened(source) as file, open_image(file, name_of(source)) as image:
        return describe(image, name_of(source))


def bytes_of(source: Source) -> bytes:
    """The whole file.

    Raises:
        SourceError: see ``source.open_file``.
        LimitError: it's too large.
    """
    with _opened(source) as file:
        return file.read()


@contextmanager
def _opened(source: Source) -> Iterator[BinaryIO]:
    with io.BufferedReader(open_file(source)) as file:
        size_bytes = size_of(source)
        if size_bytes > _MAX_BYTES:
            raise LimitError(f"{name_of(source)} has {size_bytes >> 20} MiB; at most {_MAX_BYTES >> 20} are read.")
        yield file


@contextmanager
def open_image(data: bytes | BinaryIO, name: str) -> Iterator[Image.Image]:
    """Pillow's image of a file or its bytes, its pixels not decoded yet.

    Raises:
        NotMediaError: no format that is read here.
        SourceUnsupportedError: a TIFF of a kind that isn't.
        SourceUnreadableError: its header is damaged.
        LimitError: it has too many pixels, or blocks of a GIF.
    """
    with reading(name):
        try:
            file = io.BytesIO(data) if isinstance(data, bytes) else data
            image = Image.open(file, formats=_OPENED)
        except UnidentifiedImageError as error:
            if _is_tiff(file):
                raise SourceUnsupportedError(
                    f"{name} is a TIFF of a kind that isn't read here, as those of 12 bits a channel in colour, "
                    "or its header is damaged. Save it with 8 or 16 bits a channel.",
                    format="tiff",
                ) from error
            known = ", ".join(sorted({each.upper() for each in get_args(ImageFormat)}))
            raise NotMediaError(f"{name} is no image of a format that is read here ({known}).") from error
    with image:
        check_size(image.size, name)
        if image.format == "GIF":
            _check_blocks(file)
        if image.format == "AVIF":  # whose bytes Pillow has read all
            image.info[_POINTS], image.info[_BITS] = code_points_and_bits(file)
        yield image


def _is_tiff(file: BinaryIO) -> bool:
    file.seek(0)
    return file.read(4) in _TIFF


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Inside, Pillow reads ``name``: what it raises becomes LimitError or SourceUnreadableError."""
    try:
        yield
    except Image.DecompressionBombError as error:
        raise LimitError(f"{name} has more than {_MEGAPIXELS}.") from error
    except _DAMAGED as error:
        raise SourceUnreadableError(f"{name} is damaged: {error}.") from error


def check_size(size: tuple[int, int], name: str) -> None:
    """Raise LimitError where an image has too many pixels."""
    width, height = size
    if width * height > MAX_PIXELS or max(size) > MAX_SIDE:
        raise LimitError(
            f"{name} has {width}x{height} pixels, more than {_MEGAPIXELS}.",
            width=width,
            height=height,
        )


def _check_blocks(file: BinaryIO) -> None:
    """Pillow goes through all of them, one by one, to tell how many frames there are."""
    at = file.tell()
    file.seek(0)
    gif_blocks.check_count(file.read())
    file.seek(at)


def describe(image: Image.Image, name: str, frame: int = 0) -> ImageInfo:
    """What the header tells of ``frame`` (from 0; of what has fewer, the last), which is then the image's current one.

    Raises as ``open_image``: a later page may be larger than the first.
    """
    with reading(name):
        frames = _frames(image, name)
        image.seek(min(frame, frames - 1))
        _drop_odd_blocks(image)
        bits = _bits(image)  # before EXIF: Pillow decodes a PNG to look for it, and forgets how it was stored
        orientation = _orientation(image)
    check_size(image.size, name)
    stored = image.format or ""
    width, height = image.size
    if orientation >= 5 and stored != "TIFF":  # Pillow tells a TIFF's size as shown
        width, height = height, width
    return ImageInfo(
        format=_FORMATS[stored],
        width=width,
        height=height,
        orientation=orientation,
        colour=_colour(image),
        bits=bits,
        alpha=image.mode in _ALPHA or "transparency" in image.info,
        palette=image.mode in ("P", "PA"),
        progressive=bool(image.info.get("progressive")),
        frames=frames,
        profile=_profile_name(image),
        hdr=is_hdr(image.info.get(_POINTS)),
        gain_map=b"hdrgm" in (image.info.get("xmp") or b""),
    )


def _frames(image: Image.Image, name: str) -> int:
    """How many. A TIFF's pages are a chain that is as long as it is: it's followed so far, page by page.

    Pillow tells a wrong number after it was sent further than there are pages. The further pictures of an MPO (a
    gain map, another view, a preview) are no frames of the first.
    """
    if image.format == "MPO":
        return 1
    if image.format != "TIFF":
        return getattr(image, "n_frames", 1)
    for page in range(1, _MAX_PAGES + 1):
        try:
            image.seek(page)
        except EOFError:
            return page
    raise LimitError(f"{name} has more than {_MAX_PAGES} pages.")


def _drop_odd_blocks(image: Image.Image) -> None:
    """A TIFF's tag may be of any type, as a text, which neither Pillow's EXIF nor anything else here can take."""
    for key in ("xmp", "icc_profile"):
        if not isinstance(image.info.get(key), bytes):
            image.info.pop(key, None)


def _orientation(image: Image.Image) -> int:
    """EXIF's: 1 where it is missing or means nothing."""
    value: Any = image.getexif().get(_ORIENTATION)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _colour(image: Image.Image) -> ColourModel:
    if image.mode in _GREY:
        return "grey"
    return "cmyk" if image.mode == "CMYK" else "rgb"


def _bits(image: Image.Image) -> int:
    """Of one channel as stored: Pillow makes 8 of what has 16 and is coloured, and of all AVIF."""
    if image.format == "AVIF":
        return image.info[_BITS] or 8
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return int(max(image.tag_v2.get(_BITS_PER_SAMPLE, (1,))))
    if isinstance(image, PngImagePlugin.PngImageFile) and image.tile:
        # How a decoder is to take what is stored: RGB;16B, P;4, 1.
        raw_mode = str(image.tile[0].args)
        _, _, told = raw_mode.partition(";")
        return 1 if raw_mode == "1" else int(told.rstrip("BL") or 8)
    return 16 if image.mode in DEEP else 1 if image.mode == "1" else 8


def profile_of(image: Image.Image) -> bytes | None:
    """The ICC profile, where there is one of a size that makes sense, or one made of code points.

    In PNG these come first (3rd edition, 4.3), in AVIF the profile does (ISO/IEC 23000-22).
    """
    profile, points = image.info.get("icc_profile"), image.info.get(_POINTS)
    if points is not None and (image.format == "PNG" or not profile):
        return profile_for(points)
    return profile if profile and len(profile) <= MAX_PROFILE_BYTES else None


def _profile_name(image: Image.Image) -> str | None:
    profile = profile_of(image)
    if profile is None:
        return None
    try:
        name = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile))).strip()
    except (ImageCms.PyCMSError, OSError, ValueError):
        return "unreadable"
    return name[:_MAX_NAME] or "unnamed"
