"""The figures against their formulas as numpy has them, on pictures that are shown whole and in part."""

import math

import cv2
import numpy as np
import pytest

from pipelines.media.images.analysis.measures import (
    Sample,
    cast_of,
    colour_of,
    contrast_of,
    exposure_of,
    noise_of,
    sample_of,
    sharpness_of,
)
from pipelines.media.images.srgb import LINEAR

PLACES = 1.1e-4  # figures are rounded to four


def picture(height: int, width: int, channels: int) -> np.ndarray:
    """Slopes with noise, from black to blown out; of four channels, with a hole."""
    random = np.random.default_rng(11)
    across, down = np.linspace(-40, 300, width), np.linspace(0, 60, height)
    slope = across[None, :, None] - down[:, None, None] * np.array([0.2, 0.6, 1.0, 0])[:channels]
    levels = np.clip(slope + random.normal(0, 6, slope.shape), 0, 255).astype(np.uint8)
    if channels == 4:
        levels[..., 3] = 255
        levels[height // 4 : height // 2, width // 3 :, 3] = 0
    return levels


@pytest.fixture(params=[1, 3, 4], ids=["grey", "whole", "part"])
def sample(request) -> Sample:
    return sample_of(picture(211, 307, request.param))


def test_exposure_is_of_the_pixels_shown(sample):
    rgb, lightness = sample.rgb[sample.shown], sample.lab[sample.shown][:, 0].astype(np.float64)
    black, blown = (rgb <= 2).all(axis=1), (rgb >= 253).all(axis=1)
    exposure = exposure_of(sample)
    assert exposure.luminance == pytest.approx((LINEAR[rgb] @ (0.2126, 0.7152, 0.0722)).mean(), abs=PLACES)
    assert exposure.lightness == pytest.approx(lightness.mean(), abs=PLACES)
    assert exposure.midtones == pytest.approx(lightness[~(black | blown)].mean(), abs=PLACES)
    assert exposure.shadows == pytest.approx(black.mean(), abs=PLACES)
    assert exposure.highlights == pytest.approx(blown.mean(), abs=PLACES)
    assert min(exposure.shadows, exposure.highlights) > 0


def test_contrast_is_of_the_pixels_shown(sample):
    luma = sample.grey[sample.shown] / 255
    contrast = contrast_of(sample)
    assert contrast.rms == pytest.approx(luma.std(), abs=PLACES)
    assert (contrast.low, contrast.high) == pytest.approx(tuple(np.percentile(luma, (1, 99))), abs=PLACES)


@pytest.mark.parametrize("levels", [[7], [0, 255], [3, 4, 9], list(range(0, 250, 5))])
def test_a_percentile_lies_between_levels(levels):
    contrast = contrast_of(sample_of(np.array(levels, np.uint8)[None, :, None]))
    expected = np.percentile(np.array(levels) / 255, (1, 99))
    assert (contrast.low, contrast.high) == pytest.approx(tuple(expected), abs=PLACES)


def test_colour_is_of_the_pixels_shown(sample):
    red, green, blue = sample.rgb[sample.shown].astype(np.float64).T
    red_green, yellow_blue = red - green, (red + green) / 2 - blue
    spread = math.hypot(red_green.std(), yellow_blue.std())
    middle = math.hypot(red_green.mean(), yellow_blue.mean())
    _, a, b = sample.lab[sample.shown].astype(np.float64).T
    colour = colour_of(sample)
    assert colour.colourfulness == pytest.approx(spread + 0.3 * middle, abs=PLACES)
    assert colour.chroma == pytest.approx(np.hypot(a, b).mean(), abs=PLACES)


def test_a_cast_is_what_the_brightest_twentieth_shares(sample):
    rgb, lab = sample.rgb[sample.shown], sample.lab[sample.shown].astype(np.float64)
    lab = lab[~((rgb <= 2).all(axis=1) | (rgb >= 253).all(axis=1))]
    mean = lab[:, 1:].mean(axis=0)
    bright = lab[lab[:, 0] >= np.quantile(lab[:, 0], 0.95)][:, 1:].mean(axis=0)
    length = float(np.hypot(*mean))
    cast = cast_of(sample)
    assert (cast.a, cast.b) == pytest.approx(tuple(mean), abs=PLACES)
    shared = max(0.0, min(length, float(bright @ mean) / length)) if length else 0.0
    assert cast.strength == pytest.approx(shared, abs=PLACES)


def test_sharpness_is_of_what_has_no_clear_pixel_beside_it(sample):
    grey = sample.grey / np.float32(255)
    inner = cv2.erode(sample.shown.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    laplacian = cv2.Laplacian(grey, cv2.CV_32F)[inner].astype(np.float64)
    across, down = (cv2.Sobel(grey, cv2.CV_32F, *order)[inner].astype(np.float64) for order in ((1, 0), (0, 1)))
    sharpness = sharpness_of(sample)
    assert sharpness.laplacian == pytest.approx(laplacian.var() * 1000, rel=1e-6, abs=PLACES)
    assert sharpness.tenengrad == pytest.approx((across**2 + down**2).mean() * 1000, rel=1e-6, abs=PLACES)


@pytest.mark.parametrize("size", [(640, 320), (211, 307), (97, 65), (40, 500), (64, 1), (1, 90), (3, 3)])
def test_noise_by_rows_of_blocks_is_that_of_the_whole_picture(size):
    grey = picture(*size, 1)
    noise = noise_of(grey)
    assert noise.sigma == pytest.approx(noise_at_once(grey[..., 0]), rel=1e-5, abs=PLACES)


def noise_at_once(grey: np.ndarray) -> float:
    """Immerkaer's estimate in the smoothest squares without texture, with nothing cut into parts."""
    height, width = grey.shape
    blocks = max(1, width // 32), max(1, height // 32)

    def means(values: np.ndarray) -> np.ndarray:
        return cv2.resize(values.astype(np.float32), blocks, interpolation=cv2.INTER_AREA).reshape(blocks[::-1])

    def rough(levels: np.ndarray) -> np.ndarray:
        kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
        return means(np.abs(cv2.filter2D(levels, cv2.CV_16S, kernel))) * (math.sqrt(math.pi / 2) / 6)

    whole = means((grey > 2) & (grey < 253)) > 0.95
    fine = rough(grey)
    smooth = fine <= np.quantile(fine[whole] if whole.any() else fine, 0.1)
    smooth = smooth & whole if whole.any() else smooth
    half = cv2.resize(grey, (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA)
    at_full, at_half = float(fine[smooth].mean()), float(rough(half)[smooth].mean())
    return math.sqrt(max(0.0, (1.1 * at_full**2 - at_half**2) / (1.1 - 0.25)))
