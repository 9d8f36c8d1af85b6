"""AVIF files as boxes: where their items are, and the metadata among them.

EXIF and XMP are items beside the picture's, and of an animation beside its track. Source: ISO/IEC 14496-12 (8.11),
ISO/IEC 23008-12.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from pipelines.media.errors import SourceUnreadableError, SourceUnsupportedError
from pipelines.media.images.metadata.blocks import Blocks

MAX_BOXES = 10_000
MAX_ITEMS = 2_000
MAX_DEPTH = 8
MAX_OFFSET = 1 << 48
MAX_EXTENTS = 10_000
MAX_BLOCK_BYTES = 4 << 20
MAX_FRAMES = 100_000
XMP_TYPE = b"application/rdf+xml"
_INSIDE = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl"})
METADATA = frozenset({b"Exif", b"xmp "})


@dataclass(frozen=True)
class Box:
    type: bytes
    start: int
    body: int
    end: int


@dataclass(frozen=True)
class Item:
    """``raw`` is its entry in the list; ``inside``: it's in the list's own data, not in the file's."""

    id: int
    type: bytes
    raw: bytes
    inside: bool = False
    extents: tuple[tuple[int, int], ...] = ()  # offset, length


@dataclass(frozen=True)
class Listing:
    """A box that lists items: the file's own, or a track's, which has no ``primary`` one."""

    box: Box
    parts: tuple[Box, ...]
    items: tuple[Item, ...]
    primary: int | None = None

    @property
    def begin(self) -> int:
        """Where data of its own begin."""
        return next((each.body for each in self.parts if each.type == b"idat"), 0)

    def start_of(self, item: Item, offset: int) -> int:
        return offset + (self.begin if item.inside else 0)


@dataclass(frozen=True)
class Avif:
    boxes: tuple[Box, ...]
    listing: Listing
    tracks: tuple[Listing, ...] = ()

    @property
    def listings(self) -> tuple[Listing, ...]:
        return (self.listing, *self.tracks)


def boxes_of(data: bytes, at: int, end: int) -> Iterator[Box]:
    seen = 0
    while at + 8 <= end:
        size, body = int.from_bytes(data[at : at + 4], "big"), at + 8
        if size == 1:
            size, body = int.from_bytes(data[at + 8 : at + 16], "big"), at + 16
        stop = end if size == 0 else at + size
        seen += 1
        if stop < body or stop > end or seen > MAX_BOXES:
            raise damaged()
        yield Box(data[at + 4 : at + 8], at, body, stop)
        at = stop


def damaged() -> SourceUnreadableError:
    return SourceUnreadableError("An AVIF file's boxes are damaged.")


def parse(data: bytes) -> Avif:
    """Read where its items are.

    Raises:
        SourceUnreadableError: its boxes are damaged.
    """
    try:
        boxes = tuple(boxes_of(data, 0, len(data)))
        meta = next((each for each in boxes if each.type == b"meta"), None)
        if meta is None:
            raise damaged()
        inner = [each for each in boxes_within(data, boxes) if each.type == b"meta"]
        return Avif(boxes, _listing(data, meta), tuple(_listing(data, each) for each in inner))
    except (KeyError, IndexError, struct.error) as error:
        raise damaged() from error


def _listing(data: bytes, meta: Box) -> Listing:
    parts = tuple(boxes_of(data, meta.body + 4, meta.end))
    by_type = {each.type: each for each in parts}
    places = _places(data, by_type[b"iloc"])
    entries = _entries(data, by_type[b"iinf"])
    items = tuple(Item(id_, type_, raw, *places.get(id_, (False, ()))) for id_, type_, raw in entries)
    primary = None
    if b"pitm" in by_type:
        body = by_type[b"pitm"].body
        primary = int.from_bytes(data[body + 4 : body + (8 if data[body] else 6)], "big")
    return Listing(meta, parts, items, primary)


def _entries(data: bytes, iinf: Box) -> Iterator[tuple[int, bytes, bytes]]:
    """Items' numbers, types (Exif, or xmp for MIME items of XMP) and entries."""
    first = iinf.body + (6 if data[iinf.body] == 0 else 8)
    for number, box in enumerate(boxes_of(data, first, iinf.end)):
        if box.type != b"infe" or number > MAX_ITEMS or data[box.body] < 2:
            raise damaged()
        size = 2 if data[box.body] == 2 else 4
        at = box.body + 4
        id_ = int.from_bytes(data[at : at + size], "big")
        at += size + 2
        type_ = data[at : at + 4]
        if type_ == b"mime":
            texts = data[at + 4 : box.end].split(b"\0")  # name, content type
            type_ = b"xmp " if len(texts) > 1 and texts[1] == XMP_TYPE else type_
        yield id_, type_, data[box.start : box.end]


def _places(data: bytes, iloc: Box) -> dict[int, tuple[bool, tuple[tuple[int, int], ...]]]:
    """Whether items are inside the list, and their extents, by their numbers."""
    reader = _Numbers(data, iloc.body, iloc.end)
    version = reader.next(1)
    reader.next(3)
    sizes, more = reader.next(1), reader.next(1)
    offset_size, length_size, base_size, index_size = sizes >> 4, sizes & 15, more >> 4, more & 15
    wide = 4 if version == 2 else 2
    places: dict[int, tuple[bool, tuple[tuple[int, int], ...]]] = {}
    left = MAX_EXTENTS
    for _ in range(min(reader.next(wide), MAX_ITEMS)):
        id_ = reader.next(wide)
        method = reader.next(2) & 15 if version else 0
        elsewhere = reader.next(2)
        base = reader.next(base_size)
        pieces = reader.next(2)
        left -= pieces
        if method > 1 or elsewhere or left < 0:
            raise SourceUnsupportedError("An AVIF file has parts that lie elsewhere; its metadata aren't changed here.")
        extents = []
        for _ in range(pieces):
            reader.next(index_size if version else 0)
            offset = base + reader.next(offset_size)
            length = reader.next(length_size)
            if offset + length >= MAX_OFFSET:
                raise damaged()
            extents.append((offset, length))
        places[id_] = method == 1, tuple(extents)
    return places


class _Numbers:
    """Reads numbers one after another."""

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self._data, self._at, self._end = data, at, end

    def next(self, size: int) -> int:
        if self._at + size > self._end:
            raise damaged()
        self._at += size
        return int.from_bytes(self._data[self._at - size : self._at], "big")


def blocks_of(data: bytes, avif: Avif) -> Blocks:
    """Its metadata; of an animation those of its track, where the file has none."""
    told: dict[bytes, bytes | None] = {}
    for listing in avif.listings:
        for each in listing.items:
            if each.type in METADATA and not told.get(each.type):
                told[each.type] = _payload(data, listing, each)
    exif = told.get(b"Exif")
    if exif is not None:  # begins with how far it is to the block
        exif = exif[4 + int.from_bytes(exif[:4], "big") :] or None
    return Blocks(exif=exif, xmp=told.get(b"xmp "))


def _payload(data: bytes, listing: Listing, item: Item) -> bytes | None:
    if sum(length for _, length in item.extents) > MAX_BLOCK_BYTES:
        return None
    starts = [(listing.start_of(item, offset), length) for offset, length in item.extents]
    return b"".join(data[start : start + length] for start, length in starts) or None


def boxes_within(data: bytes, boxes: tuple[Box, ...], depth: int = 0) -> Iterator[Box]:
    """All boxes within moov, each before those within it."""
    if depth > MAX_DEPTH:
        raise damaged()
    for box in boxes:
        if box.type in _INSIDE:
            for each in boxes_of(data, box.body, box.end):
                yield each
                yield from boxes_within(data, (each,), depth + 1)


def durations_ms(data: bytes, avif: Avif) -> tuple[int, ...]:
    """Of an animation's frames: those of its first track."""
    ticks, found = 0, list[int]()
    for box in boxes_within(data, avif.boxes):
        if box.type == b"mdhd":
            at = box.body + (20 if data[box.body : box.body + 1] == b"\1" else 12)
            ticks = int.from_bytes(data[at : at + 4], "big")
        elif box.type == b"stts" and ticks and not found:
            for at in range(box.body + 8, box.end - 7, 8):
                frames, length = struct.unpack_from(">LL", data, at)
                found += [round(1000 * length / ticks)] * min(frames, MAX_FRAMES - len(found))
    return tuple(found)
