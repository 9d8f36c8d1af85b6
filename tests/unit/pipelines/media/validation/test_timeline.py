"""Times that don't make one timeline, written into real containers."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import media_factory as factory
import pytest
from av.packet import Packet
from damage import Change, rewritten

from pipelines.media.validation.finding_log import FindingLog
from pipelines.media.validation.report import Finding
from pipelines.media.validation.scan import scan
from pipelines.media.validation.timeline import check_timelines


def found(path: Path) -> dict[str, Finding]:
    log = FindingLog()
    check_timelines(scan(path, lambda _: None), path.stat().st_size, log)
    return {finding.code: finding for finding in log}


def later(after: int, ticks: int) -> Change:
    def change(number: int, packet: "Packet[Any]") -> bool:
        if number >= after:
            packet.pts, packet.dts = (packet.pts or 0) + ticks, (packet.dts or 0) + ticks
        return True

    return change


def without(numbers: Sequence[int]) -> Change:
    return lambda number, _: number not in numbers


PLAIN = {"preset": "veryfast", "x264-params": "bframes=0:keyint=10"}


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return factory.film(tmp_path_factory.mktemp("films") / "film.mkv", options=PLAIN)


@pytest.fixture(scope="module")
def tone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tones") / "tone.mkv"
    return factory.write_sound(path, [(0.0, factory.tone(4, -20))], codec="aac")


@pytest.mark.parametrize("name", ["film.mkv", "film.mp4", "film.ts", "film.avi", "film.flv", "film.nut"])
def test_a_film_that_is_whole_has_no_finding(tmp_path: Path, name: str) -> None:
    assert not found(factory.film(tmp_path / name, options=PLAIN))


@pytest.mark.parametrize("name", ["b.mkv", "b.mp4", "b.ts"])
def test_frames_that_are_reordered_are_no_finding(tmp_path: Path, name: str) -> None:
    assert not found(factory.film(tmp_path / name, options={"preset": "veryfast", "x264-params": "bframes=3"}))


def test_frames_at_changing_times_are_no_finding(tmp_path: Path) -> None:
    times = [0, 40, 90, 120, 220, 260, 300, 390, 400, 480, 600, 660]
    film = factory.write_video(
        tmp_path / "film.mkv", factory.moving_pictures(12), pts=times, time_base=Fraction(1, 1000), options=PLAIN
    )
    assert not found(film)


def test_a_frame_that_is_missing_is_a_gap(film: Path, tmp_path: Path) -> None:
    gap = found(rewritten(film, tmp_path / "gap.mkv", without([20])))["gap"]
    assert (gap.stream, gap.count) == (0, 1)
    assert gap.time_s == pytest.approx(0.76)


def test_frames_that_come_late_are_a_gap(film: Path, tmp_path: Path) -> None:
    assert found(rewritten(film, tmp_path / "late.mkv", later(20, 500)))["gap"].time_s == pytest.approx(0.76)


def test_time_that_is_missing_at_the_start_is_told_but_no_fault(film: Path, tmp_path: Path) -> None:
    findings = found(rewritten(film, tmp_path / "slow.mkv", later(1, 150)))
    assert findings["slow_start"].severity == "info"
    assert "gap" not in findings


def test_frames_that_follow_too_fast_overlap(film: Path, tmp_path: Path) -> None:
    def change(number: int, packet: "Packet[Any]") -> bool:
        if number == 20:
            packet.pts, packet.dts = (packet.pts or 0) - 30, (packet.dts or 0) - 30
        return True

    assert "overlap" in found(rewritten(film, tmp_path / "fast.mkv", change))


def test_frames_at_the_same_time_are_told(film: Path, tmp_path: Path) -> None:
    findings = found(rewritten(film, tmp_path / "twice.mkv", later(20, -40)))
    assert findings["times_repeated"].time_s == pytest.approx(0.76)
    assert "times_disordered" in findings


def test_a_packet_of_sound_that_is_missing_is_a_gap(tone: Path, tmp_path: Path) -> None:
    gap = found(rewritten(tone, tmp_path / "gap.mkv", without([50])))["gap"]
    assert gap.time_s == pytest.approx(49 * 1024 / 48_000, abs=0.03)


def test_sound_that_comes_late_is_a_gap(tone: Path, tmp_path: Path) -> None:
    assert "gap" in found(rewritten(tone, tmp_path / "late.mkv", later(50, 300)))


def test_a_film_that_begins_without_a_keyframe_is_told(film: Path, tmp_path: Path) -> None:
    assert "no_keyframe_first" in found(rewritten(film, tmp_path / "headless.mkv", without([0])))


def test_a_film_that_ends_before_its_header_says_is_told(tmp_path: Path) -> None:
    film = factory.film(tmp_path / "film.mkv", frames=100, options=PLAIN)
    film = rewritten(film, tmp_path / "film.mp4", lambda *_: True, options={"movflags": "faststart"})
    whole = film.read_bytes()
    film.write_bytes(whole[: len(whole) * 6 // 10])
    findings = found(film)
    assert {"ends_early", "index_beyond_end"} <= findings.keys()


def test_sound_that_is_much_shorter_than_the_picture_is_told(tmp_path: Path) -> None:
    sound = factory.write_sound(tmp_path / "sound.mkv", [(0.0, factory.tone(0.5, -20))], codec="aac")
    film = factory.film(tmp_path / "film.mkv", frames=60, options=PLAIN)
    both = factory.with_sound(film, sound, tmp_path / "both.mkv")
    assert found(both)["ends_differ"].severity == "info"
