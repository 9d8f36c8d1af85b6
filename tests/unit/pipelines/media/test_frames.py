"""Frames of a film by their time."""

from pathlib import Path

import av
import pytest

from pipelines.media.frames import FrameReader


@pytest.mark.parametrize(("given", "threads"), [({}, 1), ({"threads": 2}, 2)])
def test_frames_are_decoded_by_as_many_threads_as_are_given(
    grey_ramp: Path, given: dict[str, int], threads: int
) -> None:
    with av.open(str(grey_ramp)) as container:
        stream = container.streams.video[0]
        assert FrameReader(container, stream, **given).at(0).pts == 0
        assert stream.codec_context.thread_count == threads


def test_a_keyframe_by_itself_is_followed_by_any_frame(grey_ramp: Path) -> None:
    with av.open(str(grey_ramp)) as container:
        stream = container.streams.video[0]
        reader = FrameReader(container, stream)
        keyframe = reader.keyframe_at(round(1 / stream.time_base))
        assert keyframe is not None
        assert keyframe.key_frame
        assert keyframe.pts == round(0.8 / stream.time_base)
        later = round(1.32 / stream.time_base)
        assert reader.at(later).pts == later
