"""Single keyframes are decoded rightly, in every container."""

from fractions import Fraction
from pathlib import Path

import av
import media_factory as factory
import pytest
from av.container import InputContainer

from pipelines.media.keyframe_seeking import KeyframeReader, find_keyframe
from pipelines.media.keyframes import find_keyframes
from pipelines.media.probing.probe import probe
from pipelines.media.progress import ProgressMeter
from pipelines.media.source import open_input


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "avi", "ts", "flv", "mov"])
def test_a_keyframe_is_decoded_by_itself(tmp_path: Path, suffix: str) -> None:
    clip = factory.ramp_with_keyframes(tmp_path / f"ramp.{suffix}")
    times = find_keyframes(clip, probe(clip), 0, ProgressMeter(lambda _: None, None)).times
    with open_input(clip) as container:
        reader = KeyframeReader(container, container.streams.video[0], times)
        shown = [reader.frame(place) for place in (2, 0, 1, 1)]
    levels = [round(float(frame.to_ndarray()[: factory.HEIGHT].mean())) for frame in shown if frame is not None]
    assert levels == [factory.ramp_level(index) for index in (80, 0, 40, 40)]


def test_a_keyframe_that_doesnt_decode_is_none(tmp_path: Path) -> None:
    clip = factory.with_noise(factory.ramp_with_keyframes(tmp_path / "ramp.mkv"), tmp_path / "noise.mkv", [0])
    with open_input(clip) as container:
        assert KeyframeReader(container, container.streams.video[0], (0,)).frame(0) is None


def test_a_time_without_a_keyframe_is_none(grey_ramp: Path) -> None:
    with open_input(grey_ramp) as container:
        assert KeyframeReader(container, container.streams.video[0], (130,)).frame(0) is None


def test_a_keyframe_of_another_size_is_another(grey_ramp: Path) -> None:
    with open_input(grey_ramp) as container:
        stream = container.streams.video[0]
        first = next(packet for packet in container.demux(stream) if packet.is_keyframe)
        assert first.pts is not None
        found = find_keyframe(container, stream, first.pts, size_bytes=first.size)
        assert found is not None
        assert next(found[1]).pts == first.pts
        assert find_keyframe(container, stream, first.pts, size_bytes=first.size + 1) is None


def test_a_keyframe_that_is_decoded_when_another_is_shown_isnt_that_one(tmp_path: Path) -> None:
    film = factory.film(tmp_path / "film.mov", codec="mjpeg", pixel_format="yuvj420p")
    swapped = tmp_path / "swapped.mov"  # shown in the order 1 0 3 2 5 4 …
    with av.open(str(film)) as container, av.open(str(swapped), "w") as output:
        copy = output.add_stream_from_template(container.streams.video[0], opaque=True)
        for number, packet in enumerate(packet for packet in container.demux() if packet.size):
            packet.stream, packet.time_base = copy, Fraction(1, 25)
            packet.pts, packet.dts = number ^ 1, number - 1
            output.mux(packet)
    with open_input(swapped) as container:
        stream = container.streams.video[0]
        keys = [packet.pts for packet in container.demux(stream) if packet.is_keyframe and packet.pts is not None]
        assert len(keys) > 30
        assert [_first_shown(container, pts) for pts in keys] == keys


def _first_shown(container: InputContainer, pts: int) -> int | None:
    """When the packet is shown that is found for a keyframe."""
    found = find_keyframe(container, container.streams.video[0], pts)
    return None if found is None else next(found[1]).pts
