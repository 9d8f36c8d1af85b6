"""What an AVIF file tells of its picture beside the pixels, which Pillow doesn't: its colour space and its depth.

Source: ISO/IEC 23008-12, 9.3 and 6.5; ISO/IEC 14496-12, 8.11 and 12.1.5.
"""

import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO

from pipelines.media.errors import SourceUnreadableError
from pipelines.media.images.metadata.avif_boxes import Box, boxes_of

_MAX_META_BYTES = 1 << 20
_MAX_BOXES = 1000


def code_points_and_bits(file: BinaryIO) -> tuple[tuple[int, int] | None, int | None]:
    """Primaries and transfer of the file's picture (ITU-T H.273), and its bits of a channel; None: it doesn't tell."""
    points = bits = None
    with suppress(SourceUnreadableError, IndexError, struct.error):
        for type_, body in _properties(_meta(file)):
            if type_ == b"colr" and body[:4] == b"nclx":
                points = struct.unpack_from(">HH", body, 4)
            elif type_ == b"pixi" and body[4]:
                bits = body[5]
    return points, bits


def _meta(file: BinaryIO) -> bytes:
    """What the file's list of items holds."""
    at = 0
    for _ in range(_MAX_BOXES):
        file.seek(at)
        head = file.read(16)
        size, type_ = struct.unpack_from(">L4s", head)
        begin = 8
        if size == 1:
            size, begin = struct.unpack_from(">Q", head, 8)[0], 16
        if type_ == b"meta":
            file.seek(at + begin)
            return file.read(min(size - begin, _MAX_META_BYTES)) if size > begin else b""
        if size < begin:
            break
        at += size
    return b""


def _properties(meta: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Types and contents of the properties of the picture that is to be shown."""
    parts = _by_type(meta, 4, len(meta))
    if b"pitm" not in parts or b"iprp" not in parts:
        return
    pitm, iprp = parts[b"pitm"], parts[b"iprp"]
    primary = int.from_bytes(meta[pitm.body + 4 : pitm.end], "big")
    inner = _by_type(meta, iprp.body, iprp.end)
    if b"ipco" not in inner or b"ipma" not in inner:
        return
    boxes = list(boxes_of(meta, inner[b"ipco"].body, inner[b"ipco"].end))
    for number in _numbers(meta, inner[b"ipma"], primary):
        if 0 < number <= len(boxes):
            box = boxes[number - 1]
            yield box.type, meta[box.body : box.end]


def _by_type(data: bytes, at: int, end: int) -> dict[bytes, Box]:
    return {each.type: each for each in boxes_of(data, at, end)}


def _numbers(meta: bytes, ipma: Box, item: int) -> Iterator[int]:
    """The numbers, from 1, of an item's properties."""
    wide, size = (4 if meta[ipma.body] else 2), (2 if meta[ipma.body + 3] & 1 else 1)
    at = ipma.body + 8
    while at < ipma.end:
        id_, count = int.from_bytes(meta[at : at + wide], "big"), meta[at + wide]
        at += wide + 1
        if id_ == item:
            # The highest bit tells whether a reader has to know it.
            mask = (1 << (8 * size - 1)) - 1
            yield from (
                int.from_bytes(meta[each : each + size], "big") & mask for each in range(at, at + count * size, size)
            )
        at += count * size
