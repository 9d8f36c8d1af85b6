import math

import av
import cv2
import numpy as np
import pytest
from av.filter import Graph

from pipelines.media.comparison.score import planes_of
from pipelines.media.comparison.xpsnr import ErrorMeter, psnr_db, xpsnr_db

FORMATS = {"yuv420p": 8, "yuv422p": 8, "yuv444p": 8, "yuv420p10le": 10, "yuv444p12le": 12}


def film(width: int, height: int, pixel_format: str, frames: int) -> list[tuple[av.VideoFrame, av.VideoFrame]]:
    """A picture that wanders, flat above, and the same with noise in all planes."""
    random = np.random.default_rng(3)
    coarse = random.integers(0, 255, (height // 8 + 12, width // 8 + 12)).astype(np.uint8)
    base = cv2.resize(coarse, None, fx=8, fy=8, interpolation=cv2.INTER_CUBIC)
    made = []
    for number in range(frames):
        picture = np.repeat(base[3 * number :, 5 * number :][:height, :width, None], 3, axis=2).astype(int)
        picture[: height // 3] = (100, 120, 90)
        noisy = picture + random.normal(0, 6, picture.shape)
        made.append(
            tuple(
                av.VideoFrame.from_ndarray(np.clip(each, 0, 255).astype(np.uint8), format="rgb24").reformat(
                    format=pixel_format
                )
                for each in (picture, noisy)
            )
        )
    return made


def told_by_libav(name: str, pairs: list[tuple[av.VideoFrame, av.VideoFrame]], rate: int) -> list[dict[str, str]]:
    first = pairs[0][0]
    graph = Graph()
    buffer = f"video_size={first.width}x{first.height}:pix_fmt={first.format.name}:time_base=1/{rate}:frame_rate={rate}"
    inputs = [graph.add("buffer", buffer) for _ in range(2)]
    meter, output = graph.add(name), graph.add("buffersink")
    for number, each in enumerate(inputs):
        each.link_to(meter, 0, number)
    meter.link_to(output)
    graph.configure()
    told = []
    for number, pair in enumerate(pairs):
        for each, frame in zip(inputs, pair, strict=True):
            frame.pts = number
            each.push(frame)
        told.append(output.pull().metadata)
    return told


@pytest.mark.parametrize(
    ("size", "pixel_format", "rate"),
    [
        ((640, 360), "yuv420p", 25),
        ((320, 240), "yuv420p", 60),  # smoothed, and motion by two frames
        ((161, 121), "yuv420p", 25),  # blocks of one pixel at the edge
        ((96, 64), "yuv444p", 25),
        ((1280, 720), "yuv422p", 30),
        ((640, 360), "yuv420p10le", 50),
        ((320, 180), "yuv444p12le", 25),
        ((2560, 1440), "yuv420p", 24),  # at half the size
        ((2560, 1440), "yuv420p10le", 60),
    ],
)
def test_xpsnr_is_that_of_libav(size: tuple[int, int], pixel_format: str, rate: int) -> None:
    depth = FORMATS[pixel_format]
    pairs = film(*size, pixel_format, 4)
    meter = ErrorMeter(*size, depth, rate)
    ours = []
    for original, coded in pairs:
        planes = planes_of(original)
        weighted = meter.measure(planes, planes_of(coded)).weighted
        ours.append(
            [xpsnr_db(math.sqrt(each), plane.size, depth) for each, plane in zip(weighted, planes, strict=True)]
        )
    theirs = [
        [float(told[f"lavfi.xpsnr.xpsnr.{name}"]) for name in "yuv"] for told in told_by_libav("xpsnr", pairs, rate)
    ]
    assert np.array(ours) == pytest.approx(np.array(theirs), abs=1e-5)  # libav has them as floats of 32 bits


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p12le"])
def test_squared_errors_are_those_of_libav(pixel_format: str) -> None:
    pairs = film(320, 180, pixel_format, 2)
    meter = ErrorMeter(320, 180, FORMATS[pixel_format], 25)
    ours = []
    for original, coded in pairs:
        planes = planes_of(original)
        squared = meter.measure(planes, planes_of(coded)).squared
        ours.append([error / plane.size for error, plane in zip(squared, planes, strict=True)])
    theirs = [[float(told[f"lavfi.psnr.mse.{name}"]) for name in "yuv"] for told in told_by_libav("psnr", pairs, 25)]
    assert np.array(ours) == pytest.approx(np.array(theirs), rel=1e-6, abs=1e-6)


def test_a_picture_too_small_for_blocks_is_weighted_evenly() -> None:
    original, coded = (np.full((8, 8), level, np.uint8) for level in (100, 103))
    errors = ErrorMeter(8, 8, 8, 25).measure([original], [coded])
    assert errors.squared == errors.weighted == (9.0 * 64,)


def test_equal_pictures_have_no_error() -> None:
    picture = np.random.default_rng(1).integers(0, 255, (64, 96)).astype(np.uint8)
    errors = ErrorMeter(96, 64, 8, 25).measure([picture], [picture.copy()])
    assert errors.squared == (0.0,)
    assert xpsnr_db(math.sqrt(errors.weighted[0]), picture.size, 8) == psnr_db(0.0, 8) == math.inf
