"""What a file of any format holds besides the pixels, and the file again with other metadata."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from PIL import Image

from pipelines.media.errors import SourceUnreadableError, SourceUnsupportedError
from pipelines.media.images.info import ImageFormat, ImageInfo
from pipelines.media.images.metadata import (
    avif_boxes,
    avif_rewriting,
    exif,
    gif_blocks,
    ifd,
    iptc,
    jpeg_segments,
    png_chunks,
    tiff_pages,
    webp_chunks,
)
from pipelines.media.images.metadata.blocks import Blocks, Pictures, changed
from pipelines.media.images.metadata.metadata_spec import MetadataSpec

_WRITABLE = "JPEG, PNG, WebP, AVIF, TIFF and GIF"


@dataclass(frozen=True)
class Held:
    """``others`` are the metadata of further pictures in the file; ``trailing_bytes`` stand behind its end."""

    blocks: Blocks = field(default_factory=Blocks)
    exif: ifd.Block = field(default_factory=ifd.Block)
    iptc: bytes | None = None
    others: tuple[Blocks, ...] = ()
    iso_gain_map: bool = False
    durations_ms: tuple[int, ...] = ()
    loops: int | None = None
    trailing_bytes: int = 0
    warnings: tuple[str, ...] = ()


def held_by(data: bytes, image: Image.Image) -> Held:
    """What the file ``data`` holds. Damage is told in ``warnings``."""
    try:
        held = _READERS[image.format or ""](data, image)
    except (SourceUnreadableError, SourceUnsupportedError) as error:
        held = Held(_from_pillow(image), warnings=(error.message,))
    block = held.exif
    if held.blocks.exif is not None:
        block = exif.parse(held.blocks.exif)
    if held.blocks.photoshop is not None:
        held = replace(held, iptc=iptc_of(held.blocks.photoshop))
    return replace(held, exif=block, warnings=(*held.warnings, *block.warnings))


def _from_pillow(image: Image.Image) -> Blocks:
    block, packet = image.info.get("exif"), image.info.get("xmp")
    return Blocks(
        exif=block if isinstance(block, bytes) and block else None,
        xmp=packet if isinstance(packet, bytes) and packet else None,
    )


def iptc_of(photoshop: bytes) -> bytes | None:
    """Photoshop's resources have it; some programs write the bare records."""
    return iptc.iptc_in(photoshop) or (photoshop if photoshop[:1] == b"\x1c" else None)


def _jpeg(data: bytes, _image: Image.Image) -> Held:
    first = jpeg_segments.parse(data)
    found, whole = jpeg_segments.others(data, first)
    pictures = list(found.values())
    end = pictures[-1].end if pictures else first.end
    return Held(
        blocks=jpeg_segments.blocks_of(first),
        others=tuple(jpeg_segments.blocks_of(each) for each in pictures),
        iso_gain_map=any(jpeg_segments.has_iso_gain_map(each) for each in pictures),
        trailing_bytes=len(data) - end,
        warnings=() if whole else ("Its index of pictures is damaged.",),
    )


def _png(data: bytes, _image: Image.Image) -> Held:
    png = png_chunks.parse(data)
    blocks, warnings = png_chunks.blocks_of(png)
    return Held(
        blocks=blocks,
        durations_ms=png_chunks.durations_ms(png),
        loops=png_chunks.loops(png),
        trailing_bytes=len(data) - png.end,
        warnings=warnings,
    )


def _webp(data: bytes, _image: Image.Image) -> Held:
    webp = webp_chunks.parse(data)
    return Held(
        blocks=webp_chunks.blocks_of(webp),
        durations_ms=webp_chunks.durations_ms(webp),
        loops=webp_chunks.loops(webp),
        trailing_bytes=len(data) - webp.end,
    )


def _gif(data: bytes, _image: Image.Image) -> Held:
    gif = gif_blocks.parse(data)
    return Held(
        blocks=gif_blocks.blocks_of(gif),
        durations_ms=gif_blocks.durations_ms(gif),
        loops=gif_blocks.loops(gif),
        trailing_bytes=len(data) - gif.end,
    )


def _tiff(data: bytes, _image: Image.Image) -> Held:
    """A TIFF file is its own EXIF; the directory after the first is a page, not a thumbnail."""
    block = ifd.parse(data, exif.STRUCTURE | {exif.ICC})
    packet, records = block.image.get(exif.XMP), block.image.get(exif.IPTC)
    return Held(
        blocks=Blocks(xmp=packet.raw if packet else None),
        exif=replace(ifd.without(block, exif.EMBEDDED), thumbnail={}, thumbnail_file=b""),
        iptc=records.raw if records else None,
    )


def _avif(data: bytes, _image: Image.Image) -> Held:
    avif = avif_boxes.parse(data)
    return Held(blocks=avif_boxes.blocks_of(data, avif), durations_ms=avif_boxes.durations_ms(data, avif))


def _others(_data: bytes, image: Image.Image) -> Held:
    return Held(_from_pillow(image))


_READERS: dict[str, Callable[[bytes, Image.Image], Held]] = {
    "JPEG": _jpeg,
    "MPO": _jpeg,
    "PNG": _png,
    "WEBP": _webp,
    "GIF": _gif,
    "TIFF": _tiff,
    "AVIF": _avif,
    "BMP": _others,
}


def rewritten(data: bytes, info: ImageInfo, spec: MetadataSpec, name: str) -> tuple[bytes, tuple[str, ...]]:
    """The file with its metadata changed as ``spec`` says, and warnings. Its pixels are the same bytes.

    Raises:
        SourceUnsupportedError: this isn't done to its format.
        SourceUnreadableError: its parts can't be told apart.
        LimitError: what is written doesn't fit.
    """
    bare = spec.strip != "nothing"

    def change(blocks: Blocks, pictures: Pictures) -> Blocks:
        return changed(blocks, spec, pictures, with_iptc=info.format == "jpeg")

    match info.format:
        case "jpeg":
            return jpeg_segments.rewritten(data, change, bare, keep_others=spec.other_pictures == "keep")
        case "png":
            return png_chunks.rewritten(data, change, bare), ()
        case "webp":
            return webp_chunks.rewritten(data, info.as_stored((info.width, info.height)), change, bare), ()
        case "tiff":
            return tiff_pages.rewritten(data, change, spec), ()
        case "avif":
            return avif_rewriting.rewritten(data, change, bare), ()
        case "gif":
            return gif_blocks.rewritten(data, change, bare), ()
    raise SourceUnsupportedError(
        f"{name} is {info.format.upper()}, whose metadata are only read here; {_WRITABLE} can be changed.",
        format=info.format,
    )


def with_blocks(data: bytes, format_: ImageFormat, size: tuple[int, int], blocks: Blocks) -> bytes:
    """A JPEG, PNG, WebP or AVIF of ``size`` (width, height) with ``blocks`` as its metadata, and no others.

    Raises:
        LimitError: they don't fit.
    """

    def change(_blocks: Blocks, _pictures: Pictures) -> Blocks:
        return blocks

    match format_:
        case "jpeg":
            return jpeg_segments.rewritten(data, change, True, keep_others=False)[0]
        case "png":
            return png_chunks.rewritten(data, change, True)
        case "webp":
            return webp_chunks.rewritten(data, size, change, True)
        case "avif":
            return avif_rewriting.rewritten(data, change, True)
    raise SourceUnsupportedError(f"{format_.upper()} gets no metadata here.", format=format_)
