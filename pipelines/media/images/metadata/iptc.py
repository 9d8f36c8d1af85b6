"""IPTC's records (IIM 4.2, record 2), and the resources of Photoshop's that a JPEG has them in."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from pipelines.media.images.metadata.exif import PLACE
from pipelines.media.images.metadata.ifd import text_of
from pipelines.media.images.metadata.metadata_spec import MetadataSpec, Strip, Texts

MAX_RECORDS = 1000
MAX_TEXT = 2000
NAMES = {
    3: "object_type", 4: "object_attribute", 5: "title", 7: "edit_status", 10: "urgency", 12: "subject_code",
    15: "category", 20: "supplemental_categories", 22: "fixture", 25: "keywords", 26: "location_code",
    27: "location_name", 30: "release_date", 35: "release_time", 37: "expiration_date", 38: "expiration_time",
    40: "special_instructions", 55: "date_created", 60: "time_created", 62: "digital_date_created",
    63: "digital_time_created", 65: "program", 70: "program_version", 75: "object_cycle", 80: "byline",
    85: "byline_title", 90: "city", 92: "sublocation", 95: "province_state", 100: "country_code", 101: "country",
    103: "transmission_reference", 105: "headline", 110: "credit", 115: "source", 116: "copyright", 118: "contact",
    120: "caption", 122: "caption_writer", 130: "image_type", 131: "image_orientation", 135: "language",
}  # fmt: skip
_REPEATED = frozenset({4, 12, 20, 25, 26, 27, 80, 85, 118, 122})
_PLACES = frozenset({26, 27, 90, 92, 95, 100, 101})
_CREDIT = frozenset({80, 110, 116})
_KEPT_IN_PRIVATE = _CREDIT | {30, 35, 37, 38, 55, 60, 62, 63}
_LIMITS = {5: 64, 25: 64, 80: 32, 116: 128, 120: 2000}  # bytes, as IIM has them
_UTF8 = b"\x1b%G"
_RESOLUTION, _IPTC, _DIGEST, _MARKED, _URL = 0x03ED, 0x0404, 0x0425, 0x040A, 0x040B
PHOTOSHOP = b"Photoshop 3.0\0"


@dataclass(frozen=True)
class Record:
    number: int
    dataset: int
    raw: bytes


def parse(data: bytes) -> tuple[tuple[Record, ...], tuple[str, ...]]:
    """The records of an IIM block, and what is wrong with it."""
    records: list[Record] = []
    at = 0
    while at + 5 <= len(data) and data[at] == 0x1C:
        number, dataset, size = struct.unpack_from(">BBH", data, at + 1)
        at += 5
        if size & 0x8000:  # what follows is how long the length is
            wide = size & 0x7FFF
            if wide > 4:
                return tuple(records), ("Its IPTC is damaged.",)
            size = int.from_bytes(data[at : at + wide], "big")
            at += wide
        if at + size > len(data):
            return tuple(records), ("Its IPTC is cut off.",)
        if len(records) >= MAX_RECORDS:
            return tuple(records), ("Its IPTC has too many records.",)
        records.append(Record(number, dataset, data[at : at + size]))
        at += size
    return tuple(records), ("Its IPTC is damaged.",) if data[at:].strip(b"\0") else ()


def read(records: tuple[Record, ...]) -> dict[str, Texts]:
    """Texts by their names; of those that IIM lets repeat, tuples."""
    told: dict[str, Texts] = {}
    for each in records:
        name = NAMES.get(each.dataset)
        if each.number != 2 or name is None:
            continue
        text = text_of(each.raw)[:MAX_TEXT]
        if each.dataset in _REPEATED:
            before = told.get(name, ())
            told[name] = (*before, text) if isinstance(before, tuple) else (text,)
        else:
            told.setdefault(name, text)
    return told


def stripped(records: tuple[Record, ...], strip: Strip) -> tuple[Record, ...]:
    """What a policy keeps."""
    if strip == "nothing":
        return records
    if strip == "all":
        return ()
    if strip == "private":
        return tuple(each for each in records if each.number == 2 and each.dataset in _KEPT_IN_PRIVATE)
    return tuple(each for each in records if not is_place(each))


def is_place(record: Record) -> bool:
    return (record.number == 2 and record.dataset in _PLACES) or bool(PLACE.search(text_of(record.raw)))


def with_values(records: tuple[Record, ...], spec: MetadataSpec) -> tuple[Record, ...]:
    """Records with the values that are set, all in UTF-8. Texts are cut to what IIM allows; XMP has them whole."""
    new: dict[int, tuple[str, ...]] = {}
    for dataset, value in ((5, spec.title), (80, spec.artist), (116, spec.copyright), (120, spec.description)):
        if value is not None:
            new[dataset] = (value,)
    if spec.keywords is not None:
        new[25] = spec.keywords
    if spec.taken_at is not None:
        new[55] = (f"{spec.taken_at.year:04}{spec.taken_at:%m%d}",)
        new[60] = (f"{spec.taken_at:%H%M%S%z}"[:11],)
    kept = [
        Record(2, each.dataset, text_of(each.raw).encode() if each.dataset else each.raw)
        for each in records
        if each.number == 2 and each.dataset not in new
    ]
    added = [
        Record(2, dataset, _cut(text, _LIMITS.get(dataset, MAX_TEXT)))
        for dataset, texts in new.items()
        for text in texts
    ]
    first = [each for each in records if each.number == 1 and each.dataset != 90]
    return (*first, Record(1, 90, _UTF8), *sorted((*kept, *added), key=lambda each: each.dataset))


def _cut(text: str, limit_bytes: int) -> bytes:
    return text.encode()[:limit_bytes].decode(errors="ignore").encode()


def serialise(records: tuple[Record, ...]) -> bytes:
    return b"".join(
        struct.pack(">BBB", 0x1C, each.number, each.dataset)
        + (struct.pack(">H", len(each.raw)) if len(each.raw) < 0x8000 else struct.pack(">HL", 0x8004, len(each.raw)))
        + each.raw
        for each in records
    )


def resources(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Photoshop's resources in a block: number, name as it stands there, and bytes. Ends where it's damaged."""
    at = 0
    while data[at : at + 4] == b"8BIM" and at + 7 <= len(data):
        number = int.from_bytes(data[at + 4 : at + 6], "big")
        name = data[at + 6 : at + 7 + data[at + 6]]
        at += 6 + len(name) + (len(name) & 1)
        size = int.from_bytes(data[at : at + 4], "big")
        at += 4
        if at + size > len(data):
            return
        yield number, name, data[at : at + size]
        at += size + (size & 1)


def iptc_in(photoshop: bytes) -> bytes | None:
    """The IIM block in Photoshop's resources."""
    return next((raw for number, _, raw in resources(photoshop) if number == _IPTC), None)


def with_iptc(photoshop: bytes, iptc: bytes | None, bare: bool) -> bytes:
    """Photoshop's resources with another IIM block; ``bare``: of the others only what is harmless and of use."""
    kept = (_RESOLUTION, _MARKED, _URL)
    parts = [
        (number, name, raw)
        for number, name, raw in resources(photoshop)
        if number not in (_IPTC, _DIGEST) and (not bare or number in kept)
    ]
    if iptc:
        parts.append((_IPTC, b"\0", iptc))
    return b"".join(_resource(*each) for each in parts)


def _resource(number: int, name: bytes, raw: bytes) -> bytes:
    padded = name + b"\0" * (len(name) & 1)
    return b"8BIM" + struct.pack(">H", number) + padded + struct.pack(">L", len(raw)) + raw + b"\0" * (len(raw) & 1)
