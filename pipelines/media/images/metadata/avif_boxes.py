"""AVIF files as boxes: their metadata, and the same pixels with other metadata.

EXIF and XMP are items beside the picture's, and of an animation beside its track. Boxes that list items are made anew;
where they grow or shrink, offsets to what stands behind move along. What an item had that is gone is overwritten with
zeros, new ones come at the end. Source: ISO/IEC 14496-12 (8.11), ISO/IEC 23008-12.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

from pipelines.media.errors import SourceUnreadableError, SourceUnsupportedError
from pipelines.media.images.metadata.blocks import Blocks, Pictures

MAX_BOXES = 10_000
MAX_ITEMS = 2_000
MAX_DEPTH = 8
MAX_OFFSET = 1 << 48
MAX_EXTENTS = 10_000
MAX_BLOCK_BYTES = 4 << 20
MAX_FRAMES = 100_000
_XMP_TYPE = b"application/rdf+xml"
_INSIDE = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl"})
# Of the boxes that aren't items: what frames need. Others may have anything, places too, and are made empty.
_SHOWN = frozenset({b"ftyp", b"meta", b"moov", b"mdat"})
_TOLD_BESIDE = frozenset({b"udta", b"uuid", b"free", b"skip"})
_METADATA = frozenset({b"Exif", b"xmp "})


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


def _boxes(data: bytes, at: int, end: int) -> Iterator[Box]:
    seen = 0
    while at + 8 <= end:
        size, body = int.from_bytes(data[at : at + 4], "big"), at + 8
        if size == 1:
            size, body = int.from_bytes(data[at + 8 : at + 16], "big"), at + 16
        stop = end if size == 0 else at + size
        seen += 1
        if stop < body or stop > end or seen > MAX_BOXES:
            raise _damaged()
        yield Box(data[at + 4 : at + 8], at, body, stop)
        at = stop


def _damaged() -> SourceUnreadableError:
    return SourceUnreadableError("An AVIF file's boxes are damaged.")


def parse(data: bytes) -> Avif:
    """Read where its items are.

    Raises:
        SourceUnreadableError: its boxes are damaged.
    """
    try:
        boxes = tuple(_boxes(data, 0, len(data)))
        meta = next((each for each in boxes if each.type == b"meta"), None)
        if meta is None:
            raise _damaged()
        inner = [each for each in _deep(data, boxes) if each.type == b"meta"]
        return Avif(boxes, _listing(data, meta), tuple(_listing(data, each) for each in inner))
    except (KeyError, IndexError, struct.error) as error:
        raise _damaged() from error


def _listing(data: bytes, meta: Box) -> Listing:
    parts = tuple(_boxes(data, meta.body + 4, meta.end))
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
    for number, box in enumerate(_boxes(data, first, iinf.end)):
        if box.type != b"infe" or number > MAX_ITEMS or data[box.body] < 2:
            raise _damaged()
        size = 2 if data[box.body] == 2 else 4
        at = box.body + 4
        id_ = int.from_bytes(data[at : at + size], "big")
        at += size + 2
        type_ = data[at : at + 4]
        if type_ == b"mime":
            texts = data[at + 4 : box.end].split(b"\0")  # name, content type
            type_ = b"xmp " if len(texts) > 1 and texts[1] == _XMP_TYPE else type_
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
                raise _damaged()
            extents.append((offset, length))
        places[id_] = method == 1, tuple(extents)
    return places


class _Numbers:
    """Reads numbers one after another."""

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self._data, self._at, self._end = data, at, end

    def next(self, size: int) -> int:
        if self._at + size > self._end:
            raise _damaged()
        self._at += size
        return int.from_bytes(self._data[self._at - size : self._at], "big")


def blocks_of(data: bytes, avif: Avif) -> Blocks:
    """Its metadata; of an animation those of its track, where the file has none."""
    told: dict[bytes, bytes | None] = {}
    for listing in avif.listings:
        for each in listing.items:
            if each.type in _METADATA and not told.get(each.type):
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


Change = Callable[[Blocks, Pictures], Blocks]


def rewritten(data: bytes, change: Change, bare: bool) -> bytes:
    """The file with changed metadata. ``bare``: boxes that aren't for the pixels are made empty.

    Raises:
        SourceUnreadableError: its boxes are damaged.
        SourceUnsupportedError: pixels and metadata share bytes, or lie in other files.
    """
    avif = parse(data)
    after = change(blocks_of(data, avif), Pictures())
    exif = bytes(4) + after.exif if after.exif else b""
    new = ((b"Exif", exif), (b"xmp ", after.xmp or b""))
    out = _emptied(data, avif, bare)
    sizes = {each.box: len(_remade(out, each, new, 0, lambda at: at)) for each in avif.listings}
    moves = [(box.end, size - (box.end - box.start)) for box, size in sizes.items()]
    extra = _missing(data, avif) if exif or after.xmp else None
    if extra is not None:
        moves.append((extra.end, len(_fresh(out, avif, new, 0))))

    def moved(at: int) -> int:
        return at + sum(change for end, change in moves if at >= end)

    _move_chunks(out, avif, moved)
    last = avif.boxes[-1]
    if out[last.start : last.start + 4] == bytes(4):  # it goes to the end, which is no more
        out[last.start : last.start + 4] = struct.pack(">L", last.end - last.start)
    first = moved(len(data)) + 8
    made = {each.box: _remade(out, each, new, first, moved) for each in avif.listings}
    body = b"".join(_copied(out, box, made, extra, _fresh(out, avif, new, first)) for box in avif.boxes)
    return body + (_box(b"mdat", exif + (after.xmp or b"")) if exif or after.xmp else b"")


New = tuple[tuple[bytes, bytes], ...]  # types and payloads of metadata


def _missing(data: bytes, avif: Avif) -> Box | None:
    """An animation's track that has no list of items, and has to have one: readers of tracks look there."""
    tracks = [each for each in _deep(data, avif.boxes) if each.type == b"trak"]
    return tracks[0] if tracks and not avif.tracks else None


def _copied(out: bytearray, box: Box, made: dict[Box, bytes], extra: Box | None, fresh: bytes) -> bytes:
    """A box as it is, with the lists in it that were made anew."""
    if box in made:
        return made[box]
    if box.type not in (b"moov", b"trak"):
        return bytes(out[box.start : box.end])
    inner = b"".join(_copied(out, each, made, extra, fresh) for each in _boxes(bytes(out), box.body, box.end))
    return _box(box.type, inner + (fresh if box == extra else b""))


def _emptied(data: bytes, avif: Avif, bare: bool) -> bytearray:
    """The file with zeros where metadata were; boxes that aren't for the pixels become free space."""
    out = bytearray(data)
    spans: dict[bool, list[tuple[int, int]]] = {True: [], False: []}  # of metadata, of pixels
    for listing in avif.listings:
        for item in listing.items:
            starts = [(listing.start_of(item, offset), length) for offset, length in item.extents]
            spans[item.type in _METADATA] += [(start, min(start + length, len(data))) for start, length in starts]
    for start, end in spans[True]:
        shared = any(start < stop and first < end for first, stop in spans[False])
        if shared or not any(each.body <= start and end <= each.end for each in avif.boxes):
            raise SourceUnsupportedError("An AVIF file's pixels and metadata share bytes; they aren't changed here.")
        out[start:end] = bytes(max(0, end - start))
    if bare:
        beside = [each for each in avif.boxes if each.type not in _SHOWN]
        beside += [each for each in _deep(data, avif.boxes) if each.type in _TOLD_BESIDE]
        for box in beside:
            out[box.start + 4 : box.start + 8] = b"free"
            out[box.body : box.end] = bytes(box.end - box.body)
    return out


def _deep(data: bytes, boxes: tuple[Box, ...], depth: int = 0) -> Iterator[Box]:
    """All boxes within moov, each before those within it."""
    if depth > MAX_DEPTH:
        raise _damaged()
    for box in boxes:
        if box.type in _INSIDE:
            for each in _boxes(data, box.body, box.end):
                yield each
                yield from _deep(data, (each,), depth + 1)


def _remade(out: bytearray, listing: Listing, new: New, first: int, moved: Callable[[int], int]) -> bytes:
    """A list with ``new`` metadata in place of its own; they stand one after another from ``first`` on."""
    kept = [_moved_item(each, moved) for each in listing.items if each.type not in _METADATA]
    gone = {each.id for each in listing.items if each.type in _METADATA}
    taken = {each.id for each in listing.items}
    added = _added(new, (number for number in count(1) if number not in taken), first)
    items = [*kept, *added]
    made = bytearray()
    referred = listing.primary is None
    for part in listing.parts:
        raw = bytes(out[part.start : part.end])
        if part.type == b"iinf":
            raw = _iinf(items)
        elif part.type == b"iloc":
            raw = _iloc(items)
        elif part.type == b"iref" and listing.primary is not None:
            raw, referred = _iref(raw, gone, added, listing.primary), True
        made += raw
    if not referred and added:
        made += _box(b"iref", struct.pack(">L", 1 << 24) + _references(added, listing.primary or 0, 4))
    return _box(b"meta", bytes(out[listing.box.body : listing.box.body + 4]) + bytes(made))


def _fresh(out: bytearray, avif: Avif, new: New, first: int) -> bytes:
    """A list for a track that has none."""
    handler = next((each for each in avif.listing.parts if each.type == b"hdlr"), None)
    told = bytes(out[handler.start : handler.end]) if handler else b""
    added = _added(new, count(1), first)
    return _box(b"meta", bytes(4) + told + _iloc(added) + _iinf(added))


def _moved_item(item: Item, moved: Callable[[int], int]) -> Item:
    if item.inside:
        return item
    extents = tuple((moved(offset), length) for offset, length in item.extents)
    return Item(item.id, item.type, item.raw, extents=extents)


def _added(new: New, numbers: Iterator[int], at: int) -> list[Item]:
    """Items for metadata."""
    added = []
    for type_, payload in new:
        if payload:
            number = next(numbers)
            added.append(Item(number, type_, _entry(number, type_), extents=((at, len(payload)),)))
            at += len(payload)
    return added


def _entry(number: int, type_: bytes) -> bytes:
    """An item's entry in a list."""
    body = struct.pack(">LHH", 2 << 24, number, 0)
    return _box(b"infe", body + (b"Exif\0" if type_ == b"Exif" else b"mime\0" + _XMP_TYPE + b"\0"))


def _box(type_: bytes, body: bytes) -> bytes:
    return struct.pack(">L", len(body) + 8) + type_ + body


def _iinf(items: list[Item]) -> bytes:
    return _box(b"iinf", struct.pack(">LL", 1 << 24, len(items)) + b"".join(each.raw for each in items))


def _iloc(items: list[Item]) -> bytes:
    """Offsets and lengths of 8 bytes; no base."""
    body = bytearray(struct.pack(">LBBL", 2 << 24, 0x88, 0, len(items)))
    for each in items:
        body += struct.pack(">LHHH", each.id, int(each.inside), 0, len(each.extents))
        for offset, length in each.extents:
            body += struct.pack(">QQ", offset, length)
    return _box(b"iloc", bytes(body))


def _iref(raw: bytes, gone: set[int], added: list[Item], primary: int) -> bytes:
    wide = 4 if raw[8] else 2
    made = bytearray()
    for box in _boxes(raw, 12, len(raw)):
        if int.from_bytes(raw[box.body : box.body + wide], "big") not in gone:
            made += raw[box.start : box.end]
    return _box(b"iref", raw[8:12] + bytes(made) + _references(added, primary, wide))


def _references(added: list[Item], primary: int, wide: int) -> bytes:
    """That metadata are of the picture."""
    if primary >> 8 * wide:
        raise _damaged()
    return b"".join(
        _box(b"cdsc", each.id.to_bytes(wide, "big") + b"\0\1" + primary.to_bytes(wide, "big")) for each in added
    )


def _move_chunks(out: bytearray, avif: Avif, moved: Callable[[int], int]) -> None:
    """Move what an animation's index says of where frames are."""
    data = bytes(out)
    for box in _deep(data, avif.boxes):
        if box.type not in (b"stco", b"co64"):
            continue
        code, size = (">L", 4) if box.type == b"stco" else (">Q", 8)
        end = box.body + 8 + size * int.from_bytes(data[box.body + 4 : box.body + 8], "big")
        if end > box.end:
            raise _damaged()
        for at in range(box.body + 8, end, size):
            to = moved(struct.unpack_from(code, data, at)[0])
            if to >> 8 * size:
                raise _damaged()
            struct.pack_into(code, out, at, to)


def durations_ms(data: bytes, avif: Avif) -> tuple[int, ...]:
    """Of an animation's frames: those of its first track."""
    ticks, found = 0, list[int]()
    for box in _deep(data, avif.boxes):
        if box.type == b"mdhd":
            at = box.body + (20 if data[box.body : box.body + 1] == b"\1" else 12)
            ticks = int.from_bytes(data[at : at + 4], "big")
        elif box.type == b"stts" and ticks and not found:
            for at in range(box.body + 8, box.end - 7, 8):
                frames, length = struct.unpack_from(">LL", data, at)
                found += [round(1000 * length / ticks)] * min(frames, MAX_FRAMES - len(found))
    return tuple(found)
