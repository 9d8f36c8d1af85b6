"""Conversions of pictures with known content, and of the shared ones: every file that is made is opened."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import pyvips
from PIL import Image, ImageCms, ImageDraw, ImageFont, ImageOps
from pydantic import ValidationError

from pipelines.media.errors import LimitError, MediaError, NotMediaError, ParamsError, SourceUnreadableError
from pipelines.media.images.conversion.convert import convert
from pipelines.media.images.conversion.convert_spec import Converted, ConvertSpec, estimate_s
from pipelines.media.images.conversion.similarity import likeness
from pipelines.media.images.header import look

SHARED = Path(__file__).resolve().parents[7] / "shared" / "media"
needs_images = pytest.mark.skipif(not (SHARED / "image").is_dir(), reason="the shared images are not here")
RED, GREEN, BLUE = (220, 30, 30), (30, 200, 30), (30, 30, 220)
SHORT = 0.5  # of SSIMULACRA2, that a file may look less like its source than asked
LOSSY = ("jpeg", "webp", "avif")


class Done:
    """A result and its opened file."""

    def __init__(self, result: Converted, folder: Path) -> None:
        self.result = result
        self.path = folder / f"made{result.files[0].name}"

    def __getattr__(self, name: str) -> object:
        return getattr(self.result, name)

    @property
    def image(self) -> Image.Image:
        image = Image.open(self.path)
        image.load()
        return image

    def pixels(self, mode: str = "RGB") -> np.ndarray:
        return np.asarray(self.image.convert(mode))


@pytest.fixture
def done(tmp_path):
    def done(source: Path, **spec) -> Done:
        made = Done(convert(source=source, target=tmp_path / "made", spec=ConvertSpec(**spec)), tmp_path)
        file = made.result.files[0]
        assert len(made.result.files) == 1
        assert made.path.stat().st_size == made.result.size_bytes == file.size_bytes
        assert made.image.size == (file.width, file.height)
        assert {"jpeg": "JPEG", "webp": "WEBP", "avif": "AVIF", "png": "PNG"}[made.result.format] == made.image.format
        assert getattr(made.image, "n_frames", 1) == made.result.frames
        assert made.image.info.get("icc_profile") is None
        assert not dict(made.image.getexif())
        assert [each.chosen for each in made.result.candidates].count(True) == 1
        return made

    return done


def scene(width: int = 320, height: int = 240) -> Image.Image:
    """Something like a photograph: smooth parts, edges and grain, the same in every run."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    planes = [127 + 80 * np.sin(x / (61 + 9 * n) + n) * np.cos(y / (53 + 5 * n)) for n in range(3)]
    picture = np.stack(planes, axis=-1)
    picture[(x - width / 2) ** 2 + (y - height / 2) ** 2 < (height / 4) ** 2] *= 0.5
    grain = cv2.GaussianBlur(np.random.default_rng(5).normal(0, 20, (height, width)), (0, 0), 1)
    return Image.fromarray(np.clip(picture + grain[..., None], 0, 255).astype(np.uint8))


def drawing(background: str = "white", ink: str = "black") -> Image.Image:
    image = Image.new("RGB", (320, 240), background)
    draw = ImageDraw.Draw(image)
    for y in range(0, 240, 18):
        draw.text((4, y), "Sphinx of black quartz, judge my vow. " * 2, fill=ink, font=ImageFont.load_default(13))
    return image


def cut_out() -> Image.Image:
    """A scene that is clear around a disc with a soft border."""
    x, y = np.meshgrid(np.arange(320), np.arange(240))
    alpha = np.clip((100 - np.hypot(x - 160, y - 120)) * 8, 0, 255).astype(np.uint8)
    return Image.fromarray(np.dstack([np.asarray(scene()), alpha]))


@pytest.fixture
def photo(tmp_path) -> Path:
    path = tmp_path / "photo.png"
    scene().save(path)
    return path


def saved(image: Image.Image, path: Path, **options) -> Path:
    image.save(path, **options)
    return path


# What is asked of quality


@pytest.mark.parametrize("format_", LOSSY)
@pytest.mark.parametrize("goal", [60, 75, 88])
def test_a_quality_asked_for_is_reached_and_not_by_far(done, photo, format_, goal):
    made = done(photo, format=format_, target_quality=goal)
    measured = likeness(np.asarray(scene()), made.pixels())
    assert measured == pytest.approx(made.result.ssimulacra2, abs=0.02)
    assert goal - SHORT <= measured <= goal + 3.5  # a step of AVIF's quality is 2 to 3 there
    assert made.result.tries <= 12
    assert made.result.quality


def test_less_quality_makes_less_bytes(done, photo):
    sizes = [done(photo, format="webp", target_quality=goal).result.size_bytes for goal in (50, 70, 90)]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 3


def test_without_a_wish_it_looks_like_jpeg_at_80(done, photo):
    assert done(photo, format="jpeg").result.ssimulacra2 >= 80 - SHORT


@pytest.mark.parametrize("format_", LOSSY)
def test_the_encoder_s_own_quality_is_used(done, photo, format_):
    small, large = (done(photo, format=format_, quality=quality) for quality in (30, 90))
    assert small.result.quality == 30
    assert small.result.size_bytes < large.result.size_bytes
    assert small.result.ssimulacra2 < large.result.ssimulacra2
    assert cv2.PSNR(large.pixels(), np.asarray(scene())) > 35


@pytest.mark.parametrize("format_", LOSSY)
@pytest.mark.parametrize("limit", [2_500, 7_000])
def test_a_limit_of_bytes_is_kept_and_used(done, photo, format_, limit):
    made = done(photo, format=format_, target_bytes=limit)
    assert made.result.size_bytes <= limit
    assert made.result.tries <= 12
    more = done(photo, format=format_, quality=min(100, made.result.quality + 1))
    assert more.result.size_bytes > limit


def test_of_what_fits_the_most_alike_is_taken(done, photo):
    made = done(photo, target_bytes=6_000)
    assert made.result.size_bytes <= 6_000
    fitting = [each.ssimulacra2 for each in made.result.candidates if each.size_bytes and each.size_bytes <= 6_000]
    assert made.result.ssimulacra2 == pytest.approx(max(fitting), abs=0.1)


def test_what_does_not_fit_says_what_does(done, photo):
    with pytest.raises(ParamsError, match="max_size") as caught:
        done(photo, format="jpeg", target_bytes=300)
    assert done(photo, format="jpeg", quality=1).result.size_bytes == caught.value.fields["least_bytes"]


@pytest.mark.parametrize("format_", LOSSY)
def test_a_large_picture_is_searched_on_samples_and_measured_whole(done, tmp_path, format_):
    picture = np.asarray(scene(1920, 1280))
    source = saved(Image.fromarray(picture), tmp_path / "large.png", compress_level=1)
    made = done(source, format=format_, target_quality=75, effort="fast")
    assert made.result.ssimulacra2 >= 75 - SHORT
    assert likeness(picture, made.pixels()) == pytest.approx(made.result.ssimulacra2, abs=4)


# What is chosen


@pytest.mark.parametrize("picture", [scene, drawing, cut_out])
def test_auto_takes_the_smallest_that_reaches_the_quality(done, tmp_path, picture):
    made = done(saved(picture(), tmp_path / "source.png"), skip_larger=False)
    good = [each for each in made.result.candidates if each.size_bytes and each.ssimulacra2 >= 80 - SHORT]
    assert made.result.size_bytes == min(each.size_bytes for each in good)
    assert made.result.reason


def test_auto_chooses_of_what_is_allowed(done, photo):
    made = done(photo, formats=("jpeg", "png"))
    assert made.result.format == "jpeg"
    assert {each.format for each in made.result.candidates} == {"jpeg", "png"}


@pytest.mark.parametrize("format_", LOSSY)
def test_each_candidate_is_as_if_asked_for_alone(done, photo, format_):
    together = done(photo).result.candidates
    alone = done(photo, format=format_, target_quality=80).result
    sizes = [each.size_bytes for each in together if each.format == format_ and each.size_bytes]
    assert alone.size_bytes in sizes


def test_alpha_rules_jpeg_out(done, tmp_path):
    made = done(saved(cut_out(), tmp_path / "source.png"))
    assert "jpeg" not in {each.format for each in made.result.candidates}
    assert made.image.mode == "RGBA"


@pytest.mark.parametrize("format_", ["webp", "avif", "png"])
def test_alpha_is_kept(done, tmp_path, format_):
    made = done(saved(cut_out(), tmp_path / "source.png"), format=format_, skip_larger=False)
    difference = made.pixels("RGBA")[..., 3].astype(int) - np.asarray(cut_out())[..., 3]
    assert np.abs(difference).mean() < 1


def test_a_background_lets_jpeg_in(done, tmp_path):
    source = saved(cut_out(), tmp_path / "source.png")
    made = done(source, background="#00ff00", formats=("jpeg", "webp"))
    assert "jpeg" in {each.format for each in made.result.candidates}
    assert made.pixels()[3, 3].tolist() == pytest.approx([0, 255, 0], abs=14)


def test_jpeg_asked_for_is_white_where_it_was_clear(done, tmp_path):
    made = done(saved(cut_out(), tmp_path / "source.png"), format="jpeg")
    assert made.pixels()[3, 3].tolist() == pytest.approx([255, 255, 255], abs=6)
    assert any("white" in each for each in made.result.warnings)


def test_alpha_that_is_full_is_no_alpha(done, tmp_path):
    image = scene()
    image.putalpha(255)
    assert done(saved(image, tmp_path / "source.png"), format="png").image.mode == "RGB"


def test_colour_keeps_its_resolution_in_coloured_text(done, tmp_path):
    coloured = done(saved(drawing("#0000ff", "#ff0000"), tmp_path / "red.png"), format="jpeg", target_quality=70)
    assert coloured.image.layer[0][1:3] == (1, 1)
    assert coloured.result.ssimulacra2 >= 70 - SHORT
    dark = done(saved(drawing(ink="#203040"), tmp_path / "dark.png"), format="jpeg", target_quality=70)
    assert dark.image.layer[0][1:3] == (2, 2)
    assert (coloured.result.chroma, dark.result.chroma) == ("4:4:4", "4:2:0")


def test_colour_keeps_its_resolution_at_a_high_quality(done, photo):
    assert done(photo, format="jpeg", quality=90).image.layer[0][1:3] == (1, 1)
    assert done(photo, format="jpeg", quality=89).image.layer[0][1:3] == (2, 2)
    assert done(photo, format="jpeg", quality=95, chroma="4:2:0").image.layer[0][1:3] == (2, 2)


def test_jpeg_is_progressive_where_it_pays(done, photo, tmp_path):
    small = saved(Image.new("RGB", (64, 64), RED), tmp_path / "small.png")
    assert done(photo, format="jpeg", quality=90).image.info.get("progressive")
    assert not done(small, format="jpeg", quality=80).image.info.get("progressive")
    assert not done(photo, format="jpeg", quality=90, progressive=False).result.progressive
    assert done(small, format="jpeg", quality=80, progressive=True).result.progressive


@pytest.mark.parametrize("format_", ["jpeg", "webp"])
def test_effort_makes_smaller_files_of_a_quality(done, photo, format_):
    fast, best = (done(photo, format=format_, target_quality=80, effort=each).result for each in ("fast", "best"))
    assert best.size_bytes < fast.size_bytes


# Lossless


@pytest.mark.parametrize("format_", ["png", "webp", "auto"])
@pytest.mark.parametrize("picture", [scene, drawing, cut_out], ids=["scene", "drawing", "cut_out"])
@pytest.mark.parametrize("effort", ["fast", "best"])
def test_lossless_changes_no_pixel(done, tmp_path, format_, picture, effort):
    source = saved(picture(), tmp_path / "source.tiff")
    made = done(source, format=format_, lossless=True, effort=effort)
    assert made.result.lossless
    assert made.result.ssimulacra2 == 100
    assert (made.pixels("RGBA") == np.asarray(picture().convert("RGBA"))).all()


@pytest.mark.parametrize("colours", [2, 16, 200])
def test_few_colours_become_a_palette(done, tmp_path, colours):
    levels = np.arange(120 * 120).reshape(120, 120) % colours
    picture = np.stack([levels, 255 - levels, np.full_like(levels, 9), 255 - levels // 2], axis=-1).astype(np.uint8)
    made = done(saved(Image.fromarray(picture), tmp_path / "few.tiff"), format="png", lossless=True)
    assert made.image.mode == "P"
    assert (made.pixels("RGBA") == picture).all()


def test_a_jpeg_stays_itself_without_loss_and_gets_smaller(done, tmp_path):
    source = saved(scene(), tmp_path / "source.jpg", quality=85)
    made = done(source, lossless=True)
    assert (made.result.format, made.result.kept) == ("jpeg", True)
    assert made.result.size_bytes < source.stat().st_size
    assert (made.pixels() == np.asarray(Image.open(source))).all()


@pytest.mark.parametrize("reason", ["scaled", "turned", "another format"])
def test_what_can_not_be_jpeg_without_loss_is_refused(done, tmp_path, reason):
    exif = Image.Exif()
    exif[0x0112] = 6 if reason == "turned" else 1
    source = saved(scene(), tmp_path / "source", format="PNG" if reason == "another format" else "JPEG", exif=exif)
    with pytest.raises(ParamsError, match="without loss"):
        done(source, format="jpeg", lossless=True, max_size="100" if reason == "scaled" else None)


# What is kept


def test_what_would_get_larger_is_kept(done, tmp_path):
    source = saved(scene(), tmp_path / "source.jpg", quality=40, comment=b"somebody")
    made = done(source, format="jpeg", quality=95)
    assert made.result.kept
    assert made.result.size_bytes <= source.stat().st_size
    assert (made.pixels() == np.asarray(Image.open(source))).all()
    assert b"somebody" not in made.path.read_bytes()
    again = done(source, format="jpeg", quality=95, skip_larger=False)
    assert not again.result.kept
    assert again.result.size_bytes > source.stat().st_size


@pytest.mark.parametrize("format_", ["png", "webp", "avif"])
def test_a_file_is_kept_in_its_format_without_its_metadata(done, tmp_path, format_):
    if format_ == "png":
        source = tmp_path / "source.png"
        source.write_bytes(with_text(smallest_png(), b"Author\0somebody"))
    elif format_ == "webp":
        exif = Image.Exif()
        exif[0x8298] = "somebody"
        source = saved(scene(), tmp_path / "source.webp", quality=10, exif=exif, method=6)
    else:
        source = saved(scene(), tmp_path / "source.avif", quality=10, speed=2)
    made = done(source, format=format_, lossless=format_ != "avif", effort="fast", **_quality_95(format_))
    assert made.result.kept
    assert b"somebody" not in made.path.read_bytes()
    assert (made.pixels() == np.asarray(Image.open(source).convert("RGB"))).all()


def _quality_95(format_: str) -> dict:
    return {"quality": 95} if format_ == "avif" else {}


def smallest_png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (300, 300), RED).quantize(2).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def with_text(png: bytes, text: bytes) -> bytes:
    chunk = b"tEXt" + text
    return png[:33] + struct.pack(">I", len(text)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + png[33:]


def box(type_: bytes, body: bytes) -> bytes:
    return struct.pack(">L", len(body) + 8) + type_ + body


@pytest.mark.parametrize("exif", [True, False])
def test_an_avif_is_kept_without_what_stands_around_its_picture(done, tmp_path, exif):
    block = Image.Exif()
    block[0x8298] = "somebody"
    source = saved(scene(), tmp_path / "source.avif", quality=10, speed=2, **({"exif": block} if exif else {}))
    pixels = np.asarray(Image.open(source))
    source.write_bytes(source.read_bytes() + box(b"uuid", b"0123456789abcdef somebody") + b"home")
    made = done(source, format="avif", quality=95)
    assert made.result.kept
    assert not [each for each in (b"somebody", b"home") if each in made.path.read_bytes()]
    assert np.array_equal(made.pixels(), pixels)


def test_an_avif_with_a_profile_is_written_anew(done, tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    source = saved(scene(), tmp_path / "source.avif", quality=10, speed=2, icc_profile=srgb)
    assert not done(source, format="avif", quality=95).result.kept


@pytest.mark.parametrize(("format_", "limit"), [("jpeg", 12_000), ("webp", 12_000), ("avif", 12_000), ("png", 40_000)])
def test_a_limit_of_bytes_counts_the_metadata_that_are_kept(tmp_path, format_, limit):
    exif = Image.Exif()
    exif[0x8298] = "somebody" * 400
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    xmp += b'<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" dc:source="%s"/></rdf:RDF></x:xmpmeta>'
    source = saved(scene(), tmp_path / "source.jpg", quality=95, exif=exif, xmp=xmp % (b"there" * 500))
    spec = ConvertSpec(format=format_, target_bytes=limit, keep="all", max_size="160")
    result = convert(source, tmp_path / "made", spec)
    made = tmp_path / f"made{result.files[0].name}"
    assert Image.open(made).getexif()[0x8298] == "somebody" * 400
    assert limit / 2 < made.stat().st_size <= limit


@pytest.mark.parametrize("format_", LOSSY)
def test_a_limit_of_bytes_is_used_to_the_last_with_metadata_too(tmp_path, format_):
    exif = Image.Exif()
    exif[0x8298] = "somebody" * 40
    source = saved(scene(), tmp_path / "source.png", exif=exif)

    def size_of(**spec) -> tuple[int, int]:
        result = convert(source, tmp_path / "made", ConvertSpec(format=format_, keep="all", chroma="4:2:0", **spec))
        return result.quality, result.size_bytes

    quality, limit = size_of(quality=61)
    fitted, size = size_of(target_bytes=limit)
    assert size <= limit
    assert fitted >= quality


def test_metadata_that_alone_are_larger_than_asked_are_refused(done, tmp_path):
    exif = Image.Exif()
    exif[0x8298] = "somebody" * 400
    source = saved(scene(), tmp_path / "source.jpg", exif=exif)
    with pytest.raises(ParamsError):
        done(source, format="webp", target_bytes=3000, keep="all")


def test_a_limit_that_the_source_keeps_is_kept_by_it(done, tmp_path):
    source = saved(scene(), tmp_path / "source.jpg", quality=70)
    made = done(source, target_bytes=source.stat().st_size)
    assert (made.result.kept, made.result.ssimulacra2) == (True, 100)


@pytest.mark.parametrize(
    ("stored", "spec", "told"),
    [
        ("webp", {"format": "jpeg"}, "source: at a lower quality, or in the format it has, it may be smaller."),
        ("webp", {"format": "webp", "quality": 99}, "source: at a lower quality, it may be smaller."),
        ("webp", {"format": "png"}, "source: in a format that loses a little, or in the format it has, it may be"),
        ("png", {"format": "png", "effort": "fast"}, "source: in a format that loses a little, it may be smaller."),
    ],
)
def test_what_may_make_a_larger_file_smaller_fits_its_format(done, tmp_path, stored, spec, told):
    if stored == "webp":
        source = saved(scene(), tmp_path / "source.webp", quality=5, method=6)
    else:
        source = saved(
            drawing().convert("1"), tmp_path / "source.png", optimize=True
        )  # a bit a pixel; of grey, 8 are written
    (warning,) = done(source, skip_larger=False, **spec).result.warnings
    assert told in warning


def test_what_is_saved_is_told(done, photo):
    result = done(photo, format="webp").result
    assert result.source_size_bytes == photo.stat().st_size
    assert result.saved_bytes == result.source_size_bytes - result.size_bytes
    assert result.saved_percent == pytest.approx(100 * result.saved_bytes / result.source_size_bytes, abs=0.06)


# Sizes, orientation, colour, depth


@pytest.mark.parametrize(("box", "size"), [("240x240", (240, 180)), ("100", (100, 75)), ("4000x4000", (320, 240))])
def test_a_box_is_fitted_into_and_nothing_enlarged(done, photo, box, size):
    made = done(photo, format="webp", max_size=box)
    assert made.image.size == size
    reference = np.asarray(scene().resize(size, Image.Resampling.LANCZOS))
    assert likeness(reference, made.pixels()) > 70


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_comes_out_upright(done, tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    source = saved(scene(), tmp_path / "source.jpg", exif=exif, quality=95)
    made = done(source, format="webp", effort="fast")
    upright = ImageOps.exif_transpose(Image.open(source))
    assert likeness(np.asarray(upright), made.pixels()) > 75


@pytest.mark.parametrize("scaled", [False, True])
def test_sixteen_bits_are_kept_where_asked(done, tmp_path, scaled):
    x, y = np.meshgrid(np.arange(200), np.arange(100))
    deep = np.stack([x * 300, y * 600, x * y * 3], axis=-1).astype(np.uint16)
    source = tmp_path / "deep.png"
    source.write_bytes(cv2.imencode(".png", deep[..., ::-1])[1].tobytes())
    made = done(source, depth="keep", max_size="100" if scaled else None)
    pixels = cv2.imread(str(made.path), cv2.IMREAD_UNCHANGED)[..., ::-1]
    assert (made.result.bits, made.result.format, pixels.dtype) == (16, "png", np.uint16)
    if scaled:
        reference = cv2.resize(deep, (100, 50), interpolation=cv2.INTER_AREA)
        assert np.abs(pixels.astype(int) - reference)[2:-2, 2:-2].mean() < 30
    else:
        assert (pixels == deep).all()


def deep_scene(channels: int) -> np.ndarray:
    """16 bits, of which the lower ones count: BGR, as OpenCV has it."""
    x, y = np.meshgrid(np.arange(60), np.arange(40))
    planes = (x * 1000 + y, y * 1500 + x, (x + y) * 601, 20000 + x * y * 17)
    deep = np.stack(planes[:channels], axis=-1).astype(np.uint16)
    return deep[..., 0] if channels == 1 else deep


def with_late_orientation(png: bytes, orientation: int) -> bytes:
    """A PNG whose EXIF stands behind its pixels, as it may (PNG, 5.6)."""
    block = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01" + struct.pack(">HHL", orientation, 0, 0)
    chunk = struct.pack(">L", len(block)) + b"eXIf" + block + struct.pack(">L", zlib.crc32(b"eXIf" + block))
    return png[:-12] + chunk + png[-12:]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_sixteen_bits_are_upright_wherever_the_orientation_stands(done, tmp_path, orientation):
    deep = deep_scene(3)
    source = tmp_path / "deep.png"
    source.write_bytes(with_late_orientation(cv2.imencode(".png", deep)[1].tobytes(), orientation))
    made = done(source, depth="keep", skip_larger=False)
    upright = deep[:, ::-1] if orientation in (2, 4, 5, 7) else deep
    upright = np.rot90(upright, {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}.get(orientation, 0))
    assert (made.result.bits, made.result.source.bits) == (16, 16)
    assert np.array_equal(cv2.imread(str(made.path), cv2.IMREAD_UNCHANGED), upright)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("orientation", [1, 2, 6])
def test_sixteen_bits_of_a_tiff_are_kept(done, tmp_path, channels, orientation):
    deep = deep_scene(channels)
    array = deep if channels == 1 else deep[..., [2, 1, 0, 3][:channels]]
    vips = pyvips.Image.new_from_array(np.ascontiguousarray(array)).copy(
        interpretation="grey16" if channels == 1 else "rgb16"
    )
    vips.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    source = tmp_path / "deep.tif"
    source.write_bytes(vips.tiffsave_buffer(compression="lzw"))
    made = done(source, depth="keep")
    upright = {1: deep, 2: deep[:, ::-1], 6: np.rot90(deep, 3)}[orientation]
    assert made.result.source.bits == made.result.bits == 16
    assert np.array_equal(cv2.imread(str(made.path), cv2.IMREAD_UNCHANGED), upright)


def test_sixteen_bits_of_a_later_page_are_kept(done, tmp_path):
    pages = [Image.fromarray(deep_scene(1) + np.uint16(add)) for add in (0, 3, 7)]
    source = saved(pages[0], tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    made = done(source, depth="keep", frame=1)
    assert np.array_equal(cv2.imread(str(made.path), cv2.IMREAD_UNCHANGED), np.asarray(pages[1]))


def test_a_clear_level_of_sixteen_bits_stays_clear(done, tmp_path):
    deep = deep_scene(1)
    source = saved(Image.fromarray(deep), tmp_path / "deep.png", transparency=int(deep[5, 7]))
    made = done(source, depth="keep", skip_larger=False)
    alpha = cv2.imread(str(made.path), cv2.IMREAD_UNCHANGED)[..., 3]
    assert np.array_equal(alpha == 0, deep == deep[5, 7])


def test_sixteen_bits_of_another_colour_space_come_out_in_srgb(done, tmp_path):
    deep = np.full((8, 8, 3), 30000, np.uint16)
    deep[..., 0] = 5000  # blue
    profile = pyvips.Operation.call("profile_load", "p3")
    vips = pyvips.Image.new_from_array(np.ascontiguousarray(deep[..., ::-1])).copy(interpretation="rgb16")
    vips.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    source = tmp_path / "deep.png"
    source.write_bytes(vips.pngsave_buffer(bitdepth=16))
    made = cv2.imread(str(done(source, depth="keep").path), cv2.IMREAD_UNCHANGED)
    eight = cv2.imread(str(done(source, format="png").path), cv2.IMREAD_UNCHANGED)
    assert abs(int(made[0, 0, 0]) - 5000) > 500
    assert np.abs(made[0, 0] / 257 - eight[0, 0]).max() < 1


def test_libvips_reads_no_file(done, tmp_path, monkeypatch):
    source = tmp_path / "deep.png"
    source.write_bytes(cv2.imencode(".png", deep_scene(3))[1].tobytes())
    asked = []
    call = pyvips.Operation.call
    monkeypatch.setattr(
        pyvips.Operation, "call", lambda name, *args, **more: asked.append(name) or call(name, *args, **more)
    )
    assert done(source, depth="keep", max_size="30").result.bits == 16
    assert [each for each in asked if "save" in each]
    assert not [each for each in asked if "load" in each]


def test_bits_that_can_not_be_kept_are_told(done, tmp_path):
    deep = Image.fromarray(np.full((8, 8), 0.5, np.float32))
    made = done(saved(deep, tmp_path / "float.tif"), depth="keep")
    assert (made.result.source.bits, made.result.bits) == (32, 8)
    assert made.result.warnings == ("Its 32 bits a channel can't be kept; it has 8.",)


@pytest.mark.parametrize("format_", ["auto", "png"])
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_lossless_keeps_all_bits(done, tmp_path, format_, ending):
    deep = deep_scene(3)
    source = tmp_path / f"deep.{ending}"
    cv2.imwrite(str(source), deep)
    made = done(source, format=format_, lossless=True)
    assert (made.result.format, made.result.bits, made.result.lossless) == ("png", 16, True)
    assert np.array_equal(cv2.imread(str(made.path), cv2.IMREAD_UNCHANGED), deep)


def test_bits_that_a_format_has_not_are_refused_without_loss(done, tmp_path):
    source = saved(Image.fromarray(deep_scene(1)), tmp_path / "deep.png")
    with pytest.raises(ParamsError) as refused:
        done(source, format="webp", lossless=True)
    assert refused.value.fields["formats"] == "png"
    made = done(source, format="webp", lossless=True, depth="8")
    assert (made.result.bits, made.result.lossless) == (8, False)


def test_a_well_packed_deep_png_is_kept(done, tmp_path):
    source = tmp_path / "deep.png"
    cv2.imwrite(
        str(source),
        deep_scene(3),
        [cv2.IMWRITE_PNG_COMPRESSION, 9, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_ALL_FILTERS],
    )
    made = done(source, depth="keep", effort="fast")
    assert (made.result.kept, made.result.bits) == (True, 16)
    assert made.result.size_bytes <= source.stat().st_size
    assert not done(source, depth="keep", skip_larger=False).result.kept


def test_sixteen_bits_become_eight(done, tmp_path):
    source = tmp_path / "deep.png"
    Image.fromarray(np.full((100, 100), 32768, np.uint16)).save(source)
    made = done(source, format="png")
    assert made.result.bits == 8
    assert made.pixels("L").mean() == pytest.approx(128, abs=1)


def test_eight_bits_asked_to_be_kept_are_as_any(done, photo):
    assert done(photo, depth="keep").result.bits == 8


# Animations


def moving(count: int = 5) -> list[Image.Image]:
    frames = []
    for number in range(count):
        frame = scene(160, 120)
        frame.paste(RED, (10 + 20 * number, 30, 40 + 20 * number, 60))
        frames.append(frame)
    return frames


DURATIONS = [40, 200, 70, 100, 330]


def animated(path: Path, format_: str = "WEBP", **options) -> Path:
    frames = moving()
    values = {"duration": DURATIONS, "loop": 3, **({"lossless": True} if format_ == "WEBP" else {}), **options}
    frames[0].save(path, format_, save_all=True, append_images=frames[1:], **values)
    return path


@pytest.mark.parametrize("format_", ["webp", "avif", "png"])
def test_all_frames_are_kept_with_their_time(done, tmp_path, format_):
    made = done(animated(tmp_path / "source.webp"), format=format_, target_quality=80, skip_larger=False)
    assert made.result.frames == 5
    image = made.image
    durations = []
    for number, frame in enumerate(moving()):
        image.seek(number)
        image.load()
        durations.append(round(image.info["duration"]))
        assert likeness(np.asarray(frame), np.asarray(image.convert("RGB"))) > 70
    assert durations == DURATIONS
    if format_ == "avif":
        assert any("for ever" in each for each in made.result.warnings)
    else:
        assert image.info["loop"] == 3


@pytest.mark.parametrize(("loop", "plays"), [(0, 0), (2, 3), (None, 1)])
def test_a_gif_tells_how_often_it_is_repeated(done, tmp_path, loop, plays):
    options = {"loop": loop} if loop is not None else {}
    frames = moving()
    frames[0].save(tmp_path / "source.gif", save_all=True, append_images=frames[1:], duration=50, **options)
    assert done(tmp_path / "source.gif", format="webp", effort="fast").image.info["loop"] == plays


def test_jpeg_has_the_first_frame_of_an_animation(done, tmp_path):
    made = done(animated(tmp_path / "source.webp"), format="jpeg")
    assert made.result.frames == 1
    assert any("JPEG has no animation" in each for each in made.result.warnings)
    assert likeness(np.asarray(moving()[0]), made.pixels()) > 75


def test_auto_does_not_give_frames_up(done, tmp_path):
    made = done(animated(tmp_path / "source.webp"))
    assert made.result.frames == 5
    assert "jpeg" not in {each.format for each in made.result.candidates}


def test_one_frame_may_be_chosen(done, tmp_path):
    made = done(animated(tmp_path / "source.webp"), frame=3, format="png")
    assert made.result.frames == 1
    assert (made.pixels() == np.asarray(moving()[3])).all()


def test_frames_are_scaled(done, tmp_path):
    made = done(animated(tmp_path / "source.webp"), max_size="80", format="webp")
    assert (made.image.size, made.result.frames) == ((80, 60), 5)


def test_an_animation_of_few_changes_is_smaller_without_loss(done, tmp_path):
    frames = [drawing().crop((0, 0, 200, 100)) for _ in range(8)]
    for number, frame in enumerate(frames):
        frame.paste(RED, (20 * number, 40, 20 * number + 10, 50))
    frames[0].save(tmp_path / "source.gif", save_all=True, append_images=frames[1:], duration=50, loop=0)
    made = done(tmp_path / "source.gif", format="webp")
    assert made.result.lossless
    assert made.result.frames == 8


def test_a_limit_of_bytes_counts_all_frames(done, tmp_path):
    made = done(animated(tmp_path / "source.webp"), format="webp", target_bytes=5_000)
    assert made.result.size_bytes <= 5_000
    assert made.result.frames == 5


def test_too_many_frames_are_refused(done, tmp_path):
    frames = [Image.new("L", (4, 4), number % 256) for number in range(301)]
    frames[0].save(tmp_path / "source.webp", save_all=True, append_images=frames[1:], lossless=True)
    with pytest.raises(LimitError, match="301 frames"):
        done(tmp_path / "source.webp")


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"format": "webp"}, "webp holds at most 16383 pixels a side, and it has 16400x1"),
        ({"format": "webp", "lossless": True}, "webp holds at most 16383 pixels a side, and it has 16400x1"),
        ({"formats": ("webp", "jpeg")}, "jpeg holds no transparency"),
    ],
)
def test_what_no_format_holds_is_refused_with_its_reason(done, tmp_path, spec, why):
    source = saved(Image.new("RGBA", (16_400, 1), (10, 20, 30, 40)), tmp_path / "long.png")
    with pytest.raises(LimitError, match=why):
        done(source, **spec)


def test_a_frame_that_isn_t_there_is_told(done, tmp_path):
    source = saved(scene(), tmp_path / "still.jpg")
    warnings = done(source, format="webp", frame=3).result.warnings
    assert "It has one frame, which is taken instead of frame 3." in warnings


@pytest.mark.parametrize("colour", ["lime", "Lime", "#0f0", "#00FF00"])
def test_a_background_is_a_colour_as_css_has_it(done, tmp_path, colour):
    source = saved(Image.new("RGBA", (32, 32), (0, 0, 0, 0)), tmp_path / "clear.png")
    assert done(source, format="png", background=colour).pixels()[0, 0].tolist() == [0, 255, 0]


@pytest.mark.parametrize("colour", ["", "green-ish", "#00ff0080", "#00ff0", 5])
def test_a_background_that_is_no_colour_is_refused(colour):
    with pytest.raises(ValidationError, match="is no colour"):
        ConvertSpec(background=colour)


@pytest.mark.parametrize(("given", "limit"), [("3k", 3000), ("1.5M", 1_500_000), ("30000", 30_000), (400, 400)])
def test_a_limit_of_bytes_may_be_short(given, limit):
    assert ConvertSpec(target_bytes=given).target_bytes == limit


@pytest.mark.parametrize("given", ["3 apples", "-3k", "9" * 400, True, "0.05k"])
def test_a_limit_that_is_none_is_refused(given):
    with pytest.raises(ValidationError):
        ConvertSpec(target_bytes=given)


def test_the_first_page_of_several_is_taken(done, tmp_path):
    Image.new("L", (40, 30), 200).save(tmp_path / "p.tiff", save_all=True, append_images=[Image.new("L", (40, 30))])
    made = done(tmp_path / "p.tiff", format="png")
    assert made.pixels("L").mean() == 200
    assert any("pages, of which this is the first" in each for each in made.result.warnings)


# Small and odd


@pytest.mark.parametrize("format_", ["jpeg", "webp", "avif", "png"])
@pytest.mark.parametrize("size", [(1, 1), (3, 17), (301, 2)])
def test_small_pictures_are_written(done, tmp_path, format_, size):
    source = saved(Image.new("RGB", size, GREEN), tmp_path / "small.png")
    made = done(source, format=format_, skip_larger=False)
    assert made.image.size == size
    assert np.abs(made.pixels().astype(int) - GREEN).max() < 12


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("effort", ["fast", "normal"])
def test_a_jpeg_of_more_bytes_than_pixels_is_written(done, tmp_path, effort, progressive):
    noise = np.random.default_rng(4).integers(0, 256, (400, 400, 3), np.uint8)
    source = saved(Image.fromarray(noise), tmp_path / "noise.png")
    made = done(source, format="jpeg", quality=95, effort=effort, progressive=progressive)
    assert made.result.size_bytes > 400 * 400
    assert likeness(noise, made.pixels()) > 80


@pytest.mark.parametrize("format_", ["jpeg", "webp", "avif", "png"])
def test_grey_stays_grey(done, tmp_path, format_):
    made = done(saved(scene().convert("L"), tmp_path / "grey.png"), format=format_, skip_larger=False)
    pixels = made.pixels().astype(int)
    assert np.abs(pixels - pixels.mean(axis=2, keepdims=True)).max() <= 2
    assert made.result.ssimulacra2 >= 80 - SHORT


def test_the_same_picture_makes_the_same_bytes(done, photo):
    first, second = (done(photo).path.read_bytes() for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    "spec",
    [
        {"quality": 80},
        {"quality": 80, "format": "png"},
        {"quality": 80, "target_quality": 80, "format": "jpeg"},
        {"lossless": True, "format": "avif"},
        {"lossless": True, "target_bytes": 1000},
        {"depth": "keep", "format": "jpeg"},
        {"formats": ()},
        {"formats": ("jpeg", "jpeg")},
        {"max_size": "big"},
        {"unknown": 1},
    ],
)
def test_a_spec_that_contradicts_itself_is_refused(spec):
    with pytest.raises(ValidationError):
        ConvertSpec(**spec)


def test_more_to_do_is_told_to_take_longer(photo):
    info = look(photo)
    one, all_ = (estimate_s(info, ConvertSpec(**spec)) for spec in ({"format": "jpeg", "quality": 80}, {}))
    assert 0 < one < all_


def test_a_picture_that_was_cut_off_is_refused(done, photo):
    photo.write_bytes(photo.read_bytes()[: photo.stat().st_size // 2])
    with pytest.raises(SourceUnreadableError):
        done(photo)


# The shared pictures


def _images() -> list[str]:
    folder = SHARED / "image"
    return sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []


_REFUSED = frozenset({"heif", "heic", "ico", "jp2", "psd", "svg"})


@needs_images
@pytest.mark.parametrize("name", _images())
def test_a_shared_image_is_converted(done, name):
    source = SHARED / "image" / name
    if name.rsplit(".", 1)[1] in _REFUSED:
        with pytest.raises(NotMediaError):
            done(source)
        return
    made = done(source, max_size="400x400", effort="fast", target_quality=75, skip_larger=False)
    assert made.result.ssimulacra2 >= 75 - SHORT
    good = [each for each in made.result.candidates if each.size_bytes and each.ssimulacra2 >= 75 - SHORT]
    assert made.result.size_bytes == min(each.size_bytes for each in good)


_LIMIT = 40_000


@needs_images
@pytest.mark.parametrize("name", [name for name in _images() if name.rsplit(".", 1)[1] not in _REFUSED])
def test_a_shared_image_fits(done, name):
    made = done(SHARED / "image" / name, format="webp", target_bytes=_LIMIT, effort="fast", max_size="600")
    assert made.result.size_bytes <= _LIMIT


@needs_images
@pytest.mark.parametrize("name", [name for name in _images() if name.endswith((".jpg", ".mpo"))])
def test_a_shared_jpeg_stays_itself_or_is_refused(done, name):
    source = SHARED / "image" / name
    info = look(source)
    upright_rgb = info.orientation == 1 and info.colour != "cmyk"
    try:
        made = done(source, format="jpeg", lossless=True)
    except ParamsError:
        assert not upright_rgb or info.profile
        return
    assert upright_rgb
    assert made.result.size_bytes < source.stat().st_size
    assert (made.pixels() == np.asarray(Image.open(source).convert("RGB"))).all()


def _bad() -> list[Path]:
    folder = SHARED / "bad" / "image"
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _outcome(done, file: Path) -> str:
    try:
        done(file, effort="fast", max_size="200x200", format="webp")
    except MediaError as error:
        return error.code
    return "made"


@needs_images
@pytest.mark.filterwarnings("ignore::UserWarning")  # of Pillow, to whoever reads stderr
@pytest.mark.parametrize("file", _bad(), ids=lambda file: file.name)
def test_a_bad_image_is_converted_or_refused_with_a_code(done, file):
    assert _outcome(done, file) in {"made", "not_media", "source_unreadable", "source_empty", "limit_exceeded"}
