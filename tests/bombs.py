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
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, data in _contents().items():
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
        "frames-growing.gif": _gif(16, list(range(16, 60_000, 60))),
        "scans.jpg": _many_scans(2000),
        "segments.jpg": b"\xff\xd8"
        + (b"\xff\xe2\xff\xff" + b"ICC_PROFILE\0\1\xff" + bytes(65_519)) * 2000
        + _jpeg()[2:],
        "cyclic.tif": b"II*\0" + struct.pack("<IH", 8, 0) + struct.pack("<I", 8),
        "many-entries.tif": b"II*\0" + struct.pack("<IH", 8, 65_535) + b"\0\1\4\0\xff\xff\xff\x7f\0\0\0\0" * 65_535,
        "pages.tif": _pages(50_000),
    }


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


def _pages(count: int) -> bytes:
    """A TIFF whose pages follow each other without an end that is near."""
    page = [(256, 8), (257, 8), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 8), (279, 64)]
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in page)
    size = 2 + len(body) + 4
    parts = [b"II*\0", struct.pack("<I", 8)]
    for number in range(count):
        following = 8 + (number + 1) * size if number + 1 < count else 0
        parts.append(struct.pack("<H", len(page)) + body + struct.pack("<I", following))
    return b"".join(parts)


def _webp_lossless(width: int, height: int) -> bytes:
    bits = (width - 1) | (height - 1) << 14
    data = b"\x2f" + struct.pack("<I", bits) + bytes(8)
    return b"RIFF" + struct.pack("<I", 12 + len(data)) + b"WEBPVP8L" + struct.pack("<I", len(data)) + data
