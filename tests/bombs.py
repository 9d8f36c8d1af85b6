"""Hostile pictures, made here: small files that claim, or unpack to, far more than they hold."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

_PNG = b"\x89PNG\r\n\x1a\n"


def bombs(folder: Path) -> list[Path]:
    """One file of each kind, named after it."""
    return _written(folder, _contents())


def metadata_bombs(folder: Path) -> list[Path]:
    """Of those that are hostile to who changes their metadata, too."""
    return _written(folder, _metadata_contents())


def _written(folder: Path, contents: dict[str, bytes]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, data in contents.items():
        path = folder / name
        path.write_bytes(data)
        made.append(path)
    return made


def _contents() -> dict[str, bytes]:
    return {
        "pixels.png": _png(60_000, 60_000),
        "pixels.jpg": _jpeg_of(65_500, 65_500),
        "pixels.gif": _gif(65_535, [65_535]),
        "pixels.bmp": b"BM"
        + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0),
        "pixels.tif": _tiff(60_000, 60_000),
        "pixels-lossless.webp": _webp_lossless(16_383, 16_383),
        "profile.png": _png(8, 8, _chunk(b"iCCP", b"bomb\0\0" + _deflated(400 << 20))),
        "ztxt.png": _png(8, 8, _chunk(b"zTXt", b"bomb\0\0" + _deflated(400 << 20))),
        "itxt.png": _png(8, 8, _chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + _deflated(400 << 20))),
        "texts.png": _png(8, 8, _chunk(b"zTXt", b"bomb\0\0" + _deflated(1 << 19)) * 500),
        "lying-length.png": _PNG + struct.pack(">I", 0x7FFFFFFF) + b"IHDR" + bytes(13),
        "lying-chunk.png": _png(8, 8, struct.pack(">I", 0x7FFFFFF0) + b"tEXt" + b"x" * 100),
        "pixels-too-many.png": _png(8, 8, b"", _deflated(400 << 20)),
        "frames.gif": _gif(16, [16] * 400_000),
        "parts.gif": _gif(16, [16])[:-2] + b"\1\0" * 2_500_000 + b"\0;",
        "frames-growing.gif": _gif(16, list(range(16, 60_000, 60))),
        "scans.jpg": _many_scans(2000),
        "segments.jpg": b"\xff\xd8"
        + (b"\xff\xe2\xff\xff" + b"ICC_PROFILE\0\1\xff" + bytes(65_519)) * 2000
        + _jpeg()[2:],
        "cyclic.tif": b"II*\0" + struct.pack("<IH", 8, 0) + struct.pack("<I", 8),
        "many-entries.tif": b"II*\0" + struct.pack("<IH", 8, 65_535) + b"\0\1\4\0\xff\xff\xff\x7f\0\0\0\0" * 65_535,
        "pages.tif": _pages(50_000),
    }


def _metadata_contents() -> dict[str, bytes]:
    jpeg, strip = _jpeg(), _deflated(100 << 20)
    large = _page(10_240, 10_240, _DEFLATE, len(strip))
    crowded = [(1000 + number, 1, 1_000_000, 8) for number in range(4)]
    return {
        "beginnings.jpg": jpeg[:2] + _segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0") * 49_000 + jpeg[2:],
        "comments.jpg": jpeg[:2]
        + b"".join(_segment(0xFE, b"%d" % number) for number in range(49_000))
        + b"".join(_segment(0xFE, b"%d" % number) for number in range(49_000, 49_500))
        + jpeg[2:],
        "fill.jpg": jpeg[:2] + b"\xff" * (1 << 20) + jpeg[2:],
        "texts-many.png": _png(8, 8, b"".join(_chunk(b"tEXt", b"a\0%d" % number) for number in range(400_000))),
        "parts.gif": _gif(16, [16])[:-1] + b"!\xfe" + b"\1x" * 2_500_000 + b"\0;",
        "pages-of-one-strip.tif": _pages(900, large, strip),
        "pages-of-one-value.tif": _pages(900, sorted([*_page(8, 8, _RAW, 64), *crowded]), bytes(1_000_000)),
        "strips.tif": _pages(900, _page(1, 200_000, _RAW, 1, rows=1), bytes(800_000)),
    }


def _segment(marker: int, payload: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(payload) + 2) + payload


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, chunks: bytes = b"", pixels: bytes | None = None) -> bytes:
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    rows = zlib.compress(bytes(height * (1 + 3 * width))) if pixels is None and height < 100 else pixels or b"x\x9c"
    return _PNG + head + chunks + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


def _deflated(count: int) -> bytes:
    """A thousandth of ``count`` zeros."""
    compressor = zlib.compressobj(9)
    block = bytes(1 << 20)
    parts = [compressor.compress(block) for _ in range(max(1, count >> 20))]
    return b"".join([*parts, compressor.flush()])


def _jpeg(size: tuple[int, int] = (64, 64), **how: object) -> bytes:
    buffer = io.BytesIO()
    rng = np.random.default_rng(1)
    levels = rng.integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(levels).save(buffer, "JPEG", **how)
    return buffer.getvalue()


def _jpeg_of(width: int, height: int) -> bytes:
    """A small JPEG whose header claims another size."""
    data = bytearray(_jpeg())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def _many_scans(count: int) -> bytes:
    """A progressive JPEG of 9 MP whose last scan comes again and again."""
    data = bytearray(_jpeg((64, 64), progressive=True))
    at = data.index(b"\xff\xc2")
    data[at + 5 : at + 9] = struct.pack(">HH", 3000, 3000)
    last = data.rindex(b"\xff\xda")
    return bytes(data[:-2]) + bytes(data[last:-2]) * count + b"\xff\xd9"


def _gif(screen: int, frames: list[int]) -> bytes:
    """Square frames of these sizes, each one colour: LZW of a clear code, then what a decoder takes for the rest."""
    parts = [b"GIF89a", struct.pack("<HHBBB", screen, screen, 0x80, 0, 0), bytes(6)]
    parts += [b"," + struct.pack("<HHHHB", 0, 0, size, size, 0) + b"\x02\x02\x4c\x01\x00" for size in frames]
    return b"".join([*parts, b";"])


def _tiff(width: int, height: int) -> bytes:
    entries = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, height), (279, 100)]
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + bytes(4)


_RAW, _DEFLATE = 1, 8
_Entry = tuple[int, int, int, int]  # tag, type, count, value or where it is


def _page(width: int, height: int, compression: int, strip_bytes: int, rows: int | None = None) -> list[_Entry]:
    """A grey page whose strips of ``rows`` lie behind the header, all in one place but for their offsets' own."""
    values = {256: width, 257: height, 258: 8, 259: compression, 262: 1, 277: 1, 278: rows or height}
    strips = -(-height // (rows or height))
    return sorted(
        [
            *((tag, 4, 1, value) for tag, value in values.items()),
            *((tag, 4, strips, 8) for tag in (273,)),
            (279, 4, strips, strip_bytes if strips == 1 else 8),
        ]
    )


def _pages(count: int, page: list[_Entry] | None = None, data: bytes = b"") -> bytes:
    """A TIFF whose pages, all alike, follow each other behind ``data`` without an end that is near."""
    page = page or _page(8, 8, _RAW, 64)
    body = b"".join(struct.pack("<HHII", *entry) for entry in page)
    size, first = 2 + len(body) + 4, 8 + len(data)
    parts = [b"II*\0", struct.pack("<I", first), data]
    for number in range(count):
        following = first + (number + 1) * size if number + 1 < count else 0
        parts.append(struct.pack("<H", len(page)) + body + struct.pack("<I", following))
    return b"".join(parts)


def _webp_lossless(width: int, height: int) -> bytes:
    bits = (width - 1) | (height - 1) << 14
    data = b"\x2f" + struct.pack("<I", bits) + bytes(8)
    return b"RIFF" + struct.pack("<I", 12 + len(data)) + b"WEBPVP8L" + struct.pack("<I", len(data)) + data
