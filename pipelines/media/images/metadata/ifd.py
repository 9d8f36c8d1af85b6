"""TIFF directories as they stand in a file: fields of typed bytes, read within bounds and written again.

EXIF is a TIFF without pictures. Fields keep their bytes: what isn't understood here comes out as it went in, which
Pillow's ``Exif.tobytes`` doesn't promise. Source: TIFF 6.0, section 2; EXIF 3.0, 4.6.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Literal

Order = Literal["<", ">"]
Value = str | int | float | bytes | tuple[int, ...] | tuple[float, ...]

EXIF, GPS, INTEROP, MAKER_NOTE = 0x8769, 0x8825, 0xA005, 0x927C
_THUMBNAIL_AT, _THUMBNAIL_BYTES = 0x0201, 0x0202

MAX_FIELDS = 1024  # of one directory
MAX_VALUE_BYTES = 1 << 20
MAX_VALUES_BYTES = 4 << 20  # of all directories: values may overlap, and so be more than the file

ASCII, SHORT, LONG, RATIONAL, UNDEFINED, UTF8 = 2, 3, 4, 5, 7, 129
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8, 129: 1}
_CODES = {
    1: "B", 3: "H", 4: "L", 5: "LL", 6: "b", 8: "h", 9: "l", 10: "ll", 11: "f", 12: "d", 13: "L", 16: "Q", 17: "q",
    18: "Q",
}  # fmt: skip
_RATIONALS = frozenset({5, 10})
_BIG = frozenset({16, 17, 18})  # of BigTIFF only


@dataclass(frozen=True)
class Field:
    """One field: its TIFF type, its bytes in its block's order, and where they stood, if not in the directory."""

    type: int
    raw: bytes
    at: int | None = None

    @property
    def count(self) -> int:
        return len(self.raw) // SIZES[self.type]


Fields = Mapping[int, Field]


@dataclass(frozen=True)
class Block:
    """An EXIF block. ``thumbnail`` is its second directory, ``thumbnail_file`` the JPEG which that points at."""

    order: Order = ">"
    image: Fields = field(default_factory=dict)
    exif: Fields = field(default_factory=dict)
    gps: Fields = field(default_factory=dict)
    interop: Fields = field(default_factory=dict)
    thumbnail: Fields = field(default_factory=dict)
    thumbnail_file: bytes = b""
    warnings: tuple[str, ...] = ()


def parse(data: bytes, skipped: frozenset[int] = frozenset(), at: int | None = None) -> Block:
    """Read a block, or a TIFF file's page at ``at``, the first by default; without the fields ``skipped``.

    Damage is told in ``warnings``.
    """
    reader = _Reader.of(data)
    if reader is None:
        return Block(warnings=("Its EXIF has no header.",))
    image, following = reader.directory(reader.first if at is None else at, skipped)
    exif, _ = reader.pointed(image, EXIF)
    gps, _ = reader.pointed(image, GPS)
    interop, _ = reader.pointed(exif, INTEROP)
    thumbnail, _ = reader.directory(following, skipped) if following else ({}, 0)
    return Block(
        reader.order, image, exif, gps, interop, thumbnail, reader.thumbnail(thumbnail), tuple(reader.warnings)
    )


def first_directory(data: bytes) -> tuple[Order, Fields]:
    """Only the first directory of a block: what MPF has. Empty where it has no header."""
    reader = _Reader.of(data)
    return (reader.order, reader.directory(reader.first)[0]) if reader else (">", {})


class _Reader:
    """Reads one block; each directory once, so that none leads back to itself."""

    def __init__(self, data: bytes, order: Order, big: bool) -> None:
        self.data, self.order, self.big = data, order, big
        self.warnings: list[str] = []
        self._seen: set[int] = set()
        self._left_bytes = MAX_VALUES_BYTES
        self.first = self._number(8, "Q") if big else self._number(4, "L")

    @classmethod
    def of(cls, data: bytes) -> "_Reader | None":
        order: Order = "<" if data[:2] == b"II" else ">"
        if len(data) < 8 or data[:2] not in (b"II", b"MM"):
            return None
        version = struct.unpack_from(order + "H", data, 2)[0]
        if version == 43 and len(data) < 16:
            return None
        return cls(data, order, version == 43) if version in (42, 43) else None

    def _number(self, at: int, code: str) -> int:
        return int(struct.unpack_from(self.order + code, self.data, at)[0])

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)

    def pointed(self, fields: Fields, tag: int) -> tuple[dict[int, Field], int]:
        value = number(fields.get(tag), self.order)
        return self.directory(value) if value else ({}, 0)

    def directory(self, at: int, skipped: frozenset[int] = frozenset()) -> tuple[dict[int, Field], int]:
        """The fields at ``at``, and where the next directory is; 0: nowhere."""
        if at in self._seen:
            self._warn("Its EXIF has a directory that leads back to itself.")
            return {}, 0
        self._seen.add(at)
        head, entry_bytes = (8, 20) if self.big else (2, 12)
        if not 0 < at <= len(self.data) - head:
            self._warn("Its EXIF points beyond its end.")
            return {}, 0
        count = self._number(at, "Q" if self.big else "H")
        whole = at + head + count * entry_bytes <= len(self.data)
        if count > MAX_FIELDS or not whole:
            self._warn("Its EXIF has a directory that is cut off, or has too many fields.")
        fields: dict[int, Field] = {}
        for position in range(at + head, at + head + min(count, MAX_FIELDS) * entry_bytes, entry_bytes):
            if position + entry_bytes > len(self.data):
                break
            tag = self._number(position, "H")
            found = None if tag in skipped else self._field(position)
            if found is not None:
                fields.setdefault(tag, found)
        after = at + head + count * entry_bytes
        told = whole and after + (8 if self.big else 4) <= len(self.data)
        return fields, self._number(after, "Q" if self.big else "L") if told else 0

    def _field(self, position: int) -> Field | None:
        type_ = self._number(position + 2, "H")
        count = self._number(position + 4, "Q" if self.big else "L")
        if type_ not in SIZES:
            self._warn("Its EXIF has fields of no known type.")
            return None
        size_bytes, inline = count * SIZES[type_], position + (12 if self.big else 8)
        if size_bytes <= (8 if self.big else 4):
            return Field(type_, self.data[inline : inline + size_bytes])
        at = self._number(inline, "Q" if self.big else "L")
        if at + size_bytes > len(self.data):
            self._warn("Its EXIF has values beyond its end.")
            return None
        if size_bytes > min(MAX_VALUE_BYTES, self._left_bytes):
            self._warn("Its EXIF has values that are too large; they are left out.")
            return None
        self._left_bytes -= size_bytes
        return Field(type_, self.data[at : at + size_bytes], at)

    def thumbnail(self, fields: Fields) -> bytes:
        at, size_bytes = (number(fields.get(tag), self.order) for tag in (_THUMBNAIL_AT, _THUMBNAIL_BYTES))
        if at is None or size_bytes is None or size_bytes > MAX_VALUE_BYTES or at + size_bytes > len(self.data):
            return b""
        return self.data[at : at + size_bytes]


def number(found: Field | None, order: Order) -> int | None:
    """The first number of a field of whole numbers."""
    if found is None or found.type not in (1, 3, 4, 6, 8, 9, 13, 16, 17, 18) or not found.count:
        return None
    return int(struct.unpack_from(order + _CODES[found.type], found.raw)[0])


def value_of(found: Field, order: Order) -> Value | None:
    """What a field holds: text to its first zero, numbers, or bytes. None: nothing, or a division by zero."""
    if found.type in (ASCII, UTF8):
        return text_of(found.raw.split(b"\0", 1)[0])
    if found.type == UNDEFINED:
        return found.raw
    code = order + _CODES[found.type] * found.count if found.type not in _RATIONALS else ""
    if found.type in _RATIONALS:
        parts = struct.unpack(order + _CODES[found.type][0] * 2 * found.count, found.raw)
        pairs = zip(parts[::2], parts[1::2], strict=True)
        ratios = [float(Fraction(above, below)) if below else None for above, below in pairs]
        numbers: tuple[float, ...] = tuple(each for each in ratios if each is not None)
        if len(numbers) < len(ratios):
            return None
    else:
        numbers = struct.unpack(code, found.raw)
    if not numbers:
        return None
    return numbers[0] if len(numbers) == 1 else numbers


def text_of(raw: bytes) -> str:
    """UTF-8, or Latin-1 where it isn't: EXIF's ASCII holds both in practice. Without control characters."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return "".join(each for each in text if each in "\n\t" or each.isprintable()).strip()


def text(value: str) -> Field:
    return Field(ASCII, value.encode() + b"\0")


def short(value: int, order: Order) -> Field:
    return Field(SHORT, struct.pack(order + "H", value))


def serialise(block: Block) -> bytes:
    """The block's bytes; none where it has no field. A MakerNote stays where it stood: its makers count from the
    block's begin, and nobody else knows their offsets.
    """
    if not any((block.image, block.exif, block.gps, block.thumbnail)):
        return b""
    note = block.exif.get(MAKER_NOTE)
    writer = _Writer(block.order, note)
    image = {tag: each for tag, each in block.image.items() if tag not in (EXIF, GPS)}
    exif = {tag: each for tag, each in block.exif.items() if tag != INTEROP}
    if block.interop:
        exif[INTEROP] = writer.pointer(writer.directory(block.interop))
    if exif:
        image[EXIF] = writer.pointer(writer.directory(exif))
    if block.gps:
        image[GPS] = writer.pointer(writer.directory(block.gps))
    following = 0
    if block.thumbnail:
        thumbnail = dict(block.thumbnail)
        if block.thumbnail_file:
            thumbnail[_THUMBNAIL_AT] = writer.pointer(writer.placed(block.thumbnail_file))
        else:
            thumbnail = {tag: thumbnail[tag] for tag in thumbnail.keys() - {_THUMBNAIL_AT, _THUMBNAIL_BYTES}}
        following = writer.directory(thumbnail)
    return writer.finished(writer.directory(image, following))


class _Writer:
    def __init__(self, order: Order, pinned: Field | None) -> None:
        self.order = order
        self._out = bytearray(8)
        near = pinned is not None and pinned.at is not None and 8 <= pinned.at < MAX_VALUE_BYTES
        self._pinned = pinned if near else None

    def pointer(self, at: int) -> Field:
        return Field(LONG, struct.pack(self.order + "L", at))

    def placed(self, raw: bytes) -> int:
        """Put bytes at the next place that is free and even."""
        at = len(self._out) + (len(self._out) & 1)
        if self._pinned is not None:
            assert self._pinned.at is not None
            end = self._pinned.at + len(self._pinned.raw)
            if at < end and at + len(raw) > self._pinned.at:
                at = end + (end & 1)
        self._put(at, raw)
        return at

    def _put(self, at: int, raw: bytes) -> None:
        self._out.extend(bytes(max(0, at + len(raw) - len(self._out))))
        self._out[at : at + len(raw)] = raw

    def directory(self, fields: Fields, following: int = 0) -> int:
        entries = [
            struct.pack(self.order + "HHL", tag, each.type, each.count) + self._value(each)
            for tag, each in sorted(fields.items())
            if each.type not in _BIG
        ]
        head = struct.pack(self.order + "H", len(entries))
        return self.placed(head + b"".join(entries) + struct.pack(self.order + "L", following))

    def _value(self, each: Field) -> bytes:
        if len(each.raw) <= 4:
            return each.raw.ljust(4, b"\0")
        if each is self._pinned:
            assert each.at is not None
            return struct.pack(self.order + "L", each.at)
        return struct.pack(self.order + "L", self.placed(each.raw))

    def finished(self, first: int) -> bytes:
        head = b"II" if self.order == "<" else b"MM"
        self._out[:8] = head + struct.pack(self.order + "HL", 42, first)
        if self._pinned is not None:
            assert self._pinned.at is not None
            self._put(self._pinned.at, self._pinned.raw)
        return bytes(self._out)


def without(block: Block, tags: frozenset[int]) -> Block:
    """A block without some tags, in whichever directory."""
    return replace(
        block,
        image={tag: each for tag, each in block.image.items() if tag not in tags},
        exif={tag: each for tag, each in block.exif.items() if tag not in tags},
        thumbnail={tag: each for tag, each in block.thumbnail.items() if tag not in tags},
    )
