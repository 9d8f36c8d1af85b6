"""What is found out about pictures with known content, and that nothing readable breaks it."""

import itertools
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from pipelines.media.errors import NotMediaError, SourceUnreadableError
from pipelines.media.images.analysis.analyse import analyse
from pipelines.media.images.analysis.analysis_spec import Analysis, AnalysisSpec
from pipelines.media.images.header import look

SHARED = Path(__file__).resolve().parents[7] / "shared" / "media" / "image"
needs_images = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared images are not here")


@pytest.fixture
def told(tmp_path):
    """What is told of pixels, or of a file."""

    def told(picture: np.ndarray | Path, **spec) -> Analysis:
        source = picture
        if isinstance(picture, np.ndarray):
            source = tmp_path / "picture.png"
            Image.fromarray(picture).save(source)
        return analyse(source=source, target=tmp_path / "made", spec=AnalysisSpec(**spec))

    return told


def scene(width: int = 800, height: int = 600) -> np.ndarray:
    """A made-up view: neutral slopes, sharp discs and bars of several greys and colours, from black to white."""
    slope = np.linspace(60, 190, height)[:, None, None]
    picture = np.tile(slope, (1, width, 3)).astype(np.uint8)
    random = np.random.default_rng(7)
    for _ in range(60):
        at = (int(random.integers(width)), int(random.integers(height)))
        level = int(random.integers(5, 250))
        tint = random.integers(-40, 41, 3)
        colour = tuple(int(each) for each in np.clip(level + tint - tint.mean(), 5, 250))
        cv2.circle(picture, at, int(random.integers(width // 80, width // 16)), colour, -1, cv2.LINE_AA)
    return picture


def noisy(picture: np.ndarray, sigma: float) -> np.ndarray:
    added = np.random.default_rng(3).normal(0, sigma, picture.shape[:2])[..., None]
    return np.clip(picture + added + 0.5, 0, 255).astype(np.uint8)


def tinted(picture: np.ndarray, gains: tuple[float, float, float]) -> np.ndarray:
    """As by coloured light: linear light times ``gains``."""
    light = (picture / 255) ** 2.2 * gains
    return np.clip(light ** (1 / 2.2) * 255 + 0.5, 0, 255).astype(np.uint8)


def codes(analysis: Analysis) -> dict[str, str]:
    return {issue.code: issue.severity for issue in analysis.issues}


def differing(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


def test_a_good_picture_has_no_issues(told):
    analysis = told(scene())
    assert analysis.issues == ()
    assert analysis.quality.score > 90


def test_nothing_is_written(told, tmp_path):
    told(scene(64, 48))
    assert [each.name for each in tmp_path.iterdir()] == ["picture.png"]


def test_the_more_a_picture_is_blurred_the_less_sharp_it_is(told):
    sharp = [told(cv2.GaussianBlur(scene(), (0, 0), sigma)).measures.sharpness for sigma in (0.1, 1, 2, 4)]
    assert all(one.blur < other.blur for one, other in itertools.pairwise(sharp))
    assert all(one.laplacian > other.laplacian for one, other in itertools.pairwise(sharp))
    assert all(one.tenengrad > other.tenengrad for one, other in itertools.pairwise(sharp))


def test_blur_does_not_depend_on_contrast(told):
    picture = scene()
    pale = (picture * 0.3 + 90).astype(np.uint8)
    blurs = [told(each).measures.sharpness.blur for each in (picture, pale)]
    assert blurs[0] == pytest.approx(blurs[1], abs=0.03)


def test_a_blurred_picture_is_said_to_be_blurred(told):
    assert codes(told(cv2.GaussianBlur(scene(), (0, 0), 5)))["blurred"] == "major"


def test_sharpness_is_measured_at_screen_size_whatever_the_picture_has(told, tmp_path):
    large = tmp_path / "large.jpg"
    Image.fromarray(cv2.resize(scene(), (3200, 2400), interpolation=cv2.INTER_CUBIC)).save(large, quality=95)
    analysis = told(large)
    assert (analysis.measures.sharpness.width, analysis.measures.sharpness.height) == (1024, 768)
    assert (analysis.measures.noise.width, analysis.measures.noise.height) == (3200, 2400)
    assert "blurred" not in codes(analysis)


@pytest.mark.parametrize("sigma", [2, 4, 8, 16, 25])
def test_noise_is_estimated_within_a_sixth(told, sigma):
    assert told(noisy(scene(), sigma)).measures.noise.sigma == pytest.approx(sigma, rel=1 / 6)


def test_texture_is_not_taken_for_noise(told):
    """Random at every scale, as gravel and leaves are: of equal strength at full and half size."""
    random = np.random.default_rng(5)
    field = np.zeros((512, 512))
    for step in (1, 2, 4, 8, 16, 32):
        coarse = random.normal(0, 8, (512 // step, 512 // step)).astype(np.float32)
        field += cv2.resize(coarse, (512, 512), interpolation=cv2.INTER_CUBIC) * step**0.5
    texture = np.clip(cv2.GaussianBlur(field, (0, 0), 0.7) + 128, 0, 255).astype(np.uint8)
    assert told(texture).measures.noise.sigma < 1


def test_noise_that_scaling_hides_is_told_apart_from_what_is_seen(told):
    noise = told(noisy(scene(2048, 1536), 8)).measures.noise
    assert noise.sigma == pytest.approx(8, rel=0.2)
    assert noise.seen == pytest.approx(4, rel=0.2)


def test_a_noisy_picture_is_said_to_be_noisy(told):
    assert codes(told(noisy(scene(), 15)))["noisy"] == "major"
    assert "noisy" not in codes(told(scene()))


@pytest.mark.parametrize(("level", "luminance"), [(0, 0.0), (118, 0.1812), (255, 1.0)])
def test_luminance_is_of_linear_light(told, level, luminance):
    grey = np.full((40, 40), level, np.uint8)
    assert told(grey).measures.exposure.luminance == pytest.approx(luminance, abs=1e-3)


def test_shares_of_black_and_blown_out_pixels_are_told(told):
    picture = np.full((100, 100), 128, np.uint8)
    picture[:20], picture[90:] = 0, 255
    exposure = told(picture).measures.exposure
    assert (exposure.shadows, exposure.highlights) == (0.2, 0.1)


def test_a_pure_colour_is_not_blown_out(told):
    red = np.zeros((40, 40, 3), np.uint8)
    red[..., 0] = 255
    assert told(red).measures.exposure.highlights == 0


def test_dark_and_bright_pictures_are_said_to_be_so(told):
    assert codes(told((scene() * 0.2).astype(np.uint8)))["too_dark"] == "major"
    assert codes(told((215 + scene() * 0.15).astype(np.uint8)))["too_bright"] == "major"


def test_a_dark_subject_on_white_is_not_too_bright_or_too_dark(told):
    picture = np.full((400, 400), 255, np.uint8)
    picture[100:300, 100:300] = 40
    assert not {"too_dark", "too_bright"} & codes(told(picture)).keys()


def test_contrast_of_a_checkerboard_is_half_of_what_is_between_its_levels(told):
    board = np.kron([[51, 204] * 8, [204, 51] * 8] * 8, np.ones((8, 8))).astype(np.uint8)
    contrast = told(board).measures.contrast
    assert contrast.rms == pytest.approx(0.3, abs=1e-3)
    assert (contrast.low, contrast.high, contrast.range) == (0.2, 0.8, 0.6)


def test_a_pale_picture_is_said_to_lack_contrast(told):
    assert codes(told((scene() * 0.2 + 100).astype(np.uint8)))["low_contrast"] == "major"


def test_colourfulness_is_hasler_and_suesstrunks(told):
    picture = np.zeros((2, 2, 3), np.uint8)
    picture[0] = (200, 0, 0)
    spread = math.hypot(100, 50)  # red-green is 200 or 0, yellow-blue 100 or 0
    assert told(picture).measures.colour.colourfulness == pytest.approx(spread + 0.3 * spread, abs=1e-3)


def test_grey_has_no_colour(told):
    measures = told(scene()[..., 0].copy()).measures
    assert (measures.colour.colourfulness, measures.colour.chroma) == (0, pytest.approx(0, abs=0.1))


@pytest.mark.parametrize(
    ("gains", "direction"),
    [((1, 0.75, 0.4), "orange"), ((0.45, 0.7, 1), "blue"), ((0.55, 1, 0.55), "green"), ((1, 0.5, 1), "magenta")],
)
def test_a_cast_is_found_with_its_direction(told, gains, direction):
    analysis = told(tinted(scene(), gains))
    assert {analysis.measures.cast.direction} <= {direction, {"orange": "yellow", "magenta": "violet"}.get(direction)}
    assert "colour_cast" in codes(analysis)


def test_a_coloured_thing_beside_white_is_no_cast(told):
    meadow = np.zeros((400, 400, 3), np.uint8)
    meadow[:] = (60, 140, 50)
    meadow[:120] = (235, 235, 235)
    cast = told(meadow).measures.cast
    assert cast.a < -20
    assert cast.strength < 2


def test_the_palette_has_the_colours_and_their_shares(told):
    picture = np.zeros((100, 100, 3), np.uint8)
    picture[:50], picture[50:80], picture[80:] = (200, 30, 30), (30, 30, 220), (240, 240, 240)
    palette = told(picture).palette
    assert [(each.hex, each.share) for each in palette] == [("#c81e1e", 0.5), ("#1e1edc", 0.3), ("#f0f0f0", 0.2)]


def test_the_palette_has_no_more_colours_than_asked_for(told):
    palette = told(scene(), colours=3).palette
    assert len(palette) == 3
    assert sum(each.share for each in palette) == pytest.approx(1, abs=1e-3)


def test_a_picture_is_told_the_same_each_time(told):
    assert told(noisy(scene(), 5)) == told(noisy(scene(), 5))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_jpeg_has_the_same_hashes(told, tmp_path, orientation):
    """Turned back, it is the picture that was turned: how it is stored doesn't show."""
    picture = Image.fromarray(scene())
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow's Transpose that makes what the tag undoes
    stored = picture.transpose(Image.Transpose(turns[orientation])) if orientation in turns else picture
    exif = Image.Exif()
    exif[0x0112] = orientation
    plain, turned = tmp_path / "plain.jpg", tmp_path / "turned.jpg"
    picture.save(plain, quality=95)
    stored.save(turned, quality=95, exif=exif)
    one, other = told(plain), told(turned)
    assert differing(one.phash, other.phash) <= 2
    assert differing(one.dhash, other.dhash) <= 2


def test_hashes_withstand_scaling_and_compression_and_tell_pictures_apart(told, tmp_path):
    small = tmp_path / "small.jpg"
    Image.fromarray(scene()).resize((300, 225)).save(small, quality=40)
    one, other, another = told(scene()), told(small), told(scene()[::-1, ::-1].copy())
    assert differing(one.phash, other.phash) <= 6
    assert differing(one.phash, another.phash) >= 16
    assert differing(one.dhash, other.dhash) <= 6


def test_what_stands_out_is_in_the_box(told):
    picture = np.full((600, 800, 3), 90, np.uint8)
    cv2.circle(picture, (600, 150), 50, (250, 220, 30), -1)
    box = told(picture).salience
    assert box.x < 600 / 800 < box.x + box.width
    assert box.y < 150 / 600 < box.y + box.height
    assert box.width * box.height < 0.25


def test_transparent_parts_do_not_count(told):
    picture = np.zeros((200, 200, 4), np.uint8)
    picture[50:150, 50:150] = (200, 30, 30, 255)
    analysis = told(picture)
    assert [(each.hex, each.share) for each in analysis.palette] == [("#c81e1e", 1.0)]
    assert analysis.measures.exposure.shadows == 0


@needs_images
def test_colours_are_told_in_srgb(told, tmp_path):
    with Image.open(SHARED / "jpeg_adobergb_xmp.jpg") as image:
        profile = image.info["icc_profile"]
    source = tmp_path / "wide.png"
    Image.new("RGB", (40, 30), (150, 200, 150)).save(source, icc_profile=profile)
    assert told(source).palette[0].hex == "#7cc995"  # by Adobe RGB's primaries and gamma 2.2


@pytest.mark.parametrize(
    "picture",
    [
        np.full((1, 1), 0, np.uint8),
        np.full((1, 1, 3), 255, np.uint8),
        np.full((1, 1, 4), 0, np.uint8),
        np.full((1, 3000), 128, np.uint8),
        np.full((3000, 2, 3), 7, np.uint8),
        np.full((300, 200, 4), 0, np.uint8),
        np.full((64, 64, 3), (10, 200, 30), np.uint8),
        np.full((300, 300), 255, np.uint8),
        np.arange(2, dtype=np.uint8).reshape(1, 2) * 255,
    ],
    ids=["black", "white", "clear", "row", "column", "clear-large", "green", "white-large", "two"],
)
def test_pictures_with_next_to_nothing_in_them_are_told_of(told, picture):
    check(told(picture))


def test_one_colour_is_said_to_be_blank(told):
    analysis = told(np.full((64, 64, 3), (10, 200, 30), np.uint8))
    assert codes(analysis) == {"blank": "major"}
    assert analysis.measures.sharpness.blur is None
    assert analysis.salience is None


def test_a_huge_jpeg_is_decoded_at_a_part_of_its_size(told, tmp_path):
    source = tmp_path / "huge.jpg"
    Image.fromarray(np.tile(scene()[..., 0], (10, 10))).convert("RGB").save(source, quality=60)
    analysis = told(source)
    assert (analysis.source.width, analysis.source.height) == (8000, 6000)
    assert analysis.measures.noise.width == 4000


def test_the_frame_asked_for_is_told_of(told, tmp_path):
    source = tmp_path / "moving.gif"
    colours = [(220, 30, 30), (30, 30, 220)]
    frames = [Image.new("RGB", (40, 30), colour) for colour in colours]
    frames[0].save(source, save_all=True, append_images=frames[1:])
    assert [told(source, frame=frame).palette[0].hex for frame in (0, 1)] == ["#dc1e1e", "#1e1edc"]


def test_what_is_no_image_is_refused(told, tmp_path):
    source = tmp_path / "text.jpg"
    source.write_text("no image")
    with pytest.raises(NotMediaError):
        told(source)


def test_a_damaged_image_is_refused(told, tmp_path):
    source = tmp_path / "cut.png"
    Image.fromarray(noisy(scene(), 9)).save(source)
    source.write_bytes(source.read_bytes()[:20_000])
    with pytest.raises(SourceUnreadableError):
        told(source)


def check(analysis: Analysis) -> None:
    """What holds of any picture."""
    numbers = list(figures(analysis.model_dump(exclude={"source"})))
    assert all(math.isfinite(each) for each in numbers)
    assert 0 <= analysis.quality.score <= 100
    assert all(0 <= part.score <= 100 for part in analysis.quality.parts)
    assert sum(part.weight for part in analysis.quality.parts) == pytest.approx(1)
    assert analysis.measures.sharpness.blur is None or 0 <= analysis.measures.sharpness.blur <= 1
    assert 0 <= analysis.measures.contrast.low <= analysis.measures.contrast.high <= 1
    assert sum(each.share for each in analysis.palette) == pytest.approx(1, abs=2e-3)
    assert len(analysis.phash) == len(analysis.dhash) == 16
    assert len(analysis.blurhash) == 28
    box = analysis.salience
    assert box is None or (box.width > 0 and box.height > 0 and box.x + box.width <= 1.001)
    assert Analysis.model_validate_json(analysis.model_dump_json()) == analysis


def figures(value):
    if isinstance(value, dict):
        value = value.values()
    elif isinstance(value, int | float):
        yield value
        return
    elif not isinstance(value, list | tuple):
        return
    for each in value:
        yield from figures(each)


@needs_images
@pytest.mark.parametrize("source", sorted(SHARED.iterdir()) if SHARED.is_dir() else [], ids=lambda path: path.name)
def test_any_picture_that_is_read_is_told_of(told, source):
    try:
        look(source)
    except NotMediaError as error:
        pytest.skip(str(error))
    check(told(source))


@needs_images
@pytest.mark.parametrize("name", ["jpeg_adobergb_xmp.jpg", "jpeg_exif_orientation_1.jpg", "jpeg_progressive_icc.jpg"])
def test_photographs_get_high_scores_and_spoilt_ones_lower(told, name):
    with Image.open(SHARED / name) as image:
        image.thumbnail((1000, 1000))
        photograph = np.asarray(image.convert("RGB"))
    score = told(photograph).quality.score
    assert score > 85
    assert told(cv2.GaussianBlur(photograph, (0, 0), 6)).quality.score < score - 20
    assert told((photograph * 0.15).astype(np.uint8)).quality.score < score - 20
    assert told(noisy(photograph, 30)).quality.score < score - 20
