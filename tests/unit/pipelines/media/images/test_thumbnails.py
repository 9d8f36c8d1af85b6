"""Renditions of pictures with known content, and of the shared ones against Pillow's own full decode and Lanczos."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from pydantic import ValidationError

from pipelines.media.errors import LimitError, MediaError, NotMediaError, SourceUnreadableError
from pipelines.media.images.thumbnail_spec import ThumbnailSpec
from pipelines.media.images.thumbnails import thumbnails

SHARED = Path(__file__).resolve().parents[6] / "shared" / "media"
needs_images = pytest.mark.skipif(not (SHARED / "image").is_dir(), reason="the shared images are not here")
_ORIENTATION = 0x0112
RED, GREEN, BLUE, WHITE = (220, 30, 30), (30, 200, 30), (30, 30, 220), (240, 240, 240)


@pytest.fixture
def made(tmp_path):
    """Makes renditions of a file, and opens the first."""

    def made(source: Path, **spec) -> Image.Image:
        values = {"sizes": ("64",), "format": "png", **spec}
        result = thumbnails(source, tmp_path / "made", ThumbnailSpec(**values))
        image = Image.open(tmp_path / f"made{result.files[0].name}")
        image.load()
        return image

    return made


def quarters(width: int = 640, height: int = 480) -> Image.Image:
    """Red, green, blue and white from left to right, top to bottom."""
    image = Image.new("RGB", (width, height), WHITE)
    image.paste(RED, (0, 0, width // 2, height // 2))
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    return image


def waves(width: int, height: int) -> Image.Image:
    """A smooth picture with something everywhere: what is shifted differs."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    planes = [127 + 120 * np.sin(x / (17 + 9 * n) + n) * np.cos(y / (23 + 5 * n)) for n in range(3)]
    return Image.fromarray(np.stack(planes, axis=-1).astype(np.uint8))


def difference(image: Image.Image, reference: Image.Image) -> float:
    """Mean difference of levels, of what is to be seen."""
    ours, theirs = (np.asarray(each.convert("RGBA")).astype(float) for each in (image, reference))
    shown = [pixels[..., :3] * pixels[..., 3:] / 255 for pixels in (ours, theirs)]
    return float(np.abs(shown[0] - shown[1]).mean())


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_comes_out_upright(made, tmp_path, format_, orientation):
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    source = tmp_path / "turned"
    quarters().save(source, format_, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(source)).convert("RGB")
    result = made(source, sizes=("160x160",))
    assert difference(result, upright.resize(result.size, Image.Resampling.LANCZOS)) < 3
    assert result.getexif().get(_ORIENTATION) is None


@pytest.mark.parametrize("size", [(2725, 2225), (1601, 1203), (3201, 799)])
def test_a_jpeg_decoded_at_a_part_of_its_size_is_not_shifted(made, tmp_path, size):
    source = tmp_path / "odd.jpg"
    waves(*size).save(source, quality=95)
    result = made(source, sizes=("360",))
    reference = Image.open(source).resize(result.size, Image.Resampling.LANCZOS)
    assert difference(result, reference) < 0.75  # 4.7 where the span isn't taken into account


@pytest.mark.parametrize(("size", "width"), [((20_000, 200), 20), ((65_000, 10), 20), ((20, 30_000), 1), ((1, 1), 1)])
def test_a_picture_of_any_shape_is_scaled(made, tmp_path, size, width):
    Image.new("RGB", size, RED).save(tmp_path / "long.png")
    result = made(tmp_path / "long.png", sizes=(str(width),))
    assert result.width == width
    assert np.abs(np.asarray(result).astype(int) - RED).max() <= 3  # of the filter in whole numbers


def test_sixteen_bits_are_scaled_not_clipped(made, tmp_path):
    source = tmp_path / "deep.png"
    Image.fromarray(np.full((100, 100), 32768, np.uint16)).save(source)
    assert np.asarray(made(source)).mean() == pytest.approx(128, abs=1)


def test_a_clear_level_of_sixteen_bit_grey_is_clear(made, tmp_path):
    source = tmp_path / "deep.png"
    levels = np.full((100, 100), 40_000, np.uint16)
    levels[:, :50] = 1000
    Image.fromarray(levels).save(source, transparency=1000)
    alpha = np.asarray(made(source))[..., 3]
    assert alpha[:, :28].max() < 8
    assert alpha[:, 36:].min() > 247


def test_hidden_colour_of_clear_parts_does_not_show(made, tmp_path):
    pixels = np.zeros((99, 99, 4), np.uint8)
    pixels[..., 0] = 255  # clear, and red where nobody sees it
    pixels[:, 49:] = (0, 0, 255, 255)
    source = tmp_path / "hidden.png"
    Image.fromarray(pixels).save(source)
    result = np.asarray(made(source))
    assert result[result[..., 3] > 0][:, 0].max() == 0


def test_a_deep_tiff_whose_white_is_zero_is_shown_as_it_is_meant(made, tmp_path):
    source = tmp_path / "film.tif"
    Image.fromarray(np.full((100, 100), 200 * 257, np.uint16)).save(source, tiffinfo={262: 0})
    with Image.open(source) as image:
        assert image.tag_v2[262] == 0
    assert np.asarray(made(source, format="png")).mean() == pytest.approx(55, abs=1)


def test_a_clear_part_of_a_palette_shows_the_background_in_jpeg(made, tmp_path):
    image = quarters(200, 200).quantize(8, dither=Image.Dither.NONE)
    source = tmp_path / "palette.gif"
    image.save(source, transparency=image.getpixel((10, 10)))
    result = np.asarray(made(source, format="jpeg", background="#00ff00", quality=95))
    assert result[8, 8].tolist() == pytest.approx([0, 255, 0], abs=12)
    assert result[40, 8].tolist() == pytest.approx(list(BLUE), abs=25)


@pytest.mark.parametrize(("frame", "level"), [(0, 0), (2, 100), (9, 150)])
def test_the_frame_asked_for_is_shown_or_the_last(made, tmp_path, frame, level):
    frames = [Image.new("L", (80, 60), 50 * number) for number in range(4)]
    source = tmp_path / "moving.webp"
    frames[0].save(source, save_all=True, append_images=frames[1:], lossless=True)
    assert np.asarray(made(source, frame=frame).convert("L")).mean() == pytest.approx(level, abs=2)


def test_several_sizes_come_of_one_decode_in_their_order(tmp_path):
    source = tmp_path / "film.jpg"
    quarters(1600, 1200).save(source)
    spec = ThumbnailSpec(sizes=("small", "square", "banner", "720", "100x50"))
    result = thumbnails(source, tmp_path / "made", spec)
    sizes = [(each.name, each.width, each.height) for each in result.files]
    assert sizes == [
        ("-small.jpg", 150, 113),
        ("-square.jpg", 400, 400),
        ("-banner.jpg", 1200, 300),
        ("-720w.jpg", 720, 540),
        ("-100x50.jpg", 67, 50),
    ]
    assert [Image.open(tmp_path / f"made{name}").size for name, *_ in sizes] == [(w, h) for _, w, h in sizes]


def test_renditions_that_come_out_alike_are_told(tmp_path):
    source = tmp_path / "small.png"
    quarters(400, 300).save(source)
    result = thumbnails(source, tmp_path / "made", ThumbnailSpec(sizes=("100", "800", "1000", "500x300")))
    (warning,) = result.warnings
    assert warning.startswith("The renditions 800w, 1000w are alike: it has too few pixels")


@pytest.mark.parametrize("spec", [{"sizes": ("400", "400x300")}, {"sizes": ("800", "1000"), "enlarge": True}])
def test_renditions_that_are_as_asked_are_not_told(tmp_path, spec):
    source = tmp_path / "small.png"
    quarters(400, 300).save(source)
    assert thumbnails(source, tmp_path / "made", ThumbnailSpec(**spec)).warnings == ()


def test_a_frame_that_isn_t_there_is_told(tmp_path):
    source = tmp_path / "small.png"
    quarters(400, 300).save(source)
    warnings = thumbnails(source, tmp_path / "made", ThumbnailSpec(frame=1)).warnings
    assert warnings == ("It has one frame, which is taken instead of frame 1.",)


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"sizes": ("50x50",)}, "nothing is"),
        ({"sizes": ("50x50",), "fit": "fill"}, "nothing is"),
        ({"sizes": ("50",), "fit": "cover"}, "nothing is"),
        ({"sizes": ("square",), "position": "attention"}, "give one of them"),
    ],
)
def test_a_focus_that_would_do_nothing_is_refused(spec, why):
    with pytest.raises(ValidationError, match=why):
        ThumbnailSpec(focus=(0.5, 0.5), **spec)


def test_a_preset_that_cuts_takes_a_focus():
    assert ThumbnailSpec(focus=(0.5, 0.5), sizes=("square", "small")).focus == (0.5, 0.5)


def test_the_focus_point_is_kept(made, tmp_path):
    source = tmp_path / "wide.png"
    wide = Image.new("RGB", (900, 100), WHITE)
    wide.paste(RED, (800, 0, 900, 100))
    wide.save(source)
    assert np.asarray(made(source, sizes=("50x50",), fit="cover", focus=(0.95, 0.5)))[25, 25].tolist() == list(RED)


@pytest.mark.parametrize("position", ["entropy", "attention"])
def test_what_stands_out_is_kept(made, tmp_path, position):
    rng = np.random.default_rng(1)
    pixels = np.full((200, 1000, 3), 200, np.uint8)
    pixels[60:140, 820:900] = rng.integers(0, 255, (80, 80, 3))
    source = tmp_path / "wide.png"
    Image.fromarray(pixels).save(source)
    result = np.asarray(made(source, sizes=("100x100",), fit="cover", position=position).convert("L"))
    assert result.std() > 20


@pytest.mark.parametrize("format_", ["jpeg", "webp", "avif", "png"])
def test_nothing_of_the_source_s_metadata_is_left(made, tmp_path, format_):
    exif = Image.Exif()
    exif.get_ifd(0x8825)[1] = "N"  # a place
    exif[0x8298] = "somebody"
    source = tmp_path / "place.jpg"
    quarters().save(source, exif=exif)
    result = made(source, format=format_)
    assert dict(result.getexif()) == {}
    assert b"somebody" not in b"".join(str(value).encode() for value in result.info.values())


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path, made):
    source = tmp_path / "bomb.png"
    Image.new("1", (12_000, 12_000)).save(source)
    with pytest.raises(LimitError, match="100 megapixels"):
        made(source)


def test_a_page_of_another_shape_keeps_its_own(made, tmp_path):
    source = tmp_path / "pages.tiff"
    Image.new("L", (100, 100)).save(source, save_all=True, append_images=[Image.new("L", (400, 100), 255)])
    assert made(source, frame=1, sizes=("200",)).size == (200, 50)


def test_a_later_page_of_too_many_pixels_is_refused(made, tmp_path):
    source = tmp_path / "pages.tiff"
    large = Image.new("1", (12_000, 12_000))
    Image.new("1", (10, 10)).save(source, save_all=True, append_images=[large], compression="group4")
    with pytest.raises(LimitError, match="12000x12000"):
        made(source, frame=1)


def test_a_rendition_of_too_many_pixels_is_refused(made, tmp_path):
    source = tmp_path / "small.png"
    quarters(64, 48).save(source)
    with pytest.raises(LimitError, match=r"A rendition of small\.png"):
        made(source, sizes=("20000x20000",), enlarge=True, fit="fill")


@pytest.mark.parametrize(("format_", "side"), [("webp", 16_384), ("avif", 32_769)])
def test_a_rendition_that_its_format_can_t_hold_is_refused(made, tmp_path, format_, side):
    Image.new("L", (side, 2)).save(tmp_path / "wide.png")
    with pytest.raises(LimitError):
        made(tmp_path / "wide.png", sizes=(str(side),), format=format_)
    assert made(tmp_path / "wide.png", sizes=(str(side),)).size == (side, 2)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
def test_a_picture_that_was_cut_off_is_refused(tmp_path, made, format_):
    source = tmp_path / "cut"
    waves(800, 600).save(source, format_)
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    with pytest.raises(SourceUnreadableError):
        made(source)


def test_text_is_no_picture(tmp_path, made):
    source = tmp_path / "text.jpg"
    source.write_text("no picture")
    with pytest.raises(NotMediaError, match="JPEG"):
        made(source)


def _images() -> list[str]:
    folder = SHARED / "image"
    return sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []


def _bad() -> list[Path]:
    folder = SHARED / "bad" / "image"
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _outcome(made, file: Path) -> str:
    try:
        made(file)
    except MediaError as error:
        return error.code
    return "shown"


# Formats that aren't read: scalable, proprietary, or without a decoder in the wheels.
_REFUSED = frozenset({"heif", "heic", "ico", "jp2", "psd", "svg"})
# 16-bit grey, which Pillow's own conversion clips.
_CLIPPED_BY_PILLOW = frozenset({"png_gray16_trns.png"})
# With a profile, and inks without one: Pillow's conversion knows no colour management.
_PROFILED = frozenset({"jpeg_adobergb_xmp.jpg", "jpeg_cmyk.jpg", "tiff_cmyk_jpeg_tiled.tif"})


@needs_images
@pytest.mark.parametrize("name", _images())
def test_a_shared_image_looks_as_pillow_shows_it(made, name):
    source = SHARED / "image" / name
    if name.rsplit(".", 1)[1] in _REFUSED:
        with pytest.raises(NotMediaError):
            made(source)
        return
    result = made(source, sizes=("360",))
    if name in _CLIPPED_BY_PILLOW | _PROFILED:
        return
    upright = ImageOps.exif_transpose(Image.open(source)).convert("RGBA")
    assert difference(result, upright.resize(result.size, Image.Resampling.LANCZOS)) <= 2


@needs_images
@pytest.mark.filterwarnings("ignore::UserWarning")  # of Pillow, to whoever reads stderr
@pytest.mark.parametrize("file", _bad(), ids=lambda file: file.name)
def test_a_bad_image_is_shown_or_refused_with_a_code(made, file):
    assert _outcome(made, file) in {"shown", "not_media", "source_unreadable", "source_empty", "limit_exceeded"}


def moving(path: Path, format_: str) -> Path:
    """Four frames, red, green, blue and white, of 100, 200, 300 and 400 ms; shown three times."""
    frames = [Image.new("RGB", (80, 60), colour) for colour in (RED, GREEN, BLUE, WHITE)]
    frames[0].save(path, format_, save_all=True, append_images=frames[1:], duration=[100, 200, 300, 400], loop=3)
    return path


@pytest.mark.parametrize("made_as", ["webp", "avif", "png"])
@pytest.mark.parametrize("source_format", ["GIF", "WEBP", "PNG"])
def test_an_animation_keeps_its_frames_and_their_times(tmp_path, source_format, made_as):
    source = moving(tmp_path / "moving", source_format)
    spec = ThumbnailSpec(sizes=("40", "20x20"), fit="cover", format=made_as, animated=True)
    result = thumbnails(source, tmp_path / "made", spec)
    for file, size in zip(result.files, ((40, 30), (20, 20)), strict=True):
        image = Image.open(tmp_path / f"made{file.name}")
        assert (image.size, image.n_frames) == (size, 4)
        for number, (colour, ms) in enumerate(zip((RED, GREEN, BLUE, WHITE), (100, 200, 300, 400), strict=True)):
            image.seek(number)
            image.load()
            assert round(image.info["duration"]) == ms
            assert np.abs(np.asarray(image.convert("RGB"))[5, 5].astype(int) - colour).max() <= 40


def test_a_still_that_is_to_move_is_told(tmp_path):
    quarters().save(tmp_path / "still.png")
    result = thumbnails(tmp_path / "still.png", tmp_path / "made", ThumbnailSpec(format="webp", animated=True))
    assert result.warnings == ("It is no animation: this is a still.",)


def test_an_animation_of_too_many_frames_is_refused(tmp_path):
    frames = [Image.new("L", (8, 8), number % 250) for number in range(301)]
    frames[0].save(tmp_path / "long.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(LimitError, match="301 frames"):
        thumbnails(tmp_path / "long.gif", tmp_path / "made", ThumbnailSpec(format="webp", animated=True))


@pytest.mark.parametrize("values", [{"format": "jpeg"}, {"format": "webp", "keep": "copyright"}])
def test_what_can_t_move_is_refused(values):
    with pytest.raises(ValueError, match=r"animation|stills"):
        ThumbnailSpec(animated=True, **values)


@pytest.mark.parametrize("format_", ["jpeg", "webp", "avif", "png"])
def test_copyright_goes_along_where_it_is_asked_for_and_places_don_t(made, tmp_path, format_):
    exif = Image.Exif()
    exif.get_ifd(0x8825)[1] = "N"  # a place
    exif[0x8298] = "(c) somebody"
    exif[_ORIENTATION] = 6
    quarters().save(tmp_path / "mine.jpg", exif=exif)
    result = made(tmp_path / "mine.jpg", format=format_, keep="copyright")
    kept = result.getexif()
    assert kept[0x8298] == "(c) somebody"
    assert dict(kept.get_ifd(0x8825)) == {}
    assert kept.get(_ORIENTATION, 1) == 1
    assert result.size == (64, 85)


def test_a_placeholder_is_told_where_it_is_asked_for(tmp_path):
    quarters().save(tmp_path / "a.png")
    plain, told = (
        thumbnails(tmp_path / "a.png", tmp_path / "made", ThumbnailSpec(placeholder=asked)) for asked in (False, True)
    )
    assert plain.blurhash is None
    assert told.blurhash is not None
    assert len(told.blurhash) == 28


def test_noise_is_written_whatever_room_it_takes(made, tmp_path):
    noise = np.random.default_rng(1).integers(0, 256, (400, 400, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    assert made(tmp_path / "noise.png", sizes=("400",), format="jpeg", quality=98).size == (400, 400)
