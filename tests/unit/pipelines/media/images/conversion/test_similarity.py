"""SSIMULACRA2 of pictures with known content, and of pairs that the PyPI package ssimulacra2 0.3.0 measured."""

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from pipelines.media.images.conversion.similarity import Original, likeness


def textured(width: int = 640, height: int = 480) -> np.ndarray:
    """Colours and detail everywhere, the same in every run."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    planes = [127 + 70 * np.sin(x / (31 + 9 * n) + n) * np.cos(y / (23 + 5 * n)) for n in range(3)]
    noise = np.random.default_rng(7).normal(0, 12, (height, width, 1))
    return np.clip(np.stack(planes, axis=-1) + noise, 0, 255).astype(np.uint8)


def as_jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_picture_is_like_itself(channels):
    picture = np.random.default_rng(1).integers(0, 255, (160, 200, channels), np.uint8)
    assert likeness(picture, picture) == 100


def test_it_falls_with_the_quality():
    picture = textured()
    original = Original(picture)
    scores = [original.likeness(as_jpeg(picture, quality)) for quality in (95, 80, 60, 40, 20, 5)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 88
    assert scores[-1] < 40


# Measured once with ssimulacra2 0.3.0 from PyPI, which takes what is above and below the picture as black.
@pytest.mark.parametrize(("quality", "reference"), [(95, 90.62), (80, 70.19), (50, 46.34), (20, 9.07)])
def test_it_is_near_the_reference(quality, reference):
    picture = textured()
    assert likeness(picture, as_jpeg(picture, quality)) == pytest.approx(reference, abs=2 if reference < 40 else 1)


def test_blur_is_found():
    picture = textured()
    blurred = np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(2)))
    assert likeness(picture, blurred) < 40


def test_a_wrong_alpha_is_found():
    picture = np.dstack([textured(), np.full((480, 640), 255, np.uint8)])
    clear = picture.copy()
    clear[100:200, 100:200, 3] = 0
    assert likeness(picture, clear) < 60


def test_hidden_colours_do_not_count():
    picture = np.dstack([textured(), np.zeros((480, 640), np.uint8)])
    other = picture.copy()
    other[..., :3] = 0
    assert likeness(picture, other) == pytest.approx(100, abs=0.01)


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (127, 129)])
def test_small_pictures_are_measured(size):
    picture = np.random.default_rng(1).integers(0, 255, (*size, 3), np.uint8)
    assert likeness(picture, picture) == 100
    assert likeness(picture, 255 - picture) < 50
