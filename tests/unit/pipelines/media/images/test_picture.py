"""Pictures as they are shown: upright, in sRGB."""

import numpy as np
import pytest
from PIL import Image

from pipelines.media.images.picture import picture_of


def grey_profile(gamma: float) -> bytes:
    """An ICC profile of grey (ICC.1:2022, 8.5.2): a curve of one gamma, and D50."""
    curve = b"curv" + bytes(4) + (1).to_bytes(4, "big") + round(gamma * 256).to_bytes(2, "big") + bytes(2)
    white = b"XYZ " + bytes(4) + b"".join(round(each * 65536).to_bytes(4, "big") for each in (0.9642, 1, 0.8249))
    text = b"text" + bytes(4) + b"none\0" + bytes(3)
    described = b"desc" + bytes(4) + (5).to_bytes(4, "big") + b"grey\0" + bytes(78 + 1)
    tags = {b"desc": described, b"cprt": text, b"wtpt": white, b"kTRC": curve}
    at, index, held = 128 + 4 + 12 * len(tags), b"", b""
    for tag, data in tags.items():
        index += tag + (at + len(held)).to_bytes(4, "big") + len(data).to_bytes(4, "big")
        held += data + bytes(-len(data) % 4)
    head = bytearray(128)
    head[0:4] = (at + len(held)).to_bytes(4, "big")
    head[8:12], head[12:24], head[36:40] = b"\x02\x40\0\0", b"mntrGRAYXYZ ", b"acsp"
    head[68:80] = white[8:]
    return bytes(head) + len(tags).to_bytes(4, "big") + index + held


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P"])
def test_grey_of_a_grey_profile_comes_out_in_srgb_with_or_without_alpha(tmp_path, mode):
    image = Image.fromarray(np.full((8, 8), 128, np.uint8)).convert(mode)
    image.save(tmp_path / "source.png", icc_profile=grey_profile(1.0))
    array = picture_of(tmp_path / "source.png").array
    assert np.abs(array[..., :3].astype(int) - 188).max() <= 1  # half of the light, as sRGB has it
    if array.shape[2] == 4:
        assert (array[..., 3] == 255).all()


def test_colours_are_left_by_a_profile_of_grey(tmp_path):
    array = np.random.default_rng(3).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(array).save(tmp_path / "source.png", icc_profile=grey_profile(1.0))
    assert np.array_equal(picture_of(tmp_path / "source.png").array, array)
