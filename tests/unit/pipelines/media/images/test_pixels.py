"""Decoding what can't be decoded."""

import io

import pytest
from PIL import Image

from pipelines.media.errors import SourceUnreadableError
from pipelines.media.images.header import describe, open_image
from pipelines.media.images.pixels import decode


def test_what_opencv_refuses_is_a_typed_error():
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG")
    with open_image(buffer.getvalue(), "a.jpg") as image:
        info = describe(image, "a.jpg")
        with pytest.raises(SourceUnreadableError):
            decode(b"", image, info, "a.jpg", (8, 8))
