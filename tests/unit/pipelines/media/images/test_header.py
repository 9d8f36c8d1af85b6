"""What the headers of pictures with known content tell."""

import struct

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, TiffImagePlugin

from pipelines.media.errors import SourceUnsupportedError
from pipelines.media.images.header import look


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("type_", [np.uint8, np.uint16])
def test_bits_are_those_that_are_stored(tmp_path, ending, channels, type_):
    source = tmp_path / f"source.{ending}"
    cv2.imwrite(str(source), np.ones((4, 6, channels), type_))
    assert look(source).bits == np.dtype(type_).itemsize * 8


@pytest.mark.parametrize(("colours", "bits"), [(2, 1), (4, 2), (16, 4), (200, 8)])
def test_a_palette_s_bits_are_those_of_its_numbers(tmp_path, colours, bits):
    image = Image.fromarray((np.arange(400).reshape(20, 20) % colours).astype(np.uint8), "P")
    image.putpalette(bytes(range(colours)) * 3)
    image.save(tmp_path / "source.png")
    assert look(tmp_path / "source.png").bits == bits


def test_a_jpeg_has_eight_bits(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "source.jpg")
    assert look(tmp_path / "source.jpg").bits == 8


_XMP, _ICC = 700, 34675
_ASCII = 2


@pytest.mark.parametrize("tag", [_XMP, _ICC])
def test_a_block_that_is_a_text_is_none(tmp_path, tag):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags.tagtype[tag] = _ASCII
    tags[tag] = "some text"
    Image.new("L", (4, 4)).save(tmp_path / "source.tif", tiffinfo=tags)
    info = look(tmp_path / "source.tif")
    assert (info.profile, info.gain_map) == (None, False)


def test_a_profile_s_name_is_cut(tmp_path):
    name = ("n" * 5000).encode("utf-16-be")
    told = struct.pack(">4sLLL2s2sLL", b"mluc", 0, 1, 12, b"en", b"US", len(name), 28) + name
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    at = profile.index(b"desc", 128)
    profile[at + 4 : at + 12] = struct.pack(">LL", len(profile), len(told))
    profile += told
    profile[:4] = struct.pack(">L", len(profile))
    Image.new("RGB", (4, 4)).save(tmp_path / "source.png", icc_profile=bytes(profile))
    assert look(tmp_path / "source.png").profile == "n" * 200


def test_a_tiff_of_a_kind_that_isn_t_read_is_told_as_such(tmp_path):
    """Of 12 bits a channel in colour: made of one of 8, whose tag says so."""
    source = tmp_path / "twelve.tif"
    Image.new("RGB", (4, 4)).save(source)
    data = bytearray(source.read_bytes())
    three_times_8 = struct.pack("<HHH", 8, 8, 8)
    at = data.index(three_times_8)
    data[at : at + 6] = struct.pack("<HHH", 12, 12, 12)
    source.write_bytes(data)
    with pytest.raises(SourceUnsupportedError, match="is a TIFF of a kind that isn't read here, as those of 12 bits"):
        look(source)
