"""What the headers of pictures with known content tell."""

import cv2
import numpy as np
import pytest
from PIL import Image

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
