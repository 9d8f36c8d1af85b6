"""What is done to pixels when alpha goes."""

import numpy as np
import pytest

from pipelines.media.images.scaling import flattened


@pytest.mark.parametrize("height", [1, 64, 65, 300])
def test_what_shows_through_is_mixed_by_alpha_and_rounded_in_every_row(height):
    picture = np.random.default_rng(1).integers(0, 256, (height, 40, 4)).astype(np.uint8)
    alpha = picture[..., 3:] / 255
    expected = picture[..., :3] * alpha + np.array((0, 17, 200)) * (1 - alpha)
    made = flattened(picture, (0, 17, 200))
    assert made.dtype == np.uint8
    assert np.abs(made - expected).max() <= 0.5 + 1e-4
