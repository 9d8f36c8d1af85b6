import numpy as np
import pytest
from av.video.frame import VideoFrame

from pipelines.media.validation.unwritten import Unwritten

WIDTH, HEIGHT = 256, 192


def picture(level: int = 100, pixel_format: str = "yuv420p") -> VideoFrame:
    grey = np.full((HEIGHT * 3 // 2, WIDTH), level, np.uint8)
    frame = VideoFrame.from_ndarray(grey, format="yuv420p")
    return frame if pixel_format == "yuv420p" else frame.reformat(format=pixel_format)


def cleared(frame: VideoFrame, rows: slice) -> VideoFrame:
    """As new memory is where a decoder wrote nothing: zero in all planes."""
    for plane in frame.planes:
        lines = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        part = len(lines) // 4
        lines[rows.start * part : rows.stop * part] = 0
    return frame


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le"])
def test_a_picture_that_is_whole_has_no_block_left(pixel_format: str) -> None:
    assert Unwritten().blocks(picture(pixel_format=pixel_format)) == 0


@pytest.mark.parametrize("level", [0, 16, 235, 255])
def test_black_and_white_are_pictures(level: int) -> None:
    frame = picture(level)
    for plane in frame.planes[1:]:
        np.frombuffer(plane, np.uint8)[:] = 128
    assert Unwritten().blocks(frame) == 0


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p", "yuv420p10le"])
def test_new_memory_that_nothing_was_decoded_into_is_found(pixel_format: str) -> None:
    blocks = Unwritten().blocks(cleared(picture(pixel_format=pixel_format), slice(3, 4)))
    assert blocks == WIDTH // 64


def test_the_last_block_of_a_picture_is_looked_at() -> None:
    frame = picture()
    for plane, size in zip(frame.planes, (16, 8, 8), strict=True):
        np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[plane.height - size :, plane.width - size :] = 0
    assert Unwritten().blocks(frame) == 1


def test_memory_of_frames_that_are_done_with_is_marked() -> None:
    memory = np.full((HEIGHT * 3 // 2, WIDTH), 100, np.uint8)
    unwritten = Unwritten()
    unwritten.blocks(VideoFrame.from_numpy_buffer(memory, format="yuv420p"))
    for _ in range(20):
        unwritten.blocks(picture())
    assert Unwritten().blocks(VideoFrame.from_numpy_buffer(memory, format="yuv420p")) == WIDTH // 64 * HEIGHT // 64


def test_a_frame_that_somebody_else_has_is_left_alone() -> None:
    frame = picture()
    unwritten = Unwritten()
    unwritten.blocks(frame)
    for _ in range(20):
        unwritten.blocks(picture())
    assert (frame.to_ndarray() == 100).all()


def test_where_zero_is_a_colour_nothing_is_told() -> None:
    assert Unwritten().blocks(cleared(picture(pixel_format="gbrp"), slice(0, 4))) == 0
