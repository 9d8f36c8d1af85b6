from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import media_factory as factory
import pytest

from pipelines.media.errors import SourceError
from pipelines.media.packet_index import read_index
from pipelines.media.tracks import Window

_B_FRAMES = {"preset": "veryfast", "x264-params": "open-gop=1:bframes=3:b-adapt=0:keyint=10:min-keyint=10:scenecut=0"}


def test_every_frame_has_its_time(tmp_path: Path) -> None:
    index, read = read_index(factory.film(tmp_path / "film.mp4", options=_B_FRAMES, time_base=Fraction(1, 25)), 0)
    assert [pts * index.time_base for pts in index.times] == [Fraction(i, 25) for i in range(40)]
    assert read.shown_s == pytest.approx(1.6)
    assert index.doubtful is None
    assert not any(index.table.hidden)


def test_packets_are_in_the_order_of_decoding(tmp_path: Path) -> None:
    index, _ = read_index(factory.film(tmp_path / "film.mkv", options=_B_FRAMES), 0)
    order = [pts // 40 for pts in index.shown.tolist()]
    assert order != sorted(order)
    assert order[0] == 0
    assert [order[place] for place in index.key_places] == [0, 10, 20, 30]


def test_the_keyframe_before_is_told_by_when_it_is_shown(tmp_path: Path) -> None:
    index, _ = read_index(factory.film(tmp_path / "film.mkv", options=_B_FRAMES), 0)
    assert [index.keyframe_before(frame * 40) // 40 for frame in (0, 9, 10, 11, 39)] == [0, 0, 10, 10, 30]


def test_before_every_keyframe_is_the_first_packet(tmp_path: Path) -> None:
    whole = factory.film(tmp_path / "whole.mkv", options=_B_FRAMES)
    index, _ = read_index(factory.part_from_keyframe(whole, tmp_path / "part.mkv", 1), 0)
    first = index.shown[0]
    assert index.times[0] < first
    assert index.keyframe_before(int(index.times[0])) == first
    assert index.leading(index.times) == int((index.times < first).sum()) > 0


@pytest.mark.parametrize(
    ("window", "frames"),
    [(Window(), 40), (Window(80, 200), 3), (Window(81), 37), (Window(None, 81), 3), (Window(5000, 9000), 0)],
)
def test_a_window_holds_what_is_shown_from_its_begin_up_to_its_end(tmp_path: Path, window: Window, frames: int) -> None:
    index, _ = read_index(factory.film(tmp_path / "film.mkv", options=_B_FRAMES), 0)
    assert index.within(window).tolist() == [pts for pts in index.times.tolist() if window.holds(pts)]
    assert len(index.within(window)) == frames


def test_other_packets_are_told_apart(tmp_path: Path) -> None:
    film = factory.film(tmp_path / "film.mkv", options=_B_FRAMES)
    index, _ = read_index(film, 0)
    packets = factory.picture_packets(film)
    assert index.is_at(10, packets[10:13])
    assert index.is_at(39, packets[39:])
    assert not index.is_at(10, packets[11:14])
    assert not index.is_at(10, [packets[10], packets[12]])
    assert not index.is_at(39, [*packets[39:], packets[0]])


def test_frames_that_an_edit_list_takes_out_have_no_time(tmp_path: Path) -> None:
    whole = factory.film(tmp_path / "whole.mkv", options=_B_FRAMES)
    index, _ = read_index(factory.part_from_keyframe(whole, tmp_path / "part.mp4", 1), 0)
    assert any(index.table.hidden)
    assert len(index.times) == len(index.table) - sum(index.table.hidden)


def test_only_one_stream_is_noted_but_the_end_is_that_of_all(tmp_path: Path) -> None:
    index, read = read_index(factory.rich_film(tmp_path / "rich.mkv", video_start_s=2), 0)
    assert len(index.times) == 50
    assert read.shown_s == pytest.approx(4, abs=0.03)


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("reordered.avi", "mpeg4", {"bf": "2"}),
        ("reordered264.avi", "libx264", _B_FRAMES),
        ("raw.m2v", "mpeg2video", {"bf": "2"}),
        ("film.vob", "mpeg2video", {"bf": "2"}),
        ("raw.h264", "libx264", None),
    ],
)
def test_reordered_frames_that_dont_tell_when_they_are_shown_are_doubtful(
    tmp_path: Path, name: str, codec: str, options: dict[str, str] | None
) -> None:
    index, _ = read_index(factory.film(tmp_path / name, codec=codec, options=options), 0)
    assert index.doubtful == "some of its frames have no times"


def test_frames_of_avi_that_arent_reordered_have_times(tmp_path: Path) -> None:
    index, _ = read_index(factory.film(tmp_path / "film.avi", codec="mpeg4", options={"b": "2000000"}), 0)
    assert index.doubtful is None
    assert len(index.times) == 40


def test_frames_at_the_same_time_are_doubtful(tmp_path: Path) -> None:
    path = _remuxed(factory.film(tmp_path / "film.mkv", codec="mjpeg", pixel_format="yuvj420p"), range(0, 400, 10))
    assert read_index(path, 0)[0].doubtful is None
    path = _remuxed(path, [*range(0, 390, 10), 380])
    assert read_index(path, 0)[0].doubtful == "some of its frames have the same time"


def _remuxed(film: Path, times: Sequence[int]) -> Path:
    """A copy whose packets have other ``times``, in milliseconds."""
    target = film.with_name(f"{film.stem}-again.mkv")
    with av.open(str(film)) as container, av.open(str(target), "w") as output:
        stream = output.add_stream_from_template(container.streams.video[0], opaque=True)
        packets = [packet for packet in container.demux() if packet.size]
        for packet, pts in zip(packets, times, strict=True):
            packet.stream, packet.pts, packet.dts = stream, pts, pts
            output.mux(packet)
    return target


def test_a_film_that_doesnt_begin_with_a_keyframe_is_doubtful(tmp_path: Path) -> None:
    film = factory.film(tmp_path / "film.nut", codec="mpeg4", options={"sc_threshold": "1000000000"})
    index, _ = read_index(factory.without_packet(film, tmp_path / "headless.nut", 0), 0)
    assert index.doubtful == "it doesn't start with a keyframe"


def test_a_missing_source_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        read_index(tmp_path / "none.mkv", 0)
