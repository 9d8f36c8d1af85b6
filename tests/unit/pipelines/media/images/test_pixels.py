"""Levels of every depth in the 8 bits that are made of them, and what can't be decoded."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pipelines.media.errors import SourceUnreadableError
from pipelines.media.images.header import describe, open_image
from pipelines.media.images.pixels import decode
from pipelines.media.images.scaling import scaled


def decoded(data: bytes, frame: int = 0) -> np.ndarray:
    with open_image(data, "a file") as image:
        info = describe(image, "a file", frame)
        return decode(data, image, info, "a file", (info.width, info.height)).array


def tiff(pixels: bytes, width: int, bits: int, sample_format: int = 1) -> bytes:
    """One row of grey, little-endian, not compressed."""
    tags = ((256, width), (257, 1), (258, bits), (259, 1), (262, 1), (273, 122), (278, 1), (279, len(pixels)))
    entries = b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in (*tags, (339, sample_format)))
    return b"II*\0" + struct.pack("<LH", 8, 9) + entries + struct.pack("<L", 0) + pixels


def png(pixels: bytes, width: int, bits: int, colour: int, clear: tuple[int, ...]) -> bytes:
    """One row, of which a level or colour is clear."""

    def chunk(type_: bytes, body: bytes) -> bytes:
        return struct.pack(">L", len(body)) + type_ + body + struct.pack(">L", zlib.crc32(type_ + body))

    header = struct.pack(">LLBBBBB", width, 1, bits, colour, 0, 0, 0)
    told = struct.pack(f">{len(clear)}H", *clear)
    parts = ((b"IHDR", header), (b"tRNS", told), (b"IDAT", zlib.compress(b"\0" + pixels)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in parts)


@pytest.mark.parametrize(
    ("pixels", "bits", "sample_format"),
    [
        (bytes.fromhex("000 800 fff 000".replace(" ", "")), 12, 1),
        (struct.pack("<4H", 0, 0x8000, 0xFFFF, 0), 16, 1),
        (struct.pack("<4h", 0, 0x4000, 0x7FFF, -5), 16, 2),
        (struct.pack("<4L", 0, 0x80000000, 0xFFFFFFFF, 0), 32, 1),
        (struct.pack("<4l", 0, 0x40000000, 0x7FFFFFFF, -5), 32, 2),
        (struct.pack("<4f", 0, 0.5, 1, -5), 32, 3),
    ],
)
def test_the_highest_level_is_white_and_its_half_is_half(pixels, bits, sample_format):
    assert decoded(tiff(pixels, 4, bits, sample_format))[0, :, 0].tolist() == [0, 128, 255, 0]


@pytest.mark.parametrize(
    ("bits", "pixels", "clear"),
    [(1, b"\x40", 1), (2, b"\x30", 3), (4, b"\x0f", 15), (8, b"\0\xff", 255), (16, b"\0\0\xff\xff", 65535)],
)
def test_a_level_of_grey_that_is_clear_is_clear_at_any_depth(bits, pixels, clear):
    assert decoded(png(pixels, 2, bits, 0, (clear,)))[0].tolist() == [[0, 0, 0, 255], [255, 255, 255, 0]]


@pytest.mark.parametrize(("bits", "code", "scale"), [(8, "B", 1), (16, "H", 257)])
def test_a_colour_that_is_clear_is_clear_at_any_depth(bits, code, scale):
    levels = [10, 20, 30, 11, 20, 30]
    data = png(
        struct.pack(f">6{code}", *(level * scale for level in levels)), 2, bits, 2, (10 * scale, 20 * scale, 30 * scale)
    )
    assert decoded(data)[0].tolist() == [[10, 20, 30, 0], [11, 20, 30, 255]]


def test_a_further_picture_of_a_jpeg_is_no_frame(tmp_path):
    first, second = Image.new("RGB", (40, 30), (200, 30, 30)), Image.new("RGB", (8, 6), (30, 30, 200))
    first.save(tmp_path / "two.mpo", save_all=True, append_images=[second])
    array = decoded((tmp_path / "two.mpo").read_bytes(), frame=1)
    assert array.shape == (30, 40, 3)
    assert np.abs(array.astype(int) - (200, 30, 30)).max() <= 3


def test_what_opencv_refuses_is_a_typed_error():
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG")
    with open_image(buffer.getvalue(), "a.jpg") as image:
        info = describe(image, "a.jpg")
        with pytest.raises(SourceUnreadableError):
            decode(b"", image, info, "a.jpg", (8, 8))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_picture_that_gets_far_smaller_becomes_a_small_array_of_the_same_picture(mode):
    whole = np.asarray(Image.effect_noise((1801, 1203), 60).convert(mode))
    buffer = io.BytesIO()
    Image.fromarray(whole).save(buffer, "PNG")
    size = (100, 67)
    with open_image(buffer.getvalue(), "a file") as image:
        pixels = decode(buffer.getvalue(), image, describe(image, "a file"), "a file", size)
    assert (pixels.array.shape[:2], pixels.span) == ((301, 451), (450.25, 300.75))
    of_whole = scaled(whole.reshape(1203, 1801, -1), size, (1801, 1203))
    assert (scaled(pixels.array, size, pixels.span) == of_whole).all()
