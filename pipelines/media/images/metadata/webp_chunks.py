"""WebP files as chunks: their metadata, and the same pixels with other metadata.

Source: the WebP container specification. A file with metadata begins with VP8X, whose flags tell of them.
"""

import struct
from dataclasses import dataclass

from pipelines.media.errors import SourceUnreadableError
from pipelines.media.images.metadata.blocks import Blocks, Change, Pictures
from pipelines.media.images.metadata.exif import PREFIX

_EXIF_FLAG, _XMP_FLAG, _ALPHA_FLAG = 0x08, 0x04, 0x10
_SHOWN = frozenset({b"VP8X", b"ICCP", b"ANIM", b"ANMF", b"ALPH", b"VP8 ", b"VP8L"})
MAX_CHUNKS = 100_000


@dataclass(frozen=True)
class Chunk:
    type: bytes
    payload: bytes


@dataclass(frozen=True)
class Webp:
    chunks: tuple[Chunk, ...]
    end: int


def parse(data: bytes) -> Webp:
    """Read the chunks.

    Raises:
        SourceUnreadableError: their lengths lie.
    """
    end = 8 + int.from_bytes(data[4:8], "little")
    chunks: list[Chunk] = []
    at = 12
    while at + 8 <= min(end, len(data)):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 8 + size > len(data) or len(chunks) >= MAX_CHUNKS:
            raise SourceUnreadableError("A WebP file's chunks are damaged.")
        chunks.append(Chunk(data[at : at + 4], data[at + 8 : at + 8 + size]))
        at += 8 + size + (size & 1)
    return Webp(tuple(chunks), min(at, len(data)))


def blocks_of(webp: Webp) -> Blocks:
    """Its metadata."""
    exif = next((each.payload for each in webp.chunks if each.type == b"EXIF"), None)
    packet = next((each.payload for each in webp.chunks if each.type == b"XMP "), None)
    return Blocks(exif=exif[len(PREFIX) :] if exif and exif.startswith(PREFIX) else exif, xmp=packet)


def rewritten(data: bytes, size: tuple[int, int], change: Change, bare: bool) -> bytes:
    """The file, of ``size`` (width, height as stored), with changed metadata. ``bare``: without chunks that nobody here
    knows, and what stands behind the end.

    Raises:
        SourceUnreadableError: its chunks' lengths lie.
    """
    webp = parse(data)
    after = change(blocks_of(webp), Pictures())
    kept = [each for each in webp.chunks if each.type not in (b"EXIF", b"XMP ") and (not bare or each.type in _SHOWN)]
    if kept and kept[0].type == b"VP8X":
        kept[0] = Chunk(b"VP8X", _flagged(kept[0].payload, after))
    elif after.exif or after.xmp:
        kept.insert(0, Chunk(b"VP8X", _flagged(_extended(kept, size), after)))
    if after.exif:
        kept.append(Chunk(b"EXIF", after.exif))
    if after.xmp:
        kept.append(Chunk(b"XMP ", after.xmp))
    body = b"WEBP" + b"".join(_chunk(each) for each in kept)
    return b"RIFF" + struct.pack("<L", len(body)) + body + (b"" if bare else data[webp.end :])


def _flagged(payload: bytes, blocks: Blocks) -> bytes:
    if len(payload) < 10:
        raise SourceUnreadableError("A WebP file's header is damaged.")
    flags = payload[0] & ~(_EXIF_FLAG | _XMP_FLAG)
    flags |= (_EXIF_FLAG if blocks.exif else 0) | (_XMP_FLAG if blocks.xmp else 0)
    return bytes((flags,)) + payload[1:]


def _extended(chunks: list[Chunk], size: tuple[int, int]) -> bytes:
    """A VP8X header for a file that has had none. A lossless picture tells of its alpha in its 29th bit."""
    clear = any(each.type == b"VP8L" and len(each.payload) >= 5 and each.payload[4] & 0x10 for each in chunks)
    width, height = size
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes((_ALPHA_FLAG if clear else 0, 0, 0, 0)) + sides


def _chunk(chunk: Chunk) -> bytes:
    return chunk.type + struct.pack("<L", len(chunk.payload)) + chunk.payload + b"\0" * (len(chunk.payload) & 1)


def durations_ms(webp: Webp) -> tuple[int, ...]:
    """Of an animation's frames."""
    return tuple(
        int.from_bytes(each.payload[12:15], "little")
        for each in webp.chunks
        if each.type == b"ANMF" and len(each.payload) >= 16
    )


def loops(webp: Webp) -> int | None:
    control = next((each.payload for each in webp.chunks if each.type == b"ANIM"), b"")
    return int.from_bytes(control[4:6], "little") if len(control) >= 6 else None
