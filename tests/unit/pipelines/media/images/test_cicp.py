"""Pictures whose colour space is told by code points: against libvips, zscale and known light."""

import io
import struct
import subprocess
import zlib
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import pyvips
from PIL import Image, ImageCms

from pipelines.media.images.avif_properties import code_points_and_bits
from pipelines.media.images.conversion.convert import convert
from pipelines.media.images.conversion.convert_spec import ConvertSpec
from pipelines.media.images.header import look
from pipelines.media.images.picture import picture_of
from pipelines.media.images.thumbnail_spec import ThumbnailSpec
from pipelines.media.images.thumbnails import thumbnails

BT709, UNTOLD, BT2020, P3 = 1, 2, 9, 12
SRGB, PQ, HLG = 13, 16, 18


def colours(most: int = 255) -> np.ndarray:
    """(16, 256, 3): all of 16 levels of red, green and blue."""
    levels = np.linspace(0, most, 16).astype(np.uint8)
    return np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(16, 256, 3)


def png(path: Path, pixels: np.ndarray, points: tuple[int, int], **options) -> Path:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", **options)
    data, body = buffer.getvalue(), b"cICP" + bytes((*points, 0, 1))
    path.write_bytes(data[:33] + struct.pack(">L", 4) + body + struct.pack(">L", zlib.crc32(body)) + data[33:])
    return path


def avif(path: Path, pixels: np.ndarray, points: tuple[int, int], **options) -> Path:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "AVIF", quality=100, subsampling="4:4:4", **options)
    data = bytearray(buffer.getvalue())
    at = data.index(b"colrnclx") + 8
    data[at : at + 4] = struct.pack(">HH", *points)
    path.write_bytes(data)
    return path


@pytest.fixture(params=[png, avif], ids=["png", "avif"])
def written(request, tmp_path):
    def written(pixels: np.ndarray, points: tuple[int, int], **options) -> Path:
        return request.param(tmp_path / f"source.{request.param.__name__}", pixels, points, **options)

    return written


def stored(source: Path) -> np.ndarray:
    return np.asarray(Image.open(source).convert("RGB"))


def by_libvips(pixels: np.ndarray) -> np.ndarray:
    """Display P3 in sRGB."""
    image = pyvips.Image.new_from_array(np.ascontiguousarray(pixels)).copy(interpretation="srgb")
    return image.icc_transform("srgb", input_profile="p3", intent="relative").numpy()


def by_zscale(pixels: np.ndarray) -> np.ndarray:
    """BT.2020 with the transfer of sRGB, in sRGB."""
    height, width, _ = pixels.shape
    told = "pin=bt2020:tin=iec61966-2-1:min=gbr:rin=full"
    made = subprocess.run(
        [
            *(imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"),
            *("-s", f"{width}x{height}", "-i", "-"),
            *("-vf", f"format=gbrp,zscale={told}:p=bt709:t=iec61966-2-1:m=gbr:r=full,format=rgb24"),
            *("-f", "rawvideo", "-"),
        ],
        input=pixels.tobytes(),
        capture_output=True,
        check=True,
    ).stdout
    return np.frombuffer(made, np.uint8).reshape(pixels.shape)


@pytest.mark.parametrize(("primaries", "reference"), [(P3, by_libvips), (BT2020, by_zscale)])
def test_a_wide_colour_space_comes_out_in_srgb(written, primaries, reference):
    source = written(colours(), (primaries, SRGB))
    made = picture_of(source).array.astype(int)
    differences = np.abs(made - reference(stored(source)))
    assert differences.mean() < 0.5
    assert differences.max() <= 6
    assert np.abs(made - stored(source)).mean() > 3


def test_the_colour_space_is_told(written):
    info = look(written(colours(), (BT2020, PQ)))
    assert (info.profile, info.hdr) == ("bt2020, smpte2084", True)


@pytest.mark.parametrize("points", [(BT709, SRGB), (BT709, BT709), (UNTOLD, UNTOLD), (BT709, 6), (200, 200)])
def test_what_is_srgb_or_unknown_stays_as_it_is(written, points):
    source = written(colours(), points)
    info = look(source)
    assert (info.profile, info.hdr) == (None, False)
    assert np.array_equal(picture_of(source).array, stored(source))


def grey(*signals: float) -> np.ndarray:
    return np.repeat(np.repeat(np.round(np.array([signals]) * 255).astype(np.uint8)[..., None], 3, axis=2), 8, axis=0)


@pytest.mark.parametrize(
    ("transfer", "signals"),
    # Black, 18 % grey (26 cd/m²), white (203 cd/m²), the highlights' end (1000 cd/m²): ITU-R BT.2408, 2.2
    [(PQ, (0, 0.38, 0.58, 0.752)), (HLG, (0, 0.38, 0.75, 1))],
)
def test_hdr_comes_out_in_sdr_with_its_greys_and_a_warning(written, tmp_path, transfer, signals):
    source = written(grey(*signals), (BT2020, transfer))
    black, middle, white, end = picture_of(source).array[4].astype(int)
    assert black.max() <= 2
    assert np.abs(middle - 100).max() <= 12
    assert white.min() > 200
    assert end.min() >= 253
    assert max(np.ptp(each) for each in (black, middle, white, end)) <= 2
    result = thumbnails(source, tmp_path / "made", ThumbnailSpec(sizes=("4",)))
    assert [each for each in result.warnings if "HDR" in each]


def test_a_profile_in_an_avif_comes_before_its_code_points_and_in_a_png_after(tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    source = avif(tmp_path / "a.avif", colours(), (P3, SRGB), icc_profile=srgb)
    assert np.array_equal(picture_of(source).array, stored(source))
    source = png(tmp_path / "a.png", colours(), (P3, SRGB), icc_profile=srgb)
    assert np.abs(picture_of(source).array.astype(int) - by_libvips(colours())).max() <= 6


def test_a_wide_avif_is_not_kept_as_it_is(tmp_path):
    source = avif(tmp_path / "a.avif", colours(), (P3, SRGB))
    result = convert(source, tmp_path / "made", ConvertSpec(format="avif", quality=95))
    made = tmp_path / f"made{result.files[0].name}"
    assert not result.kept
    assert look(made).profile is None
    assert np.abs(stored(made).astype(int) - by_libvips(stored(source))).mean() < 4


def test_all_frames_of_an_animation_come_out_in_srgb(tmp_path):
    frames = [Image.fromarray(colours(most)) for most in (255, 200)]
    for write in (png, avif):
        source = write(
            tmp_path / f"a.{write.__name__}", np.asarray(frames[0]), (P3, SRGB), save_all=True, append_images=frames[1:]
        )
        second = picture_of(source, frame=1).array.astype(int)
        assert np.abs(second - by_libvips(np.asarray(frames[1]))).mean() < 2


def test_ten_bits_of_an_avif_are_told(tmp_path):
    made = pyvips.Image.black(16, 16, bands=3).heifsave_buffer(compression="av1", bitdepth=10)
    (tmp_path / "a.avif").write_bytes(made)
    assert look(tmp_path / "a.avif").bits == 10


def test_damaged_boxes_tell_nothing(tmp_path):
    data = avif(tmp_path / "a.avif", colours(), (P3, SRGB)).read_bytes()
    assert code_points_and_bits(io.BytesIO(data)) == ((P3, SRGB), 8)
    for end in range(0, 400, 7):
        points, bits = code_points_and_bits(io.BytesIO(data[:end]))
        assert points in (None, (P3, SRGB))
        assert bits in (None, 8)
    for at in range(400):
        code_points_and_bits(io.BytesIO(data[:at] + bytes([255 - data[at]]) + data[at + 1 :]))
