from collections.abc import Sequence
from pathlib import Path
from typing import Any

import media_factory as factory
import pytest
from av.audio.frame import AudioFrame
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from damage import digest

from pipelines.media.errors import SourceUnreadableError
from pipelines.media.parts import Part
from pipelines.media.passes import Fault, run_pass
from pipelines.media.validation.cutting import cut, entrances
from pipelines.media.validation.decoding import check_part
from pipelines.media.validation.scan import scan

OPEN = {"preset": "veryfast", "x264-params": "open-gop=1:bframes=3:b-adapt=0:keyint=10:min-keyint=10:scenecut=0"}
CLOSED = {"preset": "veryfast", "x264-params": "open-gop=0:bframes=3:b-adapt=0:keyint=10:min-keyint=10:scenecut=0"}
OPEN_265 = {"preset": "ultrafast", "x265-params": "log-level=none:open-gop=1:keyint=10:min-keyint=10:bframes=3:pools=1"}


class Kept:
    """The listener that keeps all it is shown."""

    def __init__(self) -> None:
        self.opened_times = 0
        self.packets: list[tuple[int, int | None]] = []
        self.frames: list[tuple[int, int | None, bytes]] = []
        self.faults: list[Fault] = []

    def opened(self, container: InputContainer) -> None:
        self.opened_times += 1

    def packet(self, packet: "Packet[Any]") -> None:
        self.packets.append((packet.stream_index, packet.pts))

    def picture(self, stream: int, frame: VideoFrame) -> None:
        self.frames.append((stream, frame.pts, digest(frame)))

    def sound(self, stream: int, frame: AudioFrame) -> None:
        self.frames.append((stream, frame.pts, digest(frame)))

    def fault(self, fault: Fault) -> None:
        self.faults.append(fault)


def passed(source: Path, part: Part, threads: int = 1) -> Kept:
    kept = Kept()
    assert run_pass(source, part, [kept], threads, lambda _: None) is None
    return kept


def parts_of(source: Path, count: int) -> Sequence[Part]:
    (picture,) = [stream for stream in scan(source, lambda _: None).streams if stream.kind == "video"]
    parts = cut(picture, entrances(picture), count)
    assert len(parts) == count
    return parts


FILMS: dict[str, dict[str, object]] = {
    "open.mkv": {"options": OPEN},
    "open.mp4": {"options": OPEN},
    "open.ts": {"options": OPEN},
    "closed.mp4": {"options": CLOSED},
    "open265.mkv": {"codec": "libx265", "options": OPEN_265},
    "mpeg2.mkv": {"codec": "mpeg2video", "options": {"bf": "2", "b": "900000"}},
    "mpeg2.ts": {"codec": "mpeg2video", "options": {"bf": "2", "b": "900000"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}},
}


@pytest.fixture(scope="module", params=FILMS)
def film(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return factory.film(tmp_path_factory.mktemp("films") / request.param, **FILMS[request.param])


def test_parts_show_each_frame_once_and_as_the_whole_does(film: Path) -> None:
    whole = passed(film, Part(streams=(0,)))
    parts = [passed(film, part) for part in parts_of(film, 4)]
    assert [frame for part in parts for frame in part.frames] == whole.frames
    assert len(whole.frames) == 40


def test_parts_show_each_packet_once(film: Path) -> None:
    whole = passed(film, Part(streams=(0,)))
    parts = [passed(film, part) for part in parts_of(film, 4)]
    packets = [packet for part in parts for packet in part.packets]
    assert sorted(packets, key=str) == sorted(whole.packets, key=str)


def test_nothing_is_wrong_with_parts_of_a_whole_film(film: Path) -> None:
    checked = [check_part(film, part, 1, lambda _: None) for part in parts_of(film, 4)]
    assert not [finding for part in checked for finding in part.findings]


def test_several_threads_show_the_same(film: Path) -> None:
    whole = Part(streams=(0,))
    assert passed(film, whole, threads=2).frames == passed(film, whole).frames


def test_pictures_that_lead_a_keyframe_go_with_the_part_before(tmp_path: Path) -> None:
    film = factory.film(tmp_path / "film.mkv", options=OPEN)
    first, second, *_ = parts_of(film, 4)
    assert first.leading
    packets = passed(film, Part(streams=(0,))).packets
    border = packets.index((0, second.key_pts))
    leading = [pts for _, pts in packets[border + 1 :] if pts is not None and pts < second.key_pts]
    assert leading
    assert {pts for _, pts, _ in passed(film, first).frames} >= set(leading)
    assert not {pts for _, pts, _ in passed(film, second).frames} & set(leading)


def test_a_fault_is_shown_by_one_part(tmp_path: Path) -> None:
    film = factory.film(tmp_path / "film.mkv", options=CLOSED)
    parts = parts_of(film, 4)
    spoilt = factory.with_noise(film, tmp_path / "spoilt.mkv", [14])
    faults = [len(passed(spoilt, part).faults) for part in parts]
    assert [bool(count) for count in faults] == [False, True, False, False]


def test_a_listener_is_told_once_that_a_source_is_open(film: Path) -> None:
    assert [passed(film, part).opened_times for part in parts_of(film, 2)] == [1, 1]


def test_all_streams_are_shown(rich_film: Path) -> None:
    kept = passed(rich_film, Part(streams=(0, 1, 2, 3)))
    assert {stream for stream, _, _ in kept.frames} == {0, 1, 2}
    assert {stream for stream, _ in kept.packets} == {0, 1, 2, 3}


def test_only_what_is_asked_for_is_shown(rich_film: Path) -> None:
    kept = passed(rich_film, Part(streams=(1,)))
    assert {stream for stream, _, _ in kept.frames} == {1}


def test_what_counts_can_begin_behind_the_keyframe(tmp_path: Path) -> None:
    film = factory.film(tmp_path / "film.mkv", options=CLOSED)
    second = parts_of(film, 4)[1]
    assert second.key_pts is not None
    late = second.model_copy(update={"begin_pts": second.key_pts + 80})
    assert next(pts for _, pts, _ in passed(film, late).frames) == second.key_pts + 80


def test_a_source_with_another_content_is_told(tmp_path: Path) -> None:
    film = factory.film(tmp_path / "film.mkv", options=CLOSED)
    second = parts_of(film, 4)[1]
    other = factory.film(tmp_path / "other.mkv", codec="mpeg4", options={"b": "2000000"})
    with pytest.raises(SourceUnreadableError):
        passed(other, second)
