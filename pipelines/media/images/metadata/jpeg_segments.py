"""JPEG files as segments: their metadata, and the same pixels with other metadata.

What is compressed is copied. A file may hold several pictures (CIPA DC-007, "MPF"): each has metadata of its own, and
an index in the first tells where they are, in bytes that are counted from that index.
"""

import re
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from pipelines.media.errors import SourceUnreadableError
from pipelines.media.images.metadata import ifd, iptc
from pipelines.media.images.metadata.blocks import Blocks, Change, Pictures, check_bytes
from pipelines.media.images.metadata.exif import PREFIX

_SOI, _EOI, _SOS, _COM = 0xD8, 0xD9, 0xDA, 0xFE
_APP0, _APP1, _APP2, _APP13, _APP14 = 0xE0, 0xE1, 0xE2, 0xED, 0xEE
_JFIF, _JFXX = b"JFIF\0", b"JFXX\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_MORE_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_MPF, _ICC, _ISO_MAP = b"MPF\0", b"ICC_PROFILE\0", b"urn:iso:std:iso:ts:21496:-1\0"
_ENTRIES = 0xB002
MAX_SEGMENT_BYTES = 65_533  # of payload
MAX_MORE_XMP_BYTES = 16 << 20
MAX_PICTURES = 64
MAX_SEGMENTS = 50_000
_FILL = re.compile(rb"\xff+(?=\xff)")  # before a marker
_ENDS_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")


@dataclass(frozen=True)
class Segment:
    """A marker and what it has; ``scan`` is what is compressed after it."""

    marker: int
    payload: bytes
    scan: bytes = b""

    @property
    def is_metadata(self) -> bool:
        return self.marker == _COM or _APP0 <= self.marker <= 0xEF

    @property
    def begins_file(self) -> bool:
        return self.marker == _APP0 and self.payload.startswith((_JFIF, _JFXX))


@dataclass(frozen=True)
class Jpeg:
    """One picture's segments, and where its file ends; ``mpf_at`` is where its index of pictures counts from."""

    segments: tuple[Segment, ...]
    end: int
    mpf_at: int | None = None


def parse(data: bytes, at: int = 0) -> Jpeg:
    """Read the picture that begins at ``at``.

    Raises:
        SourceUnreadableError: its segments can't be told apart.
    """
    if data[at : at + 2] != b"\xff\xd8":
        raise SourceUnreadableError("A picture in a JPEG file doesn't begin as one.")
    segments: list[Segment] = []
    mpf_at = None
    at += 2
    while at < len(data):
        if filled := _FILL.match(data, at):
            at = filled.end()
        if data[at : at + 1] != b"\xff" or at + 2 > len(data):
            raise SourceUnreadableError("A JPEG file's segments are damaged.")
        marker = data[at + 1]
        at += 2
        if marker == _EOI:
            return Jpeg(tuple(segments), at, mpf_at)
        if marker in (0x01, *range(0xD0, 0xD8)):
            continue
        size = int.from_bytes(data[at : at + 2], "big")
        if size < 2 or at + size > len(data):
            raise SourceUnreadableError("A JPEG file's segments are damaged.")
        payload = data[at + 2 : at + size]
        if marker == _APP2 and payload.startswith(_MPF) and mpf_at is None:
            mpf_at = at + 2 + len(_MPF)
        at += size
        scan_end = at
        if marker == _SOS:
            match = _ENDS_SCAN.search(data, at)
            scan_end = match.start() if match else len(data)
        segments.append(Segment(marker, payload, data[at:scan_end]))
        if len(segments) > MAX_SEGMENTS:
            raise SourceUnreadableError(f"A JPEG file has more than {MAX_SEGMENTS} segments.")
        at = scan_end
    return Jpeg(tuple(segments), at, mpf_at)  # cut off: decoders tell


def blocks_of(jpeg: Jpeg) -> Blocks:
    """Its metadata."""
    exif = b"".join(each.payload[len(PREFIX) :] for each in _starting(jpeg, _APP1, PREFIX))
    packets = [each.payload[len(_XMP) :] for each in _starting(jpeg, _APP1, _XMP)]
    photoshop = b"".join(each.payload[len(iptc.PHOTOSHOP) :] for each in _starting(jpeg, _APP13, iptc.PHOTOSHOP))
    return Blocks(
        exif=exif or None,
        xmp=packets[0] if packets else None,
        more_xmp=_more_xmp(jpeg),
        photoshop=photoshop or None,
        comments=tuple(each.payload for each in jpeg.segments if each.marker == _COM),
    )


def _starting(jpeg: Jpeg, marker: int, start: bytes) -> Iterator[Segment]:
    return (each for each in jpeg.segments if each.marker == marker and each.payload.startswith(start))


def _more_xmp(jpeg: Jpeg) -> bytes | None:
    """The packet that didn't fit into one segment: parts with an identifier, the whole's length and their offsets."""
    out = bytearray()
    for each in _starting(jpeg, _APP1, _MORE_XMP):
        head = len(_MORE_XMP) + 32
        if len(each.payload) < head + 8:
            continue
        length, offset = struct.unpack_from(">LL", each.payload, head)
        part = each.payload[head + 8 :]
        if length > MAX_MORE_XMP_BYTES or offset + len(part) > length:
            continue
        out.extend(bytes(max(0, offset + len(part) - len(out))))
        out[offset : offset + len(part)] = part
    return bytes(out) or None


def has_iso_gain_map(jpeg: Jpeg) -> bool:
    return any(_starting(jpeg, _APP2, _ISO_MAP))


def others(data: bytes, first: Jpeg) -> tuple[dict[int, Jpeg], bool]:
    """Pictures besides the first by where they begin, in their order, and whether the index tells all of them right."""
    if first.mpf_at is None:
        return {}, True
    entries = _entries(_index_of(first))
    if entries is None:
        return {}, False
    found: dict[int, Jpeg] = {}
    end = first.end
    for start in sorted({first.mpf_at + offset for _, offset in entries[1:]}):
        if start < end:  # it would be in another's middle
            return found, False
        try:
            found[start] = parse(data, start)
        except SourceUnreadableError:
            return found, False
        end = found[start].end
    return found, len(found) == len(entries) - 1


def _index_of(jpeg: Jpeg) -> bytes:
    return next(_starting(jpeg, _APP2, _MPF)).payload[len(_MPF) :]


def _entries(index: bytes) -> list[tuple[int, int]] | None:
    """Sizes and offsets that an index has; None: it's damaged."""
    order, fields = ifd.first_directory(index)
    found = fields.get(_ENTRIES)
    if found is None or found.at is None or len(found.raw) % 16 or len(found.raw) > 16 * MAX_PICTURES:
        return None
    return [struct.unpack_from(order + "LL", found.raw, at + 4) for at in range(0, len(found.raw), 16)]


def rewritten(data: bytes, change: Change, bare: bool, keep_others: bool) -> tuple[bytes, tuple[str, ...]]:
    """The file with changed metadata, and what is to be told of it.

    ``bare``: of segments that nobody here knows, of what stands between and behind pictures, nothing is kept.

    Raises:
        SourceUnreadableError: its segments can't be told apart.
        LimitError: the changed metadata don't fit.
    """
    first = parse(data)
    found, whole = others(data, first)
    warnings = () if whole else ("Its index of pictures is damaged; it and they are left out.",)
    kept = found if keep_others and whole else {}
    made: list[bytes] = []
    gaps: list[bytes] = []
    end = first.end
    for start, other in kept.items():
        blocks = change(blocks_of(other), Pictures(first=False))
        made.append(_assembled(other, blocks, bare, with_index=True))
        gaps.append(b"" if bare else data[end:start])
        end = other.end
    same = not bare and whole and len(kept) == len(found)  # of the pictures nothing is taken away
    pictures = Pictures(gain_map=bool(kept) or same, gain_map_bytes=len(made[0]) if len(made) == 1 else None)
    with_index = bool(kept) or same
    out = bytearray(_assembled(first, change(blocks_of(first), pictures), bare, with_index=with_index))
    spans = {0: (0, len(out))}
    for start, gap, picture in zip(kept, gaps, made, strict=True):
        out += gap
        spans[start] = (len(out), len(picture))
        out += picture
    if with_index and first.mpf_at is not None:
        _put_index(out, first, spans)
    return bytes(out) + (b"" if bare or len(kept) < len(found) or not whole else data[end:]), warnings


def _assembled(jpeg: Jpeg, blocks: Blocks, bare: bool, with_index: bool) -> bytes:
    """A picture's bytes: what it began with, the metadata, and the rest as it was."""
    head = [each for each in jpeg.segments if each.begins_file]
    rest = [each for each in jpeg.segments if not each.begins_file and _stays(each, blocks, bare, with_index)]
    if bare:
        head = [each for each in head if each.payload.startswith(_JFIF)]
    comments = Counter(blocks.comments)
    made = [*head, *_metadata(blocks), *rest]
    out = bytearray(b"\xff\xd8")
    for each in made:
        if each.marker == _COM:
            if not comments[each.payload]:
                continue
            comments[each.payload] -= 1
        out += bytes((0xFF, each.marker)) + struct.pack(">H", len(each.payload) + 2) + each.payload + each.scan
    return bytes(out) + b"\xff\xd9"


def _stays(each: Segment, blocks: Blocks, bare: bool, with_index: bool) -> bool:
    if not each.is_metadata or each.marker == _COM:
        return True
    if each.marker == _APP1 and each.payload.startswith(_MORE_XMP):
        return blocks.more_xmp is not None
    if (each.marker == _APP1 and each.payload.startswith((PREFIX, _XMP))) or (
        each.marker == _APP13 and each.payload.startswith(iptc.PHOTOSHOP)
    ):
        return False  # made anew
    if each.marker == _APP2 and each.payload.startswith((_MPF, _ISO_MAP)):
        return with_index
    known = (each.marker == _APP2 and each.payload.startswith(_ICC)) or (
        each.marker == _APP14 and each.payload.startswith(b"Adobe")
    )
    return known or not bare


def _metadata(blocks: Blocks) -> Iterator[Segment]:
    check_bytes("EXIF", blocks.exif, MAX_SEGMENT_BYTES - len(PREFIX))
    check_bytes("XMP", blocks.xmp, MAX_SEGMENT_BYTES - len(_XMP))
    if blocks.exif:
        yield Segment(_APP1, PREFIX + blocks.exif)
    if blocks.xmp:
        yield Segment(_APP1, _XMP + blocks.xmp)
    step = MAX_SEGMENT_BYTES - len(iptc.PHOTOSHOP)
    for at in range(0, len(blocks.photoshop or b""), step):
        yield Segment(_APP13, iptc.PHOTOSHOP + (blocks.photoshop or b"")[at : at + step])


def _put_index(out: bytearray, first: Jpeg, spans: dict[int, tuple[int, int]]) -> None:
    """Put where pictures are now, and how large, into the index of a file that is made.

    ``spans`` are begins and sizes by where the pictures began in the source.
    """
    assert first.mpf_at is not None
    base = parse(bytes(out)).mpf_at
    index = _index_of(first)
    order, fields = ifd.first_directory(index)
    entries = _entries(index)
    assert base is not None
    assert entries is not None
    place = fields[_ENTRIES].at
    assert place is not None
    for number, (_, offset) in enumerate(entries):
        start, size = spans[first.mpf_at + offset if number else 0]
        struct.pack_into(order + "LL", out, base + place + 16 * number + 4, size, start - base if number else 0)
