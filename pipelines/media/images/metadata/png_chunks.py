"""PNG files as chunks: their metadata, and the same pixels with other metadata. Source: PNG 3rd edition, 5 and 11."""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from pipelines.media.errors import SourceUnreadableError
from pipelines.media.images.metadata.blocks import Blocks, Change, Pictures
from pipelines.media.images.metadata.exif import PREFIX

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_XMP = "XML:com.adobe.xmp"
_RAW = re.compile(r"Raw profile type (exif|app1|xmp|iptc|8bim)", re.IGNORECASE)
MAX_TEXT_BYTES = 1 << 20  # of one, decompressed
MAX_TEXTS_BYTES = 8 << 20  # of all
MAX_TEXTS = 500
MAX_CHUNKS = 500_000
# What a picture needs to look the same, and how large it is meant to be.
_SHOWN = frozenset(
    {
        b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"cHRM", b"gAMA", b"iCCP", b"sBIT", b"sRGB", b"cICP", b"mDCV",
        b"cLLI", b"mDCv", b"cLLi", b"bKGD", b"hIST", b"pHYs", b"acTL", b"fcTL", b"fdAT", b"eXIf",
    }
)  # fmt: skip
_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_Text = tuple[str, str]  # its keyword, and what it says


@dataclass(frozen=True)
class Chunk:
    type: bytes
    payload: bytes


@dataclass(frozen=True)
class Png:
    chunks: tuple[Chunk, ...]
    end: int


def parse(data: bytes) -> Png:
    """Read the chunks to IEND, or to the end of a file that is cut off.

    Raises:
        SourceUnreadableError: their lengths lie.
    """
    chunks: list[Chunk] = []
    at = len(_SIGNATURE)
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + size > len(data) or len(chunks) >= MAX_CHUNKS:
            raise SourceUnreadableError("A PNG file's chunks are damaged.")
        chunks.append(Chunk(data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
        if chunks[-1].type == b"IEND":
            break
    return Png(tuple(chunks), at)


def blocks_of(png: Png) -> tuple[Blocks, tuple[str, ...]]:
    """Its metadata, and what is wrong with them."""
    exif = xmp = photoshop = None
    texts: list[tuple[str, str]] = []
    warnings: list[str] = []
    left = MAX_TEXTS_BYTES
    for chunk in png.chunks:
        if chunk.type == b"eXIf":
            exif = exif or chunk.payload
        if chunk.type not in _TEXTS:
            continue
        told = _text(chunk) if left > 0 and len(texts) < MAX_TEXTS else None
        if told is None:
            warnings.append("It has text that is damaged, or too much of it.")
            continue
        keyword, raw, text = told
        left -= len(raw)
        if keyword == _XMP:
            xmp = raw
        elif _RAW.fullmatch(keyword):
            kind, block = _raw_profile(keyword, text)
            exif = exif or (block if kind in ("exif", "app1") and block.startswith((PREFIX, b"II", b"MM")) else None)
            photoshop = photoshop or (block if kind in ("iptc", "8bim") else None)
            xmp = xmp or (block if kind == "xmp" else None)
            texts.append((keyword, ""))
        else:
            texts.append((keyword, text))
    return Blocks(exif=exif, xmp=xmp, photoshop=photoshop, texts=tuple(texts)), tuple(dict.fromkeys(warnings))


def _text(chunk: Chunk) -> tuple[str, bytes, str] | None:
    """A text chunk's keyword, bytes and text; None: it's damaged, or a bomb."""
    keyword, zero, rest = chunk.payload.partition(b"\0")
    name = keyword[:79].decode("latin-1")
    if not zero:
        return None
    if chunk.type == b"tEXt":
        return name, rest, rest[:MAX_TEXT_BYTES].decode("latin-1")
    if chunk.type == b"zTXt":
        raw = _inflated(rest[1:])
        return None if raw is None else (name, raw, raw.decode("latin-1"))
    compressed, rest = rest[:1] == b"\x01", rest[2:]
    parts = rest.split(b"\0", 2)  # language, keyword in it, text
    if len(parts) < 3:
        return None
    raw = _inflated(parts[2]) if compressed else parts[2]
    return None if raw is None else (name, raw, raw[:MAX_TEXT_BYTES].decode("utf-8", "replace"))


def _inflated(data: bytes) -> bytes | None:
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(data, MAX_TEXT_BYTES)
    except zlib.error:
        return None
    return None if inflater.unconsumed_tail else raw


def _raw_profile(keyword: str, text: str) -> tuple[str, bytes]:
    """ImageMagick's: a name, a length, and bytes in hexadecimal."""
    kind = keyword.rsplit(" ", 1)[1].lower()
    parts = text.split()
    try:
        return kind, bytes.fromhex("".join(parts[2:]))
    except ValueError:
        return kind, b""


def rewritten(data: bytes, change: Change, bare: bool) -> bytes:
    """The file with changed metadata. ``bare``: of chunks that nobody here knows, and after the end, nothing is kept.

    Raises:
        SourceUnreadableError: its chunks' lengths lie.
    """
    png = parse(data)
    before, _ = blocks_of(png)
    after = change(before, Pictures())
    remade = (before.exif, before.xmp) != (after.exif, after.xmp)
    kept, gone = frozenset(after.texts), frozenset(before.texts) - frozenset(after.texts)
    out = bytearray(_SIGNATURE)
    for chunk in png.chunks:
        if chunk.type == b"eXIf" or (chunk.type in _TEXTS and not _text_stays(chunk, kept, gone, bare, remade)):
            continue
        if bare and chunk.type not in _SHOWN and chunk.type not in _TEXTS:
            continue
        out += _chunk(chunk)
        if chunk.type == b"IHDR":
            for made in _metadata(after):
                out += _chunk(made)
    return bytes(out) + (b"" if bare else data[png.end :])


def _text_stays(chunk: Chunk, kept: frozenset[_Text], gone: frozenset[_Text], bare: bool, remade: bool) -> bool:
    """``remade``: other EXIF or XMP is written, so that no old ones may stay."""
    told = _text(chunk)
    if told is None:
        return not bare
    keyword, _, text = told
    if keyword == _XMP:
        return False  # made anew
    if raw := _RAW.fullmatch(keyword):
        return not bare and not (remade and raw[1].lower() not in ("iptc", "8bim"))
    return (keyword, text) in kept or (not bare and (keyword, text) not in gone)


def _metadata(blocks: Blocks) -> Iterator[Chunk]:
    if blocks.exif:
        yield Chunk(b"eXIf", blocks.exif)
    if blocks.xmp:
        yield Chunk(b"iTXt", _XMP.encode() + b"\0\0\0\0\0" + blocks.xmp)


def _chunk(chunk: Chunk) -> bytes:
    check = zlib.crc32(chunk.type + chunk.payload)
    return struct.pack(">L", len(chunk.payload)) + chunk.type + chunk.payload + struct.pack(">L", check)


def durations_ms(png: Png) -> tuple[int, ...]:
    """Of an animation's frames."""
    found = []
    for chunk in png.chunks:
        if chunk.type == b"fcTL" and len(chunk.payload) == 26:
            above, below = struct.unpack_from(">HH", chunk.payload, 20)
            found.append(round(1000 * above / (below or 100)))
    return tuple(found)


def loops(png: Png) -> int | None:
    control = next((each.payload for each in png.chunks if each.type == b"acTL"), b"")
    return int.from_bytes(control[4:8], "big") if len(control) == 8 else None
