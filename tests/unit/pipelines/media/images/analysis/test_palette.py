"""The palette against k-means written out."""

import numpy as np
import pytest

from pipelines.media.images.analysis.palette import palette
from pipelines.media.images.srgb import lab_of


@pytest.mark.parametrize("count", [1, 2, 6, 16])
def test_colours_are_the_means_of_what_is_nearest_to_them(count):
    colours = np.random.default_rng(2).integers(0, 256, (4000, 3)).astype(np.uint8)
    swatches = palette(colours, count)
    assert [(each.hex, each.share) for each in swatches] == written_out(colours, count)


def written_out(colours: np.ndarray, count: int) -> list[tuple[str, float]]:
    """Cell by cell and group by group; of random colours, no two groups look alike."""
    _, cells, held = np.unique(colours >> 3, axis=0, return_inverse=True, return_counts=True)
    means = np.stack([colours[cells == cell].mean(axis=0) for cell in range(len(held))])
    places = lab_of((means + 0.5).astype(np.uint8)[None])[0].astype(np.float64)

    def apart(centres: np.ndarray) -> np.ndarray:
        return ((places[:, None] - centres) ** 2).sum(axis=2)

    chosen = [int(held.argmax())]
    while len(chosen) < count:
        chosen.append(int((apart(places[chosen]).min(axis=1) * held).argmax()))
    groups = apart(places[chosen]).argmin(axis=1)
    for _ in range(24):
        centres = [np.average(places[groups == each], axis=0, weights=held[groups == each]) for each in range(count)]
        groups = apart(np.stack(centres)).argmin(axis=1)
    found = [
        (held[groups == each].sum(), np.average(means[groups == each], axis=0, weights=held[groups == each]))
        for each in range(count)
    ]
    found.sort(key=lambda each: -each[0])
    return [
        ("#" + bytes((mean + 0.5).astype(np.uint8)).hex(), round(float(share) / len(colours), 4))
        for share, mean in found
    ]
