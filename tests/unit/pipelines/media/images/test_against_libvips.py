"""Our renditions against libvips' own: another decoder, colour management and scaler of the same pictures."""

from pathlib import Path

import numpy as np
import pytest
import pyvips
from PIL import Image

from pipelines.media.errors import MediaError
from pipelines.media.images.thumbnail_spec import ThumbnailSpec
from pipelines.media.images.thumbnails import thumbnails

SHARED = Path(__file__).resolve().parents[6] / "shared" / "media" / "image"
LEVELS = 2.0  # mean difference, of 255
READ = {".jpg", ".png", ".apng", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".avif", ".avifs", ".mpo"}
# What libvips' own reader of the wheel doesn't read, or reads as something else.
OTHERS = {
    "bmp_24bit_127x64.bmp": "libvips has no reader of BMP in its wheel",
    "bmp_rle8.bmp": "libvips has no reader of BMP in its wheel",
    "avif_animated.avifs": "libvips takes a sequence for no image",
}


def ours(source: Path, folder: Path, width: int = 120) -> np.ndarray:
    spec = ThumbnailSpec(sizes=(str(width),), format="png")
    result = thumbnails(source, folder / "made", spec)
    return np.asarray(Image.open(folder / f"made{result.files[0].name}").convert("RGBA")).astype(float)


def theirs(source: Path, width: int, height: int) -> np.ndarray:
    image = pyvips.Image.thumbnail(str(source), width, height=height, size="force", export_profile="srgb")
    image = image.colourspace("srgb").cast("uchar")
    array = image.numpy()
    if array.shape[2] == 3:
        array = np.dstack([array, np.full(array.shape[:2], 255, np.uint8)])
    return array.astype(float)


def difference(source: Path, folder: Path) -> float:
    """Mean difference of levels, weighted by what is to be seen, or of alpha: the larger."""
    made = ours(source, folder)
    other = theirs(source, made.shape[1], made.shape[0])
    seen = [array[..., :3] * array[..., 3:] / 255 for array in (made, other)]
    return max(np.abs(seen[0] - seen[1]).mean(), np.abs(made[..., 3] - other[..., 3]).mean())


def waves(width: int = 300, height: int = 200, bands: int = 3) -> np.ndarray:
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    planes = [0.5 + 0.45 * np.sin(x / (17 + 9 * n) + n) * np.cos(y / (23 + 5 * n)) for n in range(bands)]
    return np.stack(planes, axis=-1)


def eight(bands: int = 3) -> np.ndarray:
    return (waves(bands=bands) * 255).astype(np.uint8)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared images are not here")
@pytest.mark.parametrize(
    "name", [path.name for path in sorted(SHARED.glob("*")) if path.suffix in READ and path.name not in OTHERS]
)
def test_a_shared_image_is_as_libvips_shows_it(name, tmp_path):
    assert difference(SHARED / name, tmp_path) <= LEVELS


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation(tmp_path, format_, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    source = tmp_path / f"turned.{format_.lower()}"
    Image.fromarray(eight()).save(source, format_, exif=exif, **({} if format_ == "PNG" else {"quality": 95}))
    assert difference(source, tmp_path) <= LEVELS


@pytest.mark.parametrize(("mode", "bands"), [("LA", 2), ("RGBA", 4)])
def test_alpha(tmp_path, mode, bands):
    Image.fromarray(eight(bands), mode).save(tmp_path / "clear.png")
    assert difference(tmp_path / "clear.png", tmp_path) <= LEVELS


def test_sixteen_bits_of_grey(tmp_path):
    Image.fromarray((waves(bands=1)[..., 0] * 65535).astype(np.uint16)).save(tmp_path / "deep.png")
    assert difference(tmp_path / "deep.png", tmp_path) <= LEVELS


def test_sixteen_bits_of_colour(tmp_path):
    deep = (waves() * 65535).astype(np.uint16)
    image = pyvips.Image.new_from_array(deep).copy(interpretation="rgb16")
    image.write_to_file(str(tmp_path / "deep.png"))
    assert difference(tmp_path / "deep.png", tmp_path) <= LEVELS


@pytest.mark.parametrize("format_", ["png", "gif"])
def test_a_palette(tmp_path, format_):
    Image.fromarray(eight()).quantize(64).save(tmp_path / f"palette.{format_}")
    assert difference(tmp_path / f"palette.{format_}", tmp_path) <= LEVELS


def test_inks_without_a_profile(tmp_path):
    Image.fromarray(eight(4), "CMYK").save(tmp_path / "inks.jpg", quality=95)
    assert difference(tmp_path / "inks.jpg", tmp_path) <= LEVELS


def test_a_wide_profile(tmp_path):
    profile = pyvips.Image.new_from_array(eight()).copy(interpretation="srgb").icc_transform("p3")
    profile.write_to_file(str(tmp_path / "wide.jpg"), Q=95)
    assert Image.open(tmp_path / "wide.jpg").info.get("icc_profile")
    assert difference(tmp_path / "wide.jpg", tmp_path) <= LEVELS


@pytest.mark.parametrize("format_", ["gif", "webp", "png"])
def test_the_first_frame_of_an_animation(tmp_path, format_):
    frames = [Image.fromarray(np.roll(eight(), 40 * number, axis=1)) for number in range(4)]
    source = tmp_path / f"moving.{format_}"
    frames[0].save(source, save_all=True, append_images=frames[1:], duration=100)
    assert difference(source, tmp_path) <= LEVELS


@pytest.mark.parametrize("name", sorted(OTHERS))
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared images are not here")
def test_what_libvips_doesn_t_read_is_read_here(name, tmp_path):
    with pytest.raises(pyvips.Error):
        theirs(SHARED / name, 10, 10)
    assert ours(SHARED / name, tmp_path).any()


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared images are not here")
@pytest.mark.parametrize("name", [path.name for path in sorted(SHARED.glob("*")) if path.suffix not in READ])
def test_formats_that_are_not_read_are_refused(name, tmp_path):
    with pytest.raises(MediaError):
        ours(SHARED / name, tmp_path)
