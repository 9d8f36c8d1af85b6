"""What other operations take along of the metadata when they're asked to: by the files that they make."""

import numpy as np
import pytest
from PIL import Image

from pipelines.media.images.conversion.convert import convert
from pipelines.media.images.conversion.convert_spec import ConvertSpec
from pipelines.media.images.enhancement.enhance import enhance
from pipelines.media.images.enhancement.enhance_spec import EnhanceSpec


@pytest.fixture
def source(tmp_path):
    """A turned photograph with an owner, a camera and a place."""
    exif = Image.Exif()
    exif[0x8298], exif[0x010F], exif[0x0112] = "(c) somebody", "Maker", 6
    exif.get_ifd(0x8825)[1] = "N"
    x, y = np.meshgrid(np.arange(120), np.arange(80))
    levels = np.stack([x * 2, y * 3, (x + y) % 256], axis=-1).astype(np.uint8)
    Image.fromarray(levels).save(tmp_path / "mine.jpg", exif=exif, quality=95)
    return tmp_path / "mine.jpg"


def converted(source, folder, **spec):
    result = convert(source, folder / "made", ConvertSpec(**spec))
    return Image.open(folder / f"made{result.files[0].name}"), result


def enhanced(source, folder, **spec):
    result = enhance(source, folder / "made", EnhanceSpec(brightness=1.1, **spec))
    return Image.open(folder / f"made{result.files[0].name}"), result


@pytest.mark.parametrize("work", [converted, enhanced])
@pytest.mark.parametrize("format_", ["jpeg", "webp", "avif", "png"])
@pytest.mark.parametrize(
    ("keep", "owner", "maker", "place"),
    [
        ("none", None, None, False),
        ("copyright", "(c) somebody", None, False),
        ("all-but-gps", "(c) somebody", "Maker", False),
        ("all", "(c) somebody", "Maker", True),
    ],
)
def test_what_is_kept(source, tmp_path, work, format_, keep, owner, maker, place):
    image, result = work(source, tmp_path, format=format_, keep=keep)
    image.load()
    exif = image.getexif()
    assert (exif.get(0x8298), exif.get(0x010F), bool(exif.get_ifd(0x8825))) == (owner, maker, place)
    assert exif.get(0x0112, 1) == 1
    assert image.size == (80, 120)
    assert result.files[0].size_bytes == (tmp_path / f"made{result.files[0].name}").stat().st_size


def test_pixels_that_are_kept_get_the_metadata_too(tmp_path):
    exif = Image.Exif()
    exif[0x8298] = "(c) somebody"
    Image.new("RGB", (64, 64), "red").save(tmp_path / "small.webp", exif=exif, quality=5, method=6)
    image, result = converted(tmp_path / "small.webp", tmp_path, format="webp", target_quality=95, keep="copyright")
    assert result.kept
    assert image.getexif()[0x8298] == "(c) somebody"


def test_a_file_that_became_larger_is_told(tmp_path):
    Image.new("RGB", (64, 64), "red").save(tmp_path / "small.webp", quality=5, method=6)
    _, result = converted(tmp_path / "small.webp", tmp_path, format="jpeg")
    assert result.saved_bytes < 0
    assert any("larger than the source" in warning for warning in result.warnings)
