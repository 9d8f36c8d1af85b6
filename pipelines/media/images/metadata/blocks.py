"""The metadata of an image file as blocks of bytes, whatever its format, and what a policy makes of them."""

from collections.abc import Callable
from dataclasses import dataclass

from pipelines.media.errors import LimitError
from pipelines.media.images.metadata import exif, ifd, iptc, xmp, xmp_changes
from pipelines.media.images.metadata.metadata_spec import MetadataSpec, Strip

_KEPT_TEXTS = frozenset({"author", "copyright", "creation time"})


@dataclass(frozen=True)
class Blocks:
    """``exif`` is without what it begins with in a JPEG; ``texts`` are PNG's, with their keywords."""

    exif: bytes | None = None
    xmp: bytes | None = None
    more_xmp: bytes | None = None
    photoshop: bytes | None = None
    texts: tuple[tuple[str, str], ...] = ()
    comments: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Pictures:
    """What a changed file holds besides the picture whose blocks these are. ``first``: it's the one that is shown.

    ``gain_map``: pictures besides the first are kept, and so is what tells of them.
    """

    first: bool = True
    gain_map: bool = True
    gain_map_bytes: int | None = None


Change = Callable[[Blocks, Pictures], Blocks]  # what becomes of a picture's metadata


def changed(blocks: Blocks, spec: MetadataSpec, pictures: Pictures, with_iptc: bool) -> Blocks:
    """The blocks that a changed file has."""
    writes = spec if spec.writes and pictures.first else None
    more = blocks.more_xmp if _keeps_more(blocks.more_xmp, spec.strip) else None
    return Blocks(
        exif=_exif(blocks.exif, spec.strip, writes),
        xmp=_xmp(blocks.xmp, spec.strip, writes, pictures, more_gone=more is None),
        more_xmp=more,
        photoshop=_photoshop(blocks.photoshop, spec.strip, writes if with_iptc else None),
        texts=tuple(each for each in blocks.texts if _keeps_text(*each, spec.strip)),
        comments=tuple(each for each in blocks.comments if _keeps_comment(each, spec.strip)),
    )


def _exif(data: bytes | None, strip: Strip, writes: MetadataSpec | None) -> bytes | None:
    if writes is None and (data is None or strip == "nothing"):
        return data
    block = exif.stripped(exif.parse(data) if data else ifd.Block(), strip)
    return ifd.serialise(exif.with_values(block, writes) if writes else block) or None


def _xmp(
    data: bytes | None, strip: Strip, writes: MetadataSpec | None, pictures: Pictures, more_gone: bool
) -> bytes | None:
    if data is None and writes is None:
        return None
    packet = _packet(data)
    if strip == "nothing" and writes is None and pictures.gain_map:
        return data
    xmp_changes.strip(packet, strip, pictures.gain_map)
    if not pictures.gain_map:
        xmp_changes.without_gain_map(packet)
    if more_gone:
        xmp_changes.without_more(packet)
    if pictures.gain_map_bytes is not None and pictures.first:
        xmp_changes.set_gain_map_bytes(packet, pictures.gain_map_bytes)
    if writes:
        xmp_changes.set_values(packet, writes)
    return xmp.serialise(packet) or None


def _packet(data: bytes | None) -> xmp.Packet:
    try:
        return xmp.parse(data) if data else xmp.empty()
    except xmp.XmpError:  # reading has told of it
        return xmp.empty()


def _keeps_more(data: bytes | None, strip: Strip) -> bool:
    if strip == "nothing":
        return True
    try:
        return strip == "gps" and data is not None and not xmp_changes.has_gps(xmp.parse(data))
    except xmp.XmpError:
        return False


def _photoshop(data: bytes | None, strip: Strip, writes: MetadataSpec | None) -> bytes | None:
    if strip == "nothing" and writes is None:
        return data
    if strip == "all" and writes is None:
        return None
    records, _ = iptc.parse(iptc.iptc_in(data or b"") or b"")
    records = iptc.stripped(records, strip)
    records = iptc.with_values(records, writes) if writes else records
    kept = b"" if strip == "all" else data or b""
    return iptc.with_iptc(kept, iptc.serialise(records), bare=strip != "nothing") or None


def _keeps_text(keyword: str, text: str, strip: Strip) -> bool:
    if strip == "nothing":
        return True
    if keyword.lower().startswith(("raw profile type", "xml:")) or exif.PLACE.search(f"{keyword} {text}"):
        return False
    return strip == "gps" or (strip == "private" and keyword.lower() in _KEPT_TEXTS)


def _keeps_comment(comment: bytes, strip: Strip) -> bool:
    return strip == "nothing" or (strip == "gps" and not exif.PLACE.search(comment.decode("latin-1")))


def places_in(blocks: Blocks) -> list[str]:
    """The names of those blocks that tell a place, or might."""
    found = []
    if blocks.exif and exif.has_gps(exif.parse(blocks.exif)):
        found.append("EXIF")
    for packet in (blocks.xmp, blocks.more_xmp):
        try:
            if packet and xmp_changes.has_gps(xmp.parse(packet)):
                found.append("XMP")
        except xmp.XmpError:
            found.append("XMP")
    records, _ = iptc.parse(iptc.iptc_in(blocks.photoshop or b"") or b"")
    if any(iptc.is_place(each) for each in records):
        found.append("IPTC")
    if any(exif.PLACE.search(f"{keyword} {text}") for keyword, text in blocks.texts):
        found.append("text")
    if any(exif.PLACE.search(each.decode("latin-1")) for each in blocks.comments):
        found.append("comment")
    return found


def check_bytes(what: str, data: bytes | None, limit_bytes: int) -> None:
    """Raise LimitError where a block doesn't fit."""
    if data is not None and len(data) > limit_bytes:
        raise LimitError(f"Its {what} would have {len(data)} bytes; the format takes {limit_bytes}. Strip some of it.")
