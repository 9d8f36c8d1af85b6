from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import media_factory as factory
import pytest

from pipelines.media.errors import SourceUnreadableError
from pipelines.media.plan import TranscodePlan
from pipelines.media.results import TranscodeResult
from pipelines.media.transcode import transcode_verified

Transcode = Callable[..., tuple[Path, TranscodeResult]]
Look = Callable[..., TranscodePlan]
CutUp = Callable[..., Any]
CLUSTER = b"\x1f\x43\xb6\x75"
TS_PACKET_BYTES = 188
LOST = {"chunk_s": 0.5, "preset": "ultrafast"}


@pytest.fixture(scope="module")
def film(made: Path) -> Path:
    """Matroska, twelve seconds in thirty clusters."""
    return factory.film(made / "reading.mkv", frames=300, options={"preset": "ultrafast", "crf": "10"})


def cluster_lost(film: Path, target: Path, number: int = 20) -> Path:
    """The name of a cluster is overwritten: a reader looks for the next one."""
    data = bytearray(film.read_bytes())
    places = [place for place in range(len(data)) if data.startswith(CLUSTER, place)]
    data[places[number] : places[number] + 4] = bytes(4)
    target.write_bytes(data)
    return target


def torn(whole: Path, target: Path) -> Path:
    """Packets of a transport stream are missing from its middle, with whole frames."""
    data = whole.read_bytes()
    middle = len(data) // TS_PACKET_BYTES // 2 * TS_PACKET_BYTES
    target.write_bytes(data[:middle] + data[middle + len(data) // 20 // TS_PACKET_BYTES * TS_PACKET_BYTES :])
    return target


def hole(path: Path) -> tuple[float, float]:
    """When the frames before and behind the longest step between two are shown."""
    times = [float(time) for time in factory.frame_times(path)]
    return max(pairwise(times), key=lambda pair: pair[1] - pair[0])


def test_what_a_container_lost_is_told_with_its_time(tmp_path: Path, film: Path, looked_at: Look) -> None:
    damaged = cluster_lost(film, tmp_path / "lost.mkv")
    before_s, _ = hole(damaged)
    plan = looked_at(damaged, **LOST)
    told = f"The source's container is damaged, at {before_s + 0.04:.1f} s: what was there is lost; look at the result."
    assert plan.warnings == (told,)
    assert plan.lost_at_s == pytest.approx([before_s + 0.04], abs=0.01)
    assert not looked_at(film, **LOST).warnings


def test_several_places_are_counted(tmp_path: Path, film: Path, looked_at: Look) -> None:
    damaged = cluster_lost(cluster_lost(film, tmp_path / "one.mkv"), tmp_path / "two.mkv", number=15)
    plan = looked_at(damaged, **LOST)
    assert f"is damaged in 2 places, the first at {plan.lost_at_s[0]:.1f} s" in plan.warnings[0]


def test_it_ends_the_work_where_damage_is_to(tmp_path: Path, film: Path, looked_at: Look) -> None:
    damaged = cluster_lost(film, tmp_path / "lost.mkv")
    with pytest.raises(SourceUnreadableError, match="container is damaged at") as told:
        looked_at(damaged, damage="fail", **LOST)
    assert told.value.fields["time_s"] == pytest.approx(hole(damaged)[0], abs=0.05)
    assert looked_at(film, damage="fail", **LOST).method == "chunk"


def test_it_is_told_where_libav_meets_it_when_it_opens_the_file(tmp_path: Path, looked_at: Look) -> None:
    picture = factory.grey_ramp(tmp_path / "ramp.mkv", frames=400, options={"preset": "ultrafast"})
    sound = factory.write_sound(tmp_path / "sound.mkv", [(0, factory.tone(16, -20))], codec="aac")
    both = factory.with_sound(picture, sound, tmp_path / "both.mkv")
    damaged = cluster_lost(both, tmp_path / "lost.mkv", number=1)
    plan = looked_at(damaged, **LOST)
    assert plan.warnings == ("The source's container is damaged: what was there is lost; look at the result.",)
    with pytest.raises(SourceUnreadableError, match="container is damaged;"):
        looked_at(damaged, damage="fail", **LOST)
    assert not looked_at(damaged, start=6, **LOST).warnings


def test_only_what_is_wanted_counts(tmp_path: Path, film: Path, looked_at: Look) -> None:
    damaged = cluster_lost(film, tmp_path / "lost.mkv")
    before_s, behind_s = hole(damaged)
    for part in ({"end": before_s - 1}, {"start": behind_s + 1}):
        assert not looked_at(damaged, **part, **LOST).warnings
    for part in ({"end": before_s + 1}, {"start": behind_s - 0.2}):
        assert len(looked_at(damaged, **part, **LOST).warnings) == 1


def test_a_file_that_ends_within_a_cluster_is_told_at_its_end(tmp_path: Path, film: Path, looked_at: Look) -> None:
    data = film.read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: -len(data) // 50])
    plan = looked_at(tmp_path / "cut.mkv", **LOST)
    assert len(plan.warnings) == 1
    assert plan.lost_at_s[0] == pytest.approx(12, abs=0.5)


@pytest.mark.parametrize("made_by", [factory.film, factory.grey_ramp])
def test_lost_packets_of_a_transport_stream_are_told(
    tmp_path: Path, looked_at: Look, made_by: Callable[..., Path]
) -> None:
    whole = made_by(tmp_path / "whole.ts", frames=200, options={"preset": "ultrafast"})
    assert not looked_at(whole, **LOST).warnings
    plan = looked_at(torn(whole, tmp_path / "lost.ts"), **LOST)
    assert len(plan.warnings) == 1
    assert 2 < plan.lost_at_s[0] < 6


def test_joined_transport_streams_lost_nothing(tmp_path: Path, looked_at: Look) -> None:
    whole = factory.film(tmp_path / "whole.ts", frames=200, options={"preset": "ultrafast"}).read_bytes()
    begin = len(whole) // TS_PACKET_BYTES // 2 * TS_PACKET_BYTES
    data = bytearray(whole)
    for place in range(begin, len(data), TS_PACKET_BYTES):  # counters go on from another number
        data[place + 3] = data[place + 3] & 0xF0 | (data[place + 3] + 5) & 0x0F
    (tmp_path / "joined.ts").write_bytes(data)
    assert not looked_at(tmp_path / "joined.ts", damage="fail", **LOST).warnings


def test_what_one_pass_reads_again_is_told_once(tmp_path: Path, looked_at: Look) -> None:
    whole = factory.film(tmp_path / "whole.ts", frames=200, options={"preset": "ultrafast"})
    plan = looked_at(torn(whole, tmp_path / "lost.ts"), **LOST).model_copy(update={"method": "serial"})
    result = transcode_verified(tmp_path / "lost.ts", tmp_path / "out.mp4", plan, lambda _: None)
    assert sum("what was there is lost" in told for told in result.warnings) == 1
    assert set(plan.lost_at_s) <= set(result.damaged_at_s)


def test_a_joined_film_tells_where(tmp_path: Path, film: Path, cut_up: CutUp) -> None:
    pieces = cut_up(cluster_lost(film, tmp_path / "lost.mkv"), chunk_s=3, preset="ultrafast")
    _, result = pieces.join()
    assert set(pieces.plan.lost_at_s) <= set(result.damaged_at_s)
    assert sum("what was there is lost" in told for told in result.warnings) == 1


def test_it_is_told_where_no_picture_is_encoded(tmp_path: Path, transcoded: Transcode) -> None:
    sound = factory.write_sound(tmp_path / "sound.mka", [(0, factory.tone(20, -20))], codec="flac")
    damaged = cluster_lost(sound, tmp_path / "lost.mka", number=2)
    _, result = transcoded(damaged, "audio-mp3")
    assert any("what was there is lost" in told for told in result.warnings)
    assert result.damaged_at_s
    with pytest.raises(SourceUnreadableError, match="container is damaged"):
        transcoded(damaged, "audio-mp3", damage="fail")
    assert not transcoded(sound, "audio-mp3")[1].warnings


def test_sound_that_was_written_to_a_pipe_is_whole(tmp_path: Path, transcoded: Transcode) -> None:
    sound = factory.write_sound(tmp_path / "sound.wav", [(0, factory.tone(3.3, -20))])
    data = bytearray(sound.read_bytes())
    place = data.index(b"data") + 4
    data[4:8] = data[place : place + 4] = b"\xff" * 4
    (tmp_path / "piped.wav").write_bytes(data)
    _, result = transcoded(tmp_path / "piped.wav", "audio-mp3", damage="fail")
    assert result.duration_s == pytest.approx(3.3, abs=0.1)


def test_a_gap_in_flac_is_a_loss(tmp_path: Path, transcoded: Transcode) -> None:
    sound = factory.write_sound(tmp_path / "sound.flac", [(0, factory.tone(10, -20))], codec="flac")
    data = bytearray(sound.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 30_000] = bytes(30_000)
    (tmp_path / "damaged.flac").write_bytes(data)
    _, result = transcoded(tmp_path / "damaged.flac", "audio-mp3")
    assert any("what was there is lost" in told for told in result.warnings)
    assert 3 < result.damaged_at_s[0] < 6
    with pytest.raises(SourceUnreadableError, match="damaged at"):
        transcoded(tmp_path / "damaged.flac", "audio-mp3", damage="fail")
    assert not transcoded(sound, "audio-mp3", damage="fail")[1].warnings


def test_what_a_decoder_says_is_nothing_that_a_container_lost(
    tmp_path: Path, looked_at: Look, transcoded: Transcode
) -> None:
    film = factory.film(tmp_path / "film.h264", frames=100, options={"preset": "ultrafast"})
    data = bytearray(film.read_bytes())
    for place in range(len(data) // 2, len(data) // 2 + 30_000, 1000):
        data[place] ^= 0xFF
    (tmp_path / "damaged.h264").write_bytes(data)
    assert not looked_at(tmp_path / "damaged.h264", **LOST).lost_at_s
    _, result = transcoded(tmp_path / "damaged.h264", preset="ultrafast")
    assert result.decode_errors
    assert not any("container" in told for told in result.warnings), result.warnings
