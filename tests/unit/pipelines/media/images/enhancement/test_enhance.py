"""What enhancing does to pictures with known faults; plain factors against Pillow's."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageEnhance
from pydantic import ValidationError

from pipelines.media.errors import LimitError, NotMediaError
from pipelines.media.images.enhancement.enhance import ORDER, enhance
from pipelines.media.images.enhancement.enhance_spec import Enhanced, EnhanceSpec
from pipelines.media.images.header import look

SHARED = Path(__file__).resolve().parents[7] / "shared" / "media" / "image"
needs_images = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared images are not here")


@pytest.fixture
def bettered(tmp_path):
    """Enhances pixels or a file: what is told, and the pixels of what was written."""

    def bettered(picture: np.ndarray | Path, **spec) -> tuple[Enhanced, np.ndarray]:
        source = picture
        if isinstance(picture, np.ndarray):
            source = tmp_path / "picture.png"
            Image.fromarray(picture).save(source)
        result = enhance(source=source, target=tmp_path / "made", spec=EnhanceSpec(**spec))
        (file,) = result.files
        with Image.open(tmp_path / f"made{file.name}") as image:
            assert image.size == (file.width, file.height)
            return result, np.asarray(image)

    return bettered


def scene(width: int = 480, height: int = 360) -> np.ndarray:
    """Neutral slopes and discs of several greys and colours, from black to white."""
    picture = np.tile(np.linspace(60, 190, height)[:, None, None], (1, width, 3)).astype(np.uint8)
    random = np.random.default_rng(7)
    for _ in range(60):
        at = (int(random.integers(width)), int(random.integers(height)))
        level, tint = int(random.integers(5, 250)), random.integers(-40, 41, 3)
        colour = tuple(int(each) for each in np.clip(level + tint - tint.mean(), 5, 250))
        cv2.circle(picture, at, int(random.integers(width // 60, width // 12)), colour, -1, cv2.LINE_AA)
    return picture


def noisy(picture: np.ndarray, sigma: float) -> np.ndarray:
    added = np.random.default_rng(3).normal(0, sigma, picture.shape)
    return np.clip(picture + added + 0.5, 0, 255).astype(np.uint8)


def in_light(picture: np.ndarray, gains: float | tuple[float, float, float]) -> np.ndarray:
    """Linear light times ``gains``."""
    light = np.clip((picture / 255) ** 2.2 * gains, 0, 1)
    return np.clip(light ** (1 / 2.2) * 255 + 0.5, 0, 255).astype(np.uint8)


def error(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sqrt(((one.astype(float) - other) ** 2).mean()))


def names(result: Enhanced) -> list[str]:
    return [step.name for step in result.done]


def test_nothing_asked_for_is_refused_with_what_could_be():
    with pytest.raises(ValidationError, match="nothing is asked for: set auto, or one of denoise"):
        EnhanceSpec()


def test_a_factor_of_one_asks_for_nothing():
    with pytest.raises(ValidationError):
        EnhanceSpec(brightness=1, gamma=1, denoise=0)


def test_steps_are_done_in_one_order(bettered):
    spec = {"sharpness": 1.1, "gamma": 1.2, "denoise": 0.2, "auto_levels": True, "local_contrast": 0.2}
    result, _ = bettered(scene(), **spec)
    assert names(result) == [name for name in ORDER if name in spec]
    assert {step.why for step in result.done} == {"asked for"}


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("brightness", ImageEnhance.Brightness),
        ("contrast", ImageEnhance.Contrast),
        ("saturation", ImageEnhance.Color),
        ("sharpness", ImageEnhance.Sharpness),
    ],
)
@pytest.mark.parametrize("factor", [0.3, 0.8, 1.5, 3.0])
def test_plain_factors_do_as_pillows(bettered, name, theirs, factor):
    picture = noisy(scene(), 4)
    _, made = bettered(picture, **{name: factor})
    expected = np.asarray(theirs(Image.fromarray(picture)).enhance(factor)).astype(int)
    inside = np.abs(made.astype(int) - expected)[1:-1, 1:-1]  # Pillow leaves the outermost pixels as they are
    assert inside.max() <= 2


def test_gamma_lifts_the_middle_and_leaves_the_ends(bettered):
    picture = np.array([[0, 64, 255]], np.uint8)
    _, made = bettered(picture, gamma=2)
    assert made.tolist() == [[0, round(255 * (64 / 255) ** 0.5), 255]]


def test_levels_are_stretched_to_black_and_white(bettered):
    pale = (scene() * 0.5 + 60).astype(np.uint8)
    _, made = bettered(pale, auto_levels=True)
    assert np.percentile(made, (0.5, 99.5)).tolist() == pytest.approx([0, 255], abs=3)


def test_a_stretch_has_its_bound(bettered):
    """A tenfold one would be bands and noise."""
    picture = np.tile(np.linspace(120, 140, 200), (200, 1)).astype(np.uint8)
    _, made = bettered(picture, auto_levels=True)
    assert int(made.max()) - int(made.min()) <= 3 * 20 + 1


@pytest.mark.parametrize("gains", [(1, 0.75, 0.5), (0.5, 0.75, 1), (0.6, 1, 0.7)])
def test_a_cast_is_taken_away(bettered, gains):
    picture = scene()
    tinted = in_light(picture, gains)
    result, made = bettered(tinted, white_balance=True)
    assert result.before.cast.strength > 8
    assert result.after.cast.strength < 3
    assert error(made, picture) < error(tinted, picture) / 2


def test_what_is_blown_out_stays_white(bettered):
    tinted = in_light(scene(), (1, 0.75, 0.5))
    tinted[:40] = 255
    _, made = bettered(tinted, white_balance=True)
    assert (made[:30] == 255).all()


@pytest.mark.parametrize("sigma", [6, 12, 25])
def test_denoised_a_picture_is_nearer_to_what_it_was(bettered, sigma):
    picture = scene()
    spoilt = noisy(picture, sigma)
    result, made = bettered(spoilt, denoise=sigma / 25)
    assert error(made, picture) < error(spoilt, picture) * 0.6
    assert result.after.noise.sigma < result.before.noise.sigma / 3


def test_sharpened_a_soft_picture_is_sharper_and_nearer_to_what_it_was(bettered):
    picture = scene()
    soft = cv2.GaussianBlur(picture, (0, 0), 1.2)
    result, made = bettered(soft, sharpen=0.5)
    assert result.after.sharpness.blur < result.before.sharpness.blur
    assert error(made, picture) < error(soft, picture)


def test_sharpening_leaves_faint_noise_alone(bettered):
    picture = np.full((200, 200), 128, np.uint8) + np.random.default_rng(1).integers(-1, 2, (200, 200)).astype(np.uint8)
    _, made = bettered(picture, sharpen=1)
    assert (made == picture).all()


def test_sharpening_makes_no_colours(bettered):
    grey = np.repeat(cv2.GaussianBlur(scene()[..., 0], (0, 0), 1)[..., None], 3, axis=2)
    _, made = bettered(grey, sharpen=1)
    assert np.ptp(made, axis=2).max() == 0


def test_local_contrast_brings_out_what_lies_in_shadow(bettered):
    picture = scene()
    picture[:, :240] = picture[:, :240] // 6
    _, made = bettered(picture, local_contrast=1)
    assert made[:, :240].std() > picture[:, :240].std() * 1.3


def test_auto_lifts_a_dark_picture(bettered):
    result, _ = bettered(in_light(scene(), 0.06), auto=True)
    assert result.before.exposure.lightness < 20
    assert 35 < result.after.exposure.lightness < 60
    assert result.score_after > result.score_before + 20
    assert {"auto_levels", "gamma"} & set(names(result))


def test_auto_lowers_a_bright_picture(bettered):
    pale = (200 + scene() * 0.2).astype(np.uint8)
    result, _ = bettered(pale, auto=True)
    assert result.after.exposure.lightness < result.before.exposure.lightness - 10


def test_auto_takes_away_most_of_a_cast(bettered):
    result, _ = bettered(in_light(scene(), (1, 0.7, 0.4)), auto=True)
    assert "white_balance" in names(result)
    assert result.after.cast.strength < result.before.cast.strength / 2


def test_auto_smooths_noise_and_does_not_sharpen_it(bettered):
    result, _ = bettered(noisy(scene(), 18), auto=True)
    assert "denoise" in names(result)
    assert not {"sharpen", "sharpness"} & set(names(result))
    assert result.after.noise.sigma < result.before.noise.sigma / 2


def test_auto_sharpens_a_soft_picture(bettered):
    result, _ = bettered(cv2.GaussianBlur(scene(), (0, 0), 2.5), auto=True)
    assert names(result) == ["sharpen"]
    assert result.after.sharpness.blur < result.before.sharpness.blur


def test_auto_gives_a_pale_picture_contrast(bettered):
    result, _ = bettered((scene() * 0.25 + 90).astype(np.uint8), auto=True)
    assert {"auto_levels", "local_contrast"} <= set(names(result))
    assert result.after.contrast.range > 2 * result.before.contrast.range


def test_auto_says_why(bettered):
    result, _ = bettered(in_light(scene(), (1, 0.7, 0.4)), auto=True)
    assert result.done[0].why.startswith("a cast to ")


def test_auto_writes_a_good_picture_as_it_is_and_says_so(bettered):
    picture = scene(800, 600)
    result, made = bettered(picture, auto=True)
    assert (result.done, result.left) == ((), ())
    assert result.before == result.after
    assert result.warnings == ("Nothing to better was found; its compressed pixels stay.",)
    assert (made == picture).all()


@pytest.mark.parametrize("stored", ["JPEG", "WEBP", "AVIF"])
def test_what_auto_leaves_alone_loses_nothing(bettered, tmp_path, stored):
    source = tmp_path / "stored"
    Image.fromarray(scene()).save(source, stored, quality=70)
    result, made = bettered(source, auto=True)
    assert (result.done, result.kept) == ((), True)
    assert (made == np.asarray(Image.open(source).convert("RGB"))).all()


def test_what_auto_leaves_alone_keeps_its_bits(bettered, tmp_path):
    source = tmp_path / "deep.png"
    deep = scene().astype(np.uint16) * 257 + 1
    cv2.imwrite(str(source), deep)
    result, _ = bettered(source, auto=True)
    (file,) = result.files
    assert result.kept
    assert (cv2.imread(str(tmp_path / f"made{file.name}"), cv2.IMREAD_UNCHANGED) == deep).all()


def test_what_can_not_stay_is_said_to_be_written_anew(bettered, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    source = tmp_path / "turned.jpg"
    Image.fromarray(scene()).save(source, exif=exif, quality=95)
    result, _ = bettered(source, auto=True)
    assert (result.done, result.kept) == ((), False)
    assert result.warnings[0].endswith("it is only written anew, as JPEG, which loses a little (quality 90).")


def test_what_was_found_and_is_left_is_told_with_why(bettered):
    """A graphic that is meant to be yellow: without that it would score less."""
    yellow = np.full((480, 640, 3), (250, 210, 20), np.uint8)
    yellow[100:200, 100:300], yellow[300:400, 200:500] = (120, 60, 0), (30, 20, 0)
    result, made = bettered(yellow, auto=True)
    assert result.done == ()
    assert "colour_cast" in [each.issue for each in result.left]
    assert all("would score less" in each.why for each in result.left if each.issue == "colour_cast")
    assert result.warnings[0].startswith("Nothing was bettered of what was found (")
    assert (made == yellow).all()


def test_what_is_lost_is_told_to_be_left(bettered):
    small = noisy(scene(120, 90), 18)
    small[:40] = 255
    result, _ = bettered(small, auto=True)
    assert result.done
    assert {"highlights_clipped", "low_resolution"} <= {each.issue for each in result.left}
    assert "noisy" not in {each.issue for each in result.left}


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_bits_that_are_lost_are_told(bettered, tmp_path, ending):
    source = tmp_path / f"deep.{ending}"
    cv2.imwrite(str(source), scene().astype(np.uint16) * 257)
    result, _ = bettered(source, brightness=1.1)
    assert "Its 16 bits a channel can't be kept; it has 8." in result.warnings


@pytest.mark.parametrize(
    ("format_", "told"),
    [
        ("gif", "It has 2 frames, 0 to 1; the last is taken instead of frame 7."),
        ("tiff", "It has 2 pages, 0 to 1; the last is taken instead of page 7."),
    ],
)
def test_a_frame_that_isn_t_there_is_told(bettered, tmp_path, format_, told):
    source = tmp_path / "several"
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("red", "blue")]
    frames[0].save(source, format_, save_all=True, append_images=frames[1:])
    result, made = bettered(source, contrast=1.01, frame=7)
    assert told in result.warnings
    assert made[0, 0, 2] > 200


def test_auto_does_nothing_to_a_blank_picture(bettered):
    result, made = bettered(np.full((50, 50, 3), (20, 12, 5), np.uint8), auto=True)
    assert result.done == ()
    assert (made == (20, 12, 5)).all()


def test_what_is_asked_for_has_the_say_over_auto(bettered):
    result, _ = bettered(noisy(scene(), 18), auto=True, denoise=0.1)
    (step,) = (step for step in result.done if step.name == "denoise")
    assert (step.amount, step.why) == (0.1, "asked for")


def test_alpha_is_as_it_was(bettered):
    alpha = np.tile(np.linspace(0, 255, 480), (360, 1)).astype(np.uint8)
    picture = np.dstack([in_light(scene(), 0.1), alpha])
    _, made = bettered(picture, auto=True, sharpen=0.5, denoise=0.2, saturation=1.5)
    assert (made[..., 3] == alpha).all()


def test_a_clear_background_does_not_count(bettered):
    """What is hidden is black; the picture isn't dark."""
    picture = np.dstack([scene(), np.zeros((360, 480), np.uint8)])
    picture[..., :3][:, :400] = 0
    picture[:, 400:, 3] = 255
    result, _ = bettered(picture, auto=True)
    assert "gamma" not in names(result)


@pytest.mark.parametrize(
    ("stored", "asked", "written"),
    [
        ("JPEG", "auto", "jpeg"),
        ("WEBP", "auto", "webp"),
        ("AVIF", "auto", "avif"),
        ("PNG", "auto", "png"),
        ("GIF", "auto", "png"),
        ("TIFF", "auto", "png"),
        ("BMP", "auto", "png"),
        ("PNG", "jpeg", "jpeg"),
        ("JPEG", "webp", "webp"),
    ],
)
def test_the_format_is_the_sources_or_as_asked(bettered, tmp_path, stored, asked, written):
    source = tmp_path / "stored"
    Image.fromarray(scene(64, 48)).save(source, stored)
    result, _ = bettered(source, brightness=1.2, format=asked)
    (file,) = result.files
    assert file.format == written
    assert file.name == f"-enhanced.{written.replace('jpeg', 'jpg')}"
    assert look(tmp_path / f"made{file.name}").format == written


def test_clear_parts_are_white_in_jpeg_and_that_is_said(bettered):
    picture = np.zeros((40, 60, 4), np.uint8)
    result, made = bettered(picture, brightness=1.2, format="jpeg")
    assert made.min() >= 253
    assert any("alpha" in warning for warning in result.warnings)


def test_it_comes_out_upright_without_metadata_at_its_whole_size(bettered, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x013B] = "somebody"
    source = tmp_path / "turned.jpg"
    Image.fromarray(scene(480, 360)).save(source, exif=exif, quality=95)
    _, made = bettered(source, brightness=1.01)
    assert made.shape == (480, 360, 3)
    with Image.open(tmp_path / "made-enhanced.jpg") as image:
        assert not image.getexif()
    expected = np.rot90(scene(480, 360), -1)
    assert error(made, expected) < 8


def test_of_an_animation_one_frame_is_written_and_that_is_said(bettered, tmp_path):
    source = tmp_path / "moving.gif"
    frames = [Image.new("RGB", (40, 30), colour) for colour in ((220, 30, 30), (30, 30, 220))]
    frames[0].save(source, save_all=True, append_images=frames[1:])
    result, made = bettered(source, contrast=1.01, frame=1)
    assert made[0, 0, 2] > 200
    assert any("2 frames" in warning for warning in result.warnings)


def test_the_same_comes_out_each_time(bettered, tmp_path):
    steps = {"auto": True, "denoise": 0.3, "local_contrast": 0.5, "sharpen": 0.5, "white_balance": True}
    made = []
    for _ in range(2):
        bettered(noisy(scene(), 9), **steps)
        made.append((tmp_path / "made-enhanced.png").read_bytes())
    assert made[0] == made[1]


def test_a_picture_taller_than_a_strip_has_no_seams(bettered):
    """Rows are dealt with by strips of 256: where they meet, it's as if there were none."""
    slope = np.tile(np.linspace(30, 220, 200), (700, 1))
    picture = np.repeat(slope[..., None], 3, axis=2).astype(np.uint8)
    _, made = bettered(picture, sharpen=1, denoise=0.4, saturation=1.4, sharpness=2)
    assert np.ptp(made.astype(int), axis=0).max() <= 1


@pytest.mark.parametrize(
    "picture",
    [
        np.full((1, 1), 0, np.uint8),
        np.full((1, 1, 3), 255, np.uint8),
        np.full((1, 1, 4), 0, np.uint8),
        np.full((1, 700), 128, np.uint8),
        np.full((700, 2, 3), 7, np.uint8),
        np.full((90, 60, 4), 0, np.uint8),
    ],
    ids=["black", "white", "clear", "row", "column", "clear-large"],
)
def test_pictures_with_next_to_nothing_in_them_keep_their_shape(bettered, picture):
    every = {"denoise": 0.5, "white_balance": True, "auto_levels": True, "gamma": 1.5, "brightness": 1.2}
    every |= {"contrast": 1.2, "local_contrast": 1, "saturation": 1.3, "sharpen": 1, "sharpness": 1.5}
    _, made = bettered(picture, auto=True, **every)
    assert made.shape == picture.shape


def test_what_is_no_image_is_refused(bettered, tmp_path):
    source = tmp_path / "text.jpg"
    source.write_text("no image")
    with pytest.raises(NotMediaError):
        bettered(source, auto=True)


@needs_images
@pytest.mark.parametrize("source", sorted(SHARED.iterdir()) if SHARED.is_dir() else [], ids=lambda path: path.name)
def test_auto_makes_no_picture_that_is_read_worse(bettered, source):
    try:
        info = look(source)
    except NotMediaError as error:
        pytest.skip(str(error))
    result, made = bettered(source, auto=True)
    assert made.shape[:2] == (info.height, info.width)
    assert result.score_after >= result.score_before
    assert Enhanced.model_validate_json(result.model_dump_json()) == result


def test_a_picture_that_the_format_can_t_hold_is_refused(bettered):
    with pytest.raises(LimitError):
        bettered(np.zeros((2, 16_384, 3), np.uint8), format="webp", brightness=1.1)
