"""TIFF files as pages: the same pixels with other metadata.

Directories are made anew at the file's end and point at pixels where they are; what is left out, and the old
directories, are overwritten with zeros. Source: TIFF 6.0, section 2; BigTIFF.
"""

import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pipelines.media.errors import LimitError, SourceUnreadableError, SourceUnsupportedError
from pipelines.media.images.metadata import exif, ifd, iptc
from pipelines.media.images.metadata.blocks import Blocks, Change, Pictures
from pipelines.media.images.metadata.ifd import Field, Fields, Order
from pipelines.media.images.metadata.metadata_spec import MetadataSpec

MAX_PAGES = 1000
MAX_VALUES_BYTES = 64 << 20  # of all pages' fields: they may share bytes, and so be more than the file
MAX_SPANS = 1_000_000  # of pixels, and values that stay
_SUB_PAGES, _COMPRESSION, _OLD_JPEG = 0x014A, 0x0103, 6
_OFFSETS = ((0x0111, 0x0117), (0x0144, 0x0145), (0x0201, 0x0202))  # of pixels, and their lengths
# How pixels are shown, besides how they're packed: transfer, white, primaries, inks, levels; codecs' parameters.
_SHOWN = frozenset(
    {0x012D, 0x013E, 0x013F, *range(0x014C, 0x0152), *range(0x0154, 0x0158), 0x0129, 0x8828, 0xA481, 0xC5F2, 0xC5F3}
)
_GEOGRAPHIC = frozenset({0x830E, 0x8480, 0x8482, 0x85D8, 0x87AF, 0x87B0, 0x87B1, 0xA480})  # GeoTIFF's, GDAL's
_MANAGED = frozenset({ifd.EXIF, ifd.GPS, exif.XMP})


@dataclass(frozen=True)
class Layout:
    """How numbers stand in a file."""

    order: Order
    big: bool

    @property
    def word(self) -> str:
        """The format of an offset."""
        return self.order + ("Q" if self.big else "L")

    def pointer(self, at: int) -> Field:
        return Field(16 if self.big else ifd.LONG, struct.pack(self.word, at))


@dataclass(frozen=True)
class Page:
    """A directory: what stands there of every field, and where it is. ``entries`` are type, count and value by tag."""

    start: int
    end: int
    entries: Mapping[int, tuple[int, int, bytes]]
    block: ifd.Block


def _layout(data: bytes) -> Layout:
    order: Order = "<" if data[:2] == b"II" else ">"
    return Layout(order, data[2:4] in (b"\x2b\0", b"\0\x2b"))


def pages(data: bytes, layout: Layout) -> Iterator[Page]:
    """The file's pages.

    Raises:
        SourceUnreadableError: they lead back to themselves, or out of the file.
        LimitError: they have too much.
    """
    head, entry, size = (8, 20, 8) if layout.big else (2, 12, 4)
    seen: set[int] = set()
    left_bytes = MAX_VALUES_BYTES
    try:
        at = struct.unpack_from(layout.word, data, 8 if layout.big else 4)[0]
        while at:
            count = struct.unpack_from(layout.order + ("Q" if layout.big else "H"), data, at)[0]
            if at in seen or len(seen) >= MAX_PAGES or count > ifd.MAX_FIELDS:
                raise SourceUnreadableError("A TIFF file's directories are damaged, or too many.")
            seen.add(at)
            entries = {}
            for place in range(at + head, at + head + count * entry, entry):
                tag, type_, number = struct.unpack_from(layout.order + ("HHQ" if layout.big else "HHL"), data, place)
                entries[tag] = (type_, number, data[place + entry - size : place + entry])
            end = at + head + count * entry + size
            block = ifd.parse(data, at=at)
            left_bytes -= sum(len(each.raw) for each in block.image.values())
            if left_bytes < 0:
                raise LimitError(
                    f"A TIFF file's pages have more than {MAX_VALUES_BYTES >> 20} MiB beside their pixels."
                )
            yield Page(at, end, entries, block)
            at = struct.unpack_from(layout.word, data, end - size)[0]
    except struct.error as error:
        raise SourceUnreadableError("A TIFF file's directories are cut off.") from error


def rewritten(data: bytes, change: Change, spec: MetadataSpec) -> bytes:
    """The file with changed metadata: values are written into the first page's, all are stripped.

    Raises:
        SourceUnreadableError: its directories are damaged.
        SourceUnsupportedError: it has pages within pages, or metadata share bytes with pixels.
        LimitError: its pages have too much, or too many parts.
    """
    layout = _layout(data)
    found = list(pages(data, layout))
    if any(_SUB_PAGES in each.entries for each in found):
        raise SourceUnsupportedError("A TIFF file has pages within pages; its metadata aren't changed here.")
    out = bytearray(data)
    writer = _Writer(out, layout)
    gone: list[tuple[int, int]] = []
    kept: list[tuple[int, int]] = []
    link = 8 if layout.big else 4
    for number, page in enumerate(found):
        after = _stripped(page, spec, first=not number)
        image = _changed(page, after, change, spec, first=not number, writer=writer)
        same = {tag for tag, entry in page.entries.items() if image.get(tag) == entry}
        gone += [(page.start, page.end), *_spans(page, data, layout, set(page.entries) - same)]
        kept += [*_spans(page, data, layout, same), *_pixels(page)]
        for tag, before, now in ((ifd.EXIF, page.block.exif, after.exif), (ifd.GPS, page.block.gps, after.gps)):
            stays = {each.at for each in now.values()}
            kept += [(each.at, each.at + len(each.raw)) for each in now.values() if each.at is not None]
            if tag == ifd.EXIF and now:
                kept += _directory(page.block.exif, ifd.INTEROP, data, layout)
                kept += [
                    (each.at, each.at + len(each.raw)) for each in page.block.interop.values() if each.at is not None
                ]
            if tag in same:
                kept += _directory(page.block.image, tag, data, layout)
            else:
                values = [each for each in before.values() if each.at not in stays]
                gone += [(each.at, each.at + len(each.raw)) for each in values if each.at is not None]
                gone += _directory(page.block.image, tag, data, layout)
        at = writer.directory(image)
        struct.pack_into(layout.word, out, link, at)
        link = len(out) - struct.calcsize(layout.word)
        if len(kept) > MAX_SPANS:
            raise LimitError(f"A TIFF file's pixels are in more than {MAX_SPANS} parts.")
    staying = _merged(kept)
    for start, end in _merged(gone):
        at = bisect_right(staying, start, key=lambda span: span[1])
        if at < len(staying) and staying[at][0] < end:
            raise SourceUnsupportedError("A TIFF file's pixels and metadata share bytes; they aren't changed here.")
        out[start:end] = bytes(end - start)
    if spec.strip != "nothing":  # programs leave directories behind that nothing points at any more
        for start, end in _between(staying, 16 if layout.big else 8, len(data)):
            out[start:end] = bytes(end - start)
    return bytes(out)


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same bytes as spans in order that neither overlap nor touch."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        elif start < end:
            merged.append((start, end))
    return merged


def _between(kept: list[tuple[int, int]], start: int, end: int) -> Iterator[tuple[int, int]]:
    """What of a file isn't ``kept``: spans in order."""
    for first, stop in kept:
        if first > start:
            yield start, min(first, end)
        start = max(start, stop)
    if start < end:
        yield start, end


Entry = tuple[int, int, bytes]


_KNOWN = exif.STRUCTURE | _SHOWN | {exif.ICC}


def _stripped(page: Page, spec: MetadataSpec, first: bool) -> ifd.Block:
    """A page's EXIF as it's to be; fields that stay are the same objects."""
    after = exif.stripped(ifd.without(page.block, _KNOWN | exif.EMBEDDED | _MANAGED), spec.strip)
    return exif.with_values(after, spec) if spec.writes and first else after


def _changed(
    page: Page, after: ifd.Block, change: Change, spec: MetadataSpec, first: bool, writer: "_Writer"
) -> dict[int, Entry]:
    """A page's new directory, what it points at being written."""
    kept = {
        tag: entry
        for tag, entry in page.entries.items()
        if tag in _KNOWN or (tag not in _MANAGED and _stays(tag, page, after.image, spec))
    }
    for tag, each in after.image.items():
        if page.block.image.get(tag) is not each:
            kept[tag] = writer.entry(each)
    for tag, fields, before in ((ifd.EXIF, after.exif, page.block.exif), (ifd.GPS, after.gps, page.block.gps)):
        if fields and dict(fields) == dict(before) and tag in page.entries:
            kept[tag] = page.entries[tag]
        elif fields:
            kept[tag] = writer.entry(writer.layout.pointer(writer.directory(writer.entries(fields))))
    packet = page.block.image.get(exif.XMP)
    changed = change(Blocks(xmp=packet.raw if packet else None), Pictures(first=first)).xmp
    if packet is not None and changed == packet.raw:
        kept[exif.XMP] = page.entries[exif.XMP]
    elif changed:
        kept[exif.XMP] = writer.entry(Field(1, changed))
    return kept


def _stays(tag: int, page: Page, after: Fields, spec: MetadataSpec) -> bool:
    """Whether a field of the first kind stays as it is. What can't be read here stays where nothing is stripped."""
    if spec.strip == "nothing":
        return tag not in after or after[tag] is page.block.image.get(tag)
    if tag == exif.IPTC and spec.strip == "gps":
        raw = page.block.image[tag].raw if tag in page.block.image else b"\x1c"
        records, warnings = iptc.parse(raw)
        return not warnings and not any(iptc.is_place(each) for each in records)
    return tag not in exif.EMBEDDED | _GEOGRAPHIC and tag in after and after[tag] is page.block.image.get(tag)


def _spans(page: Page, data: bytes, layout: Layout, tags: set[int]) -> list[tuple[int, int]]:
    """Where the values of some fields stand."""
    found = []
    for tag in tags & set(page.entries):
        type_, number, value = page.entries[tag]
        size = number * ifd.SIZES.get(type_, 1)
        at = struct.unpack(layout.word, value)[0]
        if size > len(value):
            found.append((at, min(at + size, len(data))))
    return [(start, end) for start, end in found if start < end]


def _directory(fields: Fields, tag: int, data: bytes, layout: Layout) -> list[tuple[int, int]]:
    """Where a directory that a field points at stands."""
    at = ifd.number(fields.get(tag), layout.order)
    head, entry, size = (8, 20, 8) if layout.big else (2, 12, 4)
    if at is None or at + head > len(data):
        return []
    number = struct.unpack_from(layout.order + ("Q" if layout.big else "H"), data, at)[0]
    return [(at, min(at + head + number * entry + size, len(data)))] if number <= ifd.MAX_FIELDS else []


def _pixels(page: Page) -> list[tuple[int, int]]:
    """Where a page's pixels stand.

    Raises:
        SourceUnsupportedError: that isn't told, or is too long a list.
    """
    found = []
    if _OLD_JPEG in _numbers(page, _COMPRESSION):  # its tables are somewhere
        raise SourceUnsupportedError("A TIFF file has JPEG of the old kind; its metadata aren't changed here.")
    for offsets, lengths in _OFFSETS:
        told = [tag in page.entries for tag in (offsets, lengths)]
        if any(told) and not all(tag in page.block.image for tag in (offsets, lengths)):
            raise SourceUnsupportedError(
                "A TIFF file doesn't tell where its pixels are; its metadata aren't changed here."
            )
        starts, sizes = (_numbers(page, tag) for tag in (offsets, lengths))
        found += [(start, start + size) for start, size in zip(starts, sizes, strict=False)]
    return found


def _numbers(page: Page, tag: int) -> tuple[int, ...]:
    found = page.block.image.get(tag)
    value = ifd.value_of(found, page.block.order) if found else ()
    several = value if isinstance(value, tuple) else (value,)
    return tuple(each for each in several if isinstance(each, int))


class _Writer:
    """Appends to a file."""

    def __init__(self, out: bytearray, layout: Layout) -> None:
        self._out, self.layout = out, layout

    def entry(self, each: Field) -> Entry:
        """A field's entry; what doesn't fit into it is appended, or stays where it was."""
        size = struct.calcsize(self.layout.word)
        if len(each.raw) <= size:
            return each.type, each.count, each.raw.ljust(size, b"\0")
        at = self._put(each.raw) if each.at is None else each.at
        return each.type, each.count, struct.pack(self.layout.word, at)

    def entries(self, fields: Fields) -> dict[int, Entry]:
        return {tag: self.entry(each) for tag, each in fields.items()}

    def directory(self, entries: Mapping[int, Entry]) -> int:
        """Append a directory; the offset of the next is its end."""
        order, big = self.layout.order, self.layout.big
        made = [
            struct.pack(order + ("HHQ" if big else "HHL"), tag, type_, number) + value
            for tag, (type_, number, value) in sorted(entries.items())
        ]
        head = struct.pack(order + ("Q" if big else "H"), len(made))
        return self._put(head + b"".join(made) + bytes(8 if big else 4))

    def _put(self, raw: bytes) -> int:
        self._out += bytes(len(self._out) & 1)
        self._out += raw
        return len(self._out) - len(raw)
