from fractions import Fraction
from pathlib import Path

import media_factory as factory
import pytest

from pipelines.media.info import MediaInfo
from pipelines.media.probe import probe


def test_probe_tells_a_video(grey_ramp: Path) -> None:
    video = probe(grey_ramp).video
    assert video is not None
    assert (video.codec, video.width, video.height, video.frame_rate) == ("h264", 96, 64, "25")
    assert (video.bit_depth, video.hdr, video.sample_aspect_ratio) == (8, "sdr", "1:1")


def test_probe_tells_tracks_chapters_and_tags(rich_film: Path) -> None:
    info = probe(rich_film)
    assert [s.kind for s in info.streams] == ["video", "audio", "audio", "subtitle"]
    assert [s.language for s in info.streams] == [None, "eng", "ger", "fre"]
    assert [(c.start_s, c.end_s, c.title) for c in info.chapters] == [(0, 1.5, "One"), (1.5, 4, "Two")]
    assert info.tags["title"] == "A rich film"
    assert info.audio[0].default
    assert info.audio[1].title == "Kommentar"


def test_probe_travels_as_json(rich_film: Path) -> None:
    info = probe(rich_film)
    assert MediaInfo.model_validate_json(info.model_dump_json()) == info


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("clockwise", [0, 90, 180, 270])
def test_probe_tells_the_orientation(tmp_path: Path, clockwise: int, mirrored: bool) -> None:
    clip = factory.write_video(tmp_path / "turned.mp4", [factory.quadrants()], rotation=(-clockwise, mirrored))
    video = probe(clip).video
    assert video is not None
    # The factory mirrors after the turn, MediaInfo before it: a mirror turns the other way round.
    assert video.mirrored == mirrored
    assert video.rotation_deg == ((-clockwise) % 360 if mirrored else clockwise)
    shown = (64, 96) if clockwise % 180 else (96, 64)
    assert (video.display_width, video.display_height) == shown


def test_display_size_has_square_pixels(tmp_path: Path) -> None:
    clip = factory.grey_ramp(tmp_path / "wide.mp4", frames=3, aspect=Fraction(4, 3))
    video = probe(clip).video
    assert video is not None
    assert (video.display_width, video.display_height, video.sample_aspect_ratio) == (128, 64, "4:3")


def test_sound_alone_has_no_video(tmp_path: Path) -> None:
    info = probe(factory.write_sound(tmp_path / "clicks.wav", [(0, factory.clicks(1, (0.5,)))]))
    assert info.video is None
    assert [(a.channels, a.sample_rate_hz) for a in info.audio] == [(2, 48000)]
    assert info.duration_s == pytest.approx(1)


def test_a_missing_duration_is_read_from_the_packets(tmp_path: Path, grey_ramp: Path) -> None:
    data = bytearray(grey_ramp.read_bytes())
    place = data.index(b"\x44\x89\x88")  # Matroska's Duration, turned into a Void element of the same length
    data[place : place + 3] = b"\xec\x40\x08"
    (tmp_path / "live.mkv").write_bytes(data)
    assert probe(tmp_path / "live.mkv").duration_s == pytest.approx(2, abs=0.05)
