from fractions import Fraction

import cv2
import numpy as np
import pytest
from av.filter import Graph
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from numpy.typing import NDArray
from unit.pipelines.media.quality.pictures import HEIGHT, WIDTH, textured, with_chroma

from pipelines.media.quality.measures import banding, blockiness, detail, measure, spatial_information


def luma(number: int = 0) -> NDArray[np.float32]:
    return textured(number).astype(np.float32)


def siti(*pictures: NDArray[np.uint8]) -> dict[str, float]:
    """What libavfilter's siti makes of the last of some pictures; it takes luma of full range as it is."""
    graph = Graph()
    source = graph.add_buffer(width=WIDTH, height=HEIGHT, format=VideoFormat("yuvj420p"), time_base=Fraction(1, 25))
    graph.link_nodes(source, graph.add("siti"), graph.add("buffersink")).configure()
    told: dict[str, str] = {}
    for number, picture in enumerate(pictures):
        frame = VideoFrame.from_ndarray(with_chroma(picture), format="yuvj420p")
        frame.pts, frame.time_base = number, Fraction(1, 25)
        graph.push(frame)
        told = graph.pull().metadata
    return {name.rsplit(".", 1)[1]: float(value) for name, value in told.items()}


def test_spatial_and_temporal_information_are_those_of_libavfilter() -> None:
    expected = siti(textured(0), textured(1))
    measures = measure(luma(1), luma(0))
    assert (measures.si, measures.ti) == pytest.approx((expected["si"], expected["ti"]), rel=0.01)


def test_a_picture_without_one_before_has_no_temporal_information() -> None:
    assert measure(luma(), None).ti is None


def test_a_picture_of_another_size_before_gives_no_temporal_information() -> None:
    assert measure(luma(), luma()[:-2]).ti is None


def test_blurring_raises_blur() -> None:
    sharp, blurred = measure(luma(), None).blur, measure(cv2.GaussianBlur(luma(), (0, 0), 3), None).blur
    assert sharp is not None
    assert blurred is not None
    assert blurred > sharp + 0.1


def test_a_flat_picture_has_neither_blur_nor_detail() -> None:
    measures = measure(np.full((HEIGHT, WIDTH), 90, np.float32), None)
    assert (measures.si, measures.blur, measures.detail, measures.luma) == (0, None, None, 90)


def test_blockiness_is_one_without_a_grid() -> None:
    assert blockiness(luma()) == pytest.approx(1, abs=0.08)


def test_steps_on_the_grid_raise_blockiness() -> None:
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH] // 8
    assert blockiness(luma() + (rows + columns) % 2 * 20) > 1.3


def test_steps_beside_the_grid_do_not_raise_blockiness() -> None:
    rows, columns = (np.mgrid[0:HEIGHT, 0:WIDTH] + 3) // 8
    assert blockiness(luma() + (rows + columns) % 2 * 20) < 1.08


def test_noise_that_was_added_is_found() -> None:
    flat = np.full((HEIGHT, WIDTH), 120, np.float32) + np.random.default_rng(1).normal(0, 6, (HEIGHT, WIDTH))
    assert measure(flat.astype(np.float32), None).noise == pytest.approx(6, rel=0.25)


def test_a_slope_in_whole_levels_is_banded() -> None:
    assert banding(np.tile((np.arange(WIDTH) // 12).astype(np.uint8), (HEIGHT, 1))) == 1


def test_a_dithered_slope_is_not_banded() -> None:
    slope = np.arange(WIDTH) / 12 + np.random.default_rng(2).normal(0, 0.7, (HEIGHT, WIDTH))
    assert banding(np.clip(np.rint(slope), 0, 255).astype(np.uint8)) < 0.02


def test_a_picture_with_detail_to_the_last_pixel_has_all() -> None:
    assert detail(luma()) == 1


@pytest.mark.parametrize("share", [0.5, 0.33])
def test_a_picture_that_was_scaled_up_has_the_detail_of_the_small_one(share: float) -> None:
    small = textured(0, 768, 512).astype(np.float32)
    small = cv2.resize(small, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    found = detail(cv2.resize(small, (768, 512), interpolation=cv2.INTER_CUBIC))
    assert found == pytest.approx(share, rel=0.35)


def test_a_picture_too_small_for_a_spectrum_has_no_detail_to_tell() -> None:
    assert detail(luma()[:60, :60]) is None


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (17, 9)])
def test_the_smallest_pictures_are_measured(shape: tuple[int, int]) -> None:
    assert measure(luma()[: shape[0], : shape[1]], None).luma > 0


def test_spatial_information_of_two_lines_is_none() -> None:
    assert spatial_information(luma()[:2]) == 0
