"""GIF files as blocks: their metadata, and the same pixels with other metadata. Source: GIF89a; XMP part 3, 1.1.2."""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from pipelines.media.errors import LimitError, SourceUnreadableError
from pipelines.media.images.metadata.blocks import Blocks, Change, Pictures

_EXTENSION, _IMAGE, _END = 0x21, 0x2C, 0x3B
_CONTROL, _COMMENT, _APPLICATION = 0xF9, 0xFE, 0xFF
_XMP, _LOOPS = b"XMP DataXMP", (b"NETSCAPE2.0", b"ANIMEXTS1.0")
_SHOWN = (*_LOOPS, b"ICCRGBG1012")
# A packet isn't cut into sub-blocks; wherever a reader that doesn't know it lands, this leads it to the end.
_TRAILER = b"\x01" + bytes(range(0xFF, -1, -1)) + b"\0"
MAX_BLOCKS = 100_000
MAX_SUB_BLOCKS = 2_000_000  # encoders put 255 bytes into each: twice as many as the largest file that is read has


@dataclass(frozen=True)
class Block:
    """One block's bytes as they stand; ``label`` of an extension, 0 of an image."""

    label: int
    raw: bytes

    @property
    def application(self) -> bytes:
        return self.raw[3:14] if self.label == _APPLICATION else b""


@dataclass(frozen=True)
class Gif:
    header: bytes
    blocks: tuple[Block, ...]
    end: int


def parse(data: bytes) -> Gif:
    """Read the blocks.

    Raises:
        SourceUnreadableError: they can't be told apart.
        LimitError: there are too many.
    """
    at = _first(data)
    header = data[:at]
    blocks: list[Block] = []
    for label, start, end in _spans(data, at):
        blocks.append(Block(label, data[start:end]))
        at = end
    return Gif(header, tuple(blocks), min(at + 1, len(data)))


def check_count(data: bytes) -> None:
    """Raise LimitError where a file has more blocks, or parts of them, than anybody needs. Damage is no matter here."""
    with suppress(SourceUnreadableError):
        for _ in _spans(data, _first(data)):
            pass


def _first(data: bytes) -> int:
    """Where the first block begins."""
    if len(data) < 13:
        raise SourceUnreadableError("A GIF file's header is cut off.")
    return 13 + _table_bytes(data[10])


def _spans(data: bytes, at: int) -> Iterator[tuple[int, int, int]]:
    """Label, begin and end of each block from ``at`` on. Raises as ``parse``."""
    blocks = parts = 0
    while at < len(data) and data[at] != _END:
        start = at
        if data[at] == _EXTENSION and at + 2 < len(data):
            label = data[at + 1]
            at, more = _after_xmp(data, at) or _after_sub_blocks(data, at + 2, MAX_SUB_BLOCKS - parts)
        elif data[at] == _IMAGE and at + 10 < len(data):
            label = 0
            at, more = _after_sub_blocks(data, at + 11 + _table_bytes(data[at + 9]), MAX_SUB_BLOCKS - parts)
        else:
            raise SourceUnreadableError("A GIF file's blocks are damaged.")
        blocks, parts = blocks + 1, parts + more
        if blocks > MAX_BLOCKS or parts >= MAX_SUB_BLOCKS:
            raise LimitError(f"A GIF file has more than {MAX_BLOCKS} blocks, or {MAX_SUB_BLOCKS} parts of them.")
        yield label, start, at


def _table_bytes(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _after_xmp(data: bytes, at: int) -> tuple[int, int] | None:
    """As ``_after_sub_blocks``, of a packet that is there."""
    if data[at + 1] != _APPLICATION or data[at + 3 : at + 14] != _XMP:
        return None
    end = data.find(_TRAILER[:1] + b"\xff\xfe\xfd", at)
    return (end + len(_TRAILER), 1) if end >= 0 and end + len(_TRAILER) <= len(data) else None


def _after_sub_blocks(data: bytes, at: int, most: int) -> tuple[int, int]:
    """Where sub-blocks that begin at ``at`` end, and how many were gone through: no more than ``most``."""
    count = 0
    while at < len(data) and data[at] and count < most:
        at += 1 + data[at]
        count += 1
    return min(at + 1, len(data)), count


def blocks_of(gif: Gif) -> Blocks:
    """Its metadata."""
    packet = next((each.raw[14 : -len(_TRAILER)] for each in gif.blocks if each.application == _XMP), None)
    return Blocks(xmp=packet, comments=tuple(_joined(each.raw[2:]) for each in gif.blocks if each.label == _COMMENT))


def _joined(sub_blocks: bytes) -> bytes:
    parts, at = [], 0
    while at < len(sub_blocks) and sub_blocks[at]:
        parts.append(sub_blocks[at + 1 : at + 1 + sub_blocks[at]])
        at += 1 + sub_blocks[at]
    return b"".join(parts)


def rewritten(data: bytes, change: Change, bare: bool) -> bytes:
    """The file with changed metadata: GIF has XMP and comments, no EXIF.

    Raises:
        SourceUnreadableError, LimitError: see ``parse``.
    """
    gif = parse(data)
    after = change(blocks_of(gif), Pictures())
    out = bytearray(b"GIF89a" + gif.header[6:])
    comments = Counter(after.comments)
    for each in gif.blocks:
        if each.application == _XMP or (bare and each.label == _APPLICATION and each.application not in _SHOWN):
            continue
        if each.label == _COMMENT:
            comment = _joined(each.raw[2:])
            if not comments[comment]:
                continue
            comments[comment] -= 1
        out += each.raw
    if after.xmp:
        out += bytes((_EXTENSION, _APPLICATION, len(_XMP))) + _XMP + after.xmp + _TRAILER
    return bytes(out) + bytes((_END,)) + (b"" if bare else data[gif.end :])


def durations_ms(gif: Gif) -> tuple[int, ...]:
    """Of an animation's frames: a control block is about the image that follows."""
    found = []
    told = 0
    for each in gif.blocks:
        if each.label == _CONTROL and len(each.raw) >= 8:
            told = 10 * int.from_bytes(each.raw[4:6], "little")
        elif each.label == 0:
            found.append(told)
            told = 0
    return tuple(found)


def loops(gif: Gif) -> int | None:
    """GIF counts the plays after the first; told here is how often it's played."""
    for each in gif.blocks:
        if each.application in _LOOPS and len(each.raw) >= 18 and each.raw[15] == 1:
            again = int.from_bytes(each.raw[16:18], "little")
            return again + 1 if again else 0
    return None
