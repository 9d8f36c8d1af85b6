"""AVIF files with other metadata, and the same pixels.

Boxes that list items are made anew; where they grow or shrink, offsets to what stands behind move along. What an item
had that is gone is overwritten with zeros, new ones come at the end. Source: ISO/IEC 14496-12 (8.11),
ISO/IEC 23008-12.
"""

import struct
from collections.abc import Callable, Iterator
from itertools import count

from pipelines.media.errors import SourceUnsupportedError
from pipelines.media.images.metadata.avif_boxes import (
    METADATA,
    XMP_TYPE,
    Avif,
    Box,
    Item,
    Listing,
    blocks_of,
    boxes_of,
    boxes_within,
    damaged,
    parse,
)
from pipelines.media.images.metadata.blocks import Change, Pictures

# Of the boxes that aren't items: what frames need. Others may have anything, places too, and are made empty.
_SHOWN = frozenset({b"ftyp", b"meta", b"moov", b"mdat"})
_TOLD_BESIDE = frozenset({b"udta", b"uuid", b"free", b"skip"})


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
    tracks = [each for each in boxes_within(data, avif.boxes) if each.type == b"trak"]
    return tracks[0] if tracks and not avif.tracks else None


def _copied(out: bytearray, box: Box, made: dict[Box, bytes], extra: Box | None, fresh: bytes) -> bytes:
    """A box as it is, with the lists in it that were made anew."""
    if box in made:
        return made[box]
    if box.type not in (b"moov", b"trak"):
        return bytes(out[box.start : box.end])
    inner = b"".join(_copied(out, each, made, extra, fresh) for each in boxes_of(bytes(out), box.body, box.end))
    return _box(box.type, inner + (fresh if box == extra else b""))


def _emptied(data: bytes, avif: Avif, bare: bool) -> bytearray:
    """The file with zeros where metadata were; boxes that aren't for the pixels become free space."""
    out = bytearray(data)
    spans: dict[bool, list[tuple[int, int]]] = {True: [], False: []}  # of metadata, of pixels
    for listing in avif.listings:
        for item in listing.items:
            starts = [(listing.start_of(item, offset), length) for offset, length in item.extents]
            spans[item.type in METADATA] += [(start, min(start + length, len(data))) for start, length in starts]
    for start, end in spans[True]:
        shared = any(start < stop and first < end for first, stop in spans[False])
        if shared or not any(each.body <= start and end <= each.end for each in avif.boxes):
            raise SourceUnsupportedError("An AVIF file's pixels and metadata share bytes; they aren't changed here.")
        out[start:end] = bytes(max(0, end - start))
    if bare:
        beside = [each for each in avif.boxes if each.type not in _SHOWN]
        beside += [each for each in boxes_within(data, avif.boxes) if each.type in _TOLD_BESIDE]
        for box in beside:
            out[box.start + 4 : box.start + 8] = b"free"
            out[box.body : box.end] = bytes(box.end - box.body)
    return out


def _remade(out: bytearray, listing: Listing, new: New, first: int, moved: Callable[[int], int]) -> bytes:
    """A list with ``new`` metadata in place of its own; they stand one after another from ``first`` on."""
    kept = [_moved_item(each, moved) for each in listing.items if each.type not in METADATA]
    gone = {each.id for each in listing.items if each.type in METADATA}
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
    return _box(b"infe", body + (b"Exif\0" if type_ == b"Exif" else b"mime\0" + XMP_TYPE + b"\0"))


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
    for box in boxes_of(raw, 12, len(raw)):
        if int.from_bytes(raw[box.body : box.body + wide], "big") not in gone:
            made += raw[box.start : box.end]
    return _box(b"iref", raw[8:12] + bytes(made) + _references(added, primary, wide))


def _references(added: list[Item], primary: int, wide: int) -> bytes:
    """That metadata are of the picture."""
    if primary >> 8 * wide:
        raise damaged()
    return b"".join(
        _box(b"cdsc", each.id.to_bytes(wide, "big") + b"\0\1" + primary.to_bytes(wide, "big")) for each in added
    )


def _move_chunks(out: bytearray, avif: Avif, moved: Callable[[int], int]) -> None:
    """Move what an animation's index says of where frames are."""
    data = bytes(out)
    for box in boxes_within(data, avif.boxes):
        if box.type not in (b"stco", b"co64"):
            continue
        code, size = (">L", 4) if box.type == b"stco" else (">Q", 8)
        end = box.body + 8 + size * int.from_bytes(data[box.body + 4 : box.body + 8], "big")
        if end > box.end:
            raise damaged()
        for at in range(box.body + 8, end, size):
            to = moved(struct.unpack_from(code, data, at)[0])
            if to >> 8 * size:
                raise damaged()
            struct.pack_into(code, out, at, to)
