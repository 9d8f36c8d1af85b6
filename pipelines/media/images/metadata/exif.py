"""EXIF: what its fields say, which of them a policy keeps, and setting some."""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Literal

from PIL import ExifTags

from pipelines.media.images.metadata import ifd
from pipelines.media.images.metadata.ifd import Block, Field, Fields, Order, Value, value_of
from pipelines.media.images.metadata.metadata_spec import Exif, Gps, MetadataSpec, Strip, Told

PREFIX = b"Exif\0\0"
ORIENTATION = 0x0112
ARTIST, COPYRIGHT, DESCRIPTION = 0x013B, 0x8298, 0x010E
_SOFTWARE, _CHANGED, _USER_COMMENT = 0x0131, 0x0132, 0x9286
_TAKEN, _DIGITISED = 0x9003, 0x9004
_OFFSETS = {_CHANGED: 0x9010, _TAKEN: 0x9011, _DIGITISED: 0x9012}
_SUBSECONDS = {_CHANGED: 0x9290, _TAKEN: 0x9291, _DIGITISED: 0x9292}
XMP, IPTC, _PHOTOSHOP, ICC = 0x02BC, 0x83BB, 0x8649, 0x8773
EMBEDDED = frozenset({XMP, IPTC, _PHOTOSHOP, ICC})
# Where a TIFF's pixels are and how they're packed: they make sense in that file only.
STRUCTURE = frozenset(
    {
        *range(0x00FE, 0x0108), 0x010A, 0x0111, *range(0x0115, 0x011A), 0x011C, 0x0120, 0x0121, 0x0122, 0x0123, 0x0124,
        0x0125, 0x013D, 0x0140, *range(0x0142, 0x0146), 0x014A, 0x0152, 0x0153, 0x015B, *range(0x0200, 0x0210),
        *range(0x0211, 0x0215),
    }
)  # fmt: skip

MAX_TEXT = 2000
MAX_OTHER = 256
_MAX_LIST = 32
# What free text begins with where a program has put a position into it.
PLACE = re.compile(r"\b(gps|latitude|longitude)", re.IGNORECASE)
_TIME = re.compile(r"(\d{4})[:\-/](\d\d)[:\-/](\d\d)[ T](\d\d):(\d\d):(\d\d)")
_OFFSET = re.compile(r"[+-]\d\d:\d\d|Z")

# Camera settings, times, credit and how to show it. Not in it: serial numbers, owners, software, free text, unknown.
_KEPT_IN_PRIVATE = frozenset(
    {
        0x010F, 0x0110, ORIENTATION, 0x011A, 0x011B, 0x0128, _CHANGED, ARTIST, COPYRIGHT, 0x0213, 0x013E, 0x013F,
        0x0211, 0x0214, 0x829A, 0x829D, 0x8822, 0x8824, 0x8827, 0x8828, *range(0x8830, 0x8836), 0x9000, _TAKEN,
        _DIGITISED,
        *range(0x9010, 0x9013), 0x9101, 0x9102, *range(0x9201, 0x920B), *range(0x9290, 0x9293), 0xA000, 0xA001, 0xA002,
        0xA003, 0xA20E, 0xA20F, 0xA210, 0xA215, 0xA217, 0xA300, 0xA301, 0xA302, *range(0xA401, 0xA40B), 0xA40C, 0xA432,
        0xA433, 0xA434, 0xA460, 0xA500,
    }
)  # fmt: skip
_CREDIT = frozenset({ARTIST, COPYRIGHT})
_MEASURES = frozenset({0xA002, 0xA003, 0xA001})  # size and colour space: those of the source's pixels


def parse(data: bytes) -> Block:
    """Read an EXIF block, with or without what it begins with in a JPEG. Damage is told in its ``warnings``."""
    while data.startswith(PREFIX):
        data = data[len(PREFIX) :]
    return ifd.parse(data)


def read(block: Block) -> Exif | None:
    """The fields with a name of their own and the rest; None where there are none."""
    image, exif, order = block.image, block.exif, block.order
    if not (image or exif or block.thumbnail):
        return None
    both = {**image, **exif}
    named = _Named(both, order)
    note = exif.get(ifd.MAKER_NOTE)
    flash = named.number(0x9209)
    iso = named.number(0x8827)
    return Exif(
        make=named.text(0x010F),
        model=named.text(0x0110),
        lens=named.text(0xA434),
        exposure_s=named.number(0x829A),
        f_number=named.number(0x829D),
        iso=None if iso is None else int(iso),
        focal_length_mm=named.number(0x920A),
        focal_length_35mm_mm=named.number(0xA405),
        exposure_bias_ev=named.number(0x9204),
        flash=None if flash is None else bool(int(flash) & 1),
        orientation=ifd.number(image.get(ORIENTATION), order),
        taken_at=named.time(_TAKEN),
        digitised_at=named.time(_DIGITISED),
        changed_at=named.time(_CHANGED),
        software=named.text(_SOFTWARE),
        artist=named.text(ARTIST),
        copyright=_copyright(image.get(COPYRIGHT)),
        description=named.text(DESCRIPTION),
        user_comment=_comment(exif.get(_USER_COMMENT), order),
        thumbnail_bytes=len(block.thumbnail_file) or None,
        maker_note_bytes=len(note.raw) if note else None,
        other=_others(both, order),
    )


_NAMED = frozenset(
    {
        0x010F, 0x0110, 0xA434, 0x829A, 0x829D, 0x8827, 0x920A, 0xA405, 0x9204, 0x9209, ORIENTATION, _TAKEN, _DIGITISED,
        _CHANGED, _SOFTWARE, ARTIST, COPYRIGHT, DESCRIPTION, _USER_COMMENT, ifd.MAKER_NOTE, ifd.EXIF, ifd.GPS,
        ifd.INTEROP,
        *_OFFSETS.values(), *_SUBSECONDS.values(),
    }
)  # fmt: skip


class _Named:
    """Reads fields by their tags."""

    def __init__(self, fields: Fields, order: Order) -> None:
        self._fields, self._order = fields, order

    def value(self, tag: int) -> Value | None:
        found = self._fields.get(tag)
        return value_of(found, self._order) if found else None

    def text(self, tag: int) -> str | None:
        value = self.value(tag)
        return (value[:MAX_TEXT] or None) if isinstance(value, str) else None

    def number(self, tag: int) -> float | None:
        value = self.value(tag)
        first: object = value[0] if isinstance(value, tuple) else value
        return float(first) if isinstance(first, int | float) and math.isfinite(first) else None

    def time(self, tag: int) -> str | None:
        match = _TIME.match(self.text(tag) or "")
        if not match:
            return None
        year, month, day, hour, minute, second = match.groups()
        fraction = re.match(r"\d{1,6}", self.text(_SUBSECONDS[tag]) or "")
        offset = _OFFSET.fullmatch(self.text(_OFFSETS[tag]) or "")
        told = f"{year}-{month}-{day}T{hour}:{minute}:{second}" + (f".{fraction[0]}" if fraction else "")
        told += offset[0] if offset else ""
        try:
            datetime.fromisoformat(told)
        except ValueError:  # 0000:00:00, of clocks that nobody has set
            return None
        return told


def _copyright(found: Field | None) -> str | None:
    """The photographer's and the editor's have a zero between them."""
    if found is None or found.type not in (ifd.ASCII, ifd.UTF8):
        return None
    parts = [ifd.text_of(each) for each in found.raw.split(b"\0")[:2]]
    return "; ".join(each for each in parts if each)[:MAX_TEXT] or None


def _comment(found: Field | None, order: Order) -> str | None:
    """Eight bytes tell its characters."""
    if found is None or found.type not in (1, ifd.UNDEFINED, ifd.ASCII):
        return None
    code, raw = found.raw[:8], found.raw[8:]
    if found.type == ifd.ASCII:
        return ifd.text_of(found.raw.split(b"\0", 1)[0])[:MAX_TEXT] or None
    if code.startswith(b"UNICODE"):
        wide = raw.decode("utf-16-le" if order == "<" else "utf-16-be", "replace")
        return ifd.text_of(wide.split("\0", 1)[0].encode())[:MAX_TEXT] or None
    if code.startswith((b"ASCII", b"\0\0\0\0")):
        return ifd.text_of(raw.split(b"\0", 1)[0])[:MAX_TEXT] or None
    return None


def _others(fields: Fields, order: Order) -> dict[str, Told]:
    others: dict[str, Told] = {}
    for tag, found in fields.items():
        if tag in _NAMED or tag in EMBEDDED or tag in STRUCTURE or len(others) >= MAX_OTHER:
            continue
        told = _told(value_of(found, order))
        if told is not None:
            others[ExifTags.TAGS.get(tag, f"0x{tag:04X}")] = told
    return others


def _told(value: Value | None) -> Told | None:
    if isinstance(value, bytes):
        printable = 0 < len(value) <= 64 and all(32 <= each < 127 for each in value.rstrip(b"\0"))
        return value.rstrip(b"\0").decode("ascii") if printable else f"{len(value)} bytes"
    if isinstance(value, str):
        return value[:MAX_TEXT] or None
    if isinstance(value, tuple):
        return tuple(each for each in value[:_MAX_LIST] if math.isfinite(each))
    return value if value is not None and math.isfinite(value) else None


def read_gps(block: Block) -> tuple[Gps | None, tuple[str, ...]]:
    """Where a picture was taken, and what is wrong with that."""
    if not block.gps:
        return None, ()
    named = _Named(block.gps, block.order)
    latitude, longitude = _degrees(named, 2, 90, "S"), _degrees(named, 4, 180, "W")
    warnings: tuple[str, ...] = ()
    if (latitude is None and 2 in block.gps) or (longitude is None and 4 in block.gps):
        warnings = ("Its position isn't one.",)
    below = named.value(5) in (1, b"\x01")
    altitude = named.number(6)
    found = Gps(
        latitude=latitude,
        longitude=longitude,
        altitude_m=altitude if altitude is None or not below else -altitude,
        direction_degrees=named.number(17),
        time=_gps_time(named),
    )
    return (found if found != Gps() else None), warnings


def _degrees(named: _Named, tag: int, limit: int, negative: str) -> float | None:
    value = named.value(tag)
    parts = value if isinstance(value, tuple) else (value,)
    numbers = [float(each) for each in parts if isinstance(each, int | float)]
    if not 1 <= len(numbers) <= 3:
        return None
    degrees = sum(each / part for each, part in zip(numbers, (1, 60, 3600), strict=False))
    if not math.isfinite(degrees) or not 0 <= degrees <= limit:
        return None
    return round(-degrees if (named.text(tag - 1) or "").upper().startswith(negative) else degrees, 7)


def _gps_time(named: _Named) -> str | None:
    date, clock = re.fullmatch(r"(\d{4}):(\d\d):(\d\d)", named.text(29) or ""), named.value(7)
    if not date or not isinstance(clock, tuple) or len(clock) != 3:
        return None
    try:
        told = datetime(*(int(each) for each in (*date.groups(), *clock)))  # type: ignore[arg-type]  # of six numbers
    except (ValueError, OverflowError):  # not a number, infinite, or no time of a day
        return None
    return f"{told.isoformat()}Z"


def stripped(block: Block, strip: Strip) -> Block:
    """What a policy keeps. MakerNotes go with ``gps``: nobody knows all that cameras write there."""
    if strip == "nothing":
        return block
    if strip == "all":
        return Block(order=block.order, image=_picked(block.image, frozenset({ORIENTATION})))
    if strip == "private":
        return Block(
            order=block.order,
            image=_picked(block.image, _KEPT_IN_PRIVATE),
            exif=_picked(block.exif, _KEPT_IN_PRIVATE),
            interop=block.interop,
        )
    thumbnail_told = PREFIX in block.thumbnail_file  # it has an EXIF of its own
    return Block(
        order=block.order,
        image=_placeless(block.image),
        exif=_placeless(block.exif),
        interop=block.interop,
        thumbnail={} if thumbnail_told else _placeless(block.thumbnail),
        thumbnail_file=b"" if thumbnail_told else block.thumbnail_file,
    )


def _picked(fields: Fields, tags: frozenset[int]) -> Fields:
    return {tag: each for tag, each in fields.items() if tag in tags and not _has_place(each)}


def _placeless(fields: Fields) -> Fields:
    gone = EMBEDDED | {ifd.MAKER_NOTE, ifd.GPS, 0xC634}  # DNG's private data
    return {tag: each for tag, each in fields.items() if tag not in gone and not _has_place(each)}


def _has_place(found: Field) -> bool:
    """Whether its text tells of a position: programs put them into comments."""
    if found.type not in (1, ifd.ASCII, ifd.UNDEFINED, ifd.UTF8):
        return False
    return any(PLACE.search(found.raw.decode(code, "replace")) for code in ("latin-1", "utf-16-le", "utf-16-be"))


def has_gps(block: Block) -> bool:
    """Whether anything of a block may tell a place."""
    fields = {**block.image, **block.exif}
    return bool(block.gps) or ifd.MAKER_NOTE in fields or any(_has_place(each) for each in fields.values())


def with_values(block: Block, spec: MetadataSpec) -> Block:
    """A block with the values that are set."""
    image, exif = dict(block.image), dict(block.exif)
    for tag, value in ((ARTIST, spec.artist), (COPYRIGHT, spec.copyright), (DESCRIPTION, spec.description)):
        if value is not None:
            image[tag] = ifd.text(value)
    if spec.taken_at is not None:
        taken = spec.taken_at
        exif[_TAKEN] = ifd.text(taken.strftime("%Y:%m:%d %H:%M:%S").rjust(19, "0"))
        exif.pop(_OFFSETS[_TAKEN], None)
        exif.pop(_SUBSECONDS[_TAKEN], None)
        if taken.utcoffset() is not None:
            exif[_OFFSETS[_TAKEN]] = ifd.text(taken.isoformat(timespec="seconds")[19:25])
        if taken.microsecond:
            exif[_SUBSECONDS[_TAKEN]] = ifd.text(f"{taken.microsecond:06}".rstrip("0"))
    if exif and not block.exif:
        exif[0x9000] = Field(ifd.UNDEFINED, b"0232")
    return replace(block, image=image, exif=exif)


def for_new_pixels(block: Block, keep: Literal["copyright", "all-but-gps", "all"]) -> Block:
    """What goes with pixels that are encoded anew: upright, of another size and colour space, without a thumbnail."""
    if keep == "copyright":
        return Block(order=block.order, image=_picked(block.image, _CREDIT))
    kept = block if keep == "all" else stripped(block, "gps")
    gone = STRUCTURE | EMBEDDED | _MEASURES | {ifd.EXIF, ifd.GPS, ifd.INTEROP}
    image = {tag: each for tag, each in kept.image.items() if tag not in gone}
    if ORIENTATION in image:
        image[ORIENTATION] = ifd.short(1, block.order)
    exif = {tag: each for tag, each in kept.exif.items() if tag not in gone}
    return Block(order=block.order, image=image, exif=exif, gps=kept.gps)


def within(block: Block, limit_bytes: int, serialise: Callable[[Block], bytes] = ifd.serialise) -> bytes:
    """The bytes of a block; without its largest fields, the MakerNote first, where they would be too many."""
    data = serialise(block)
    while len(data) > limit_bytes:
        fields = {**block.image, **block.exif}
        if not fields:  # it's its position that is so large
            return b""
        largest = ifd.MAKER_NOTE if ifd.MAKER_NOTE in fields else max(fields, key=lambda tag: len(fields[tag].raw))
        block = ifd.without(block, frozenset({largest}))
        data = serialise(block)
    return data
