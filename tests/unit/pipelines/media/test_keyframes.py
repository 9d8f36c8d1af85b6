"""Where keyframes are found, in every container."""

from pathlib import Path

import av
import media_factory as factory
import pytest

from pipelines.media.keyframes import Keyframes, find_keyframes
from pipelines.media.probing.probe import probe
from pipelines.media.progress import Progress, ProgressMeter
from pipelines.media.source import open_input

CONTAINERS = ["mkv", "mp4", "avi", "ts", "flv", "mov"]


def _found(source: Path, index: int = 0) -> Keyframes:
    return find_keyframes(source, probe(source), index, ProgressMeter(lambda _: None, None))


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_keyframes_are_found_within_a_few_frames(tmp_path: Path, suffix: str) -> None:
    clip = factory.ramp_with_keyframes(tmp_path / f"ramp.{suffix}")
    with open_input(clip) as container:
        stream = container.streams.video[0]
        start = stream.start_time or 0
        frames = [float((time - start) * stream.time_base * 25) for time in _found(clip).times]
    assert frames[:3] == pytest.approx([0, 40, 80], abs=3)
    assert len(frames) == (4 if suffix == "flv" else 3)  # FLV's mark of the end is called a keyframe


def test_a_film_with_an_index_isnt_read_whole(tmp_path: Path) -> None:
    found = _found(factory.ramp_with_keyframes(tmp_path / "ramp.mp4"))
    assert (found.scanned, found.end_s) == (False, None)


def test_without_an_index_all_packets_are_read_with_progress(tmp_path: Path) -> None:
    clip = factory.ramp_with_keyframes(tmp_path / "ramp.ts")
    seen: list[Progress] = []
    found = find_keyframes(clip, probe(clip), 0, ProgressMeter(seen.append, 4.8))
    with av.open(str(clip)) as container:
        start_s = container.start_time / 1e6
    assert found.scanned
    assert found.end_s == pytest.approx(start_s + 4.8)
    assert seen


def test_the_nearest_of_two_is_taken() -> None:
    found = Keyframes((0, 100, 250))
    assert [found.nearest(pts) for pts in (-5, 0, 49, 51, 174, 176, 999)] == [0, 0, 0, 1, 1, 2, 2]


def test_of_none_there_is_no_nearest() -> None:
    assert Keyframes(()).nearest(5) is None


def test_an_index_that_names_what_is_missing_tells_where_the_file_was_cut(tmp_path: Path) -> None:
    whole = factory.ramp_with_keyframes(tmp_path / "ramp.mp4")
    fast = factory.stream_of(whole, tmp_path / "fast.mp4", options={"movflags": "faststart"})
    cut = tmp_path / "cut.mp4"
    with av.open(str(fast)) as container:
        entries = container.streams.video[0].index_entries
        cut.write_bytes(fast.read_bytes()[: entries[70].pos])
    found = _found(cut)
    assert found.cut_off
    assert len(found.times) == 2
    assert found.end_s == pytest.approx(70 / 25, abs=0.1)
