from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import media_factory as factory
import pytest

from pipelines.media.errors import SourceUnreadableError
from pipelines.media.plan import TranscodePlan
from pipelines.media.results import TranscodeResult

Transcode = Callable[..., tuple[Path, TranscodeResult]]
Look = Callable[..., TranscodePlan]
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


def hole(path: Path) -> tuple[float, float]:
    """When the frames before and behind the longest step between two are shown."""
    times = [float(time) for time in factory.frame_times(path)]
    return max(pairwise(times), key=lambda pair: pair[1] - pair[0])


def test_what_a_container_lost_is_told_with_its_time(tmp_path: Path, film: Path, looked_at: Look) -> None:
    damaged = cluster_lost(film, tmp_path / "lost.mkv")
    before_s, _ = hole(damaged)
    (told,) = looked_at(damaged, **LOST).warnings
    assert told == f"The source is damaged, at {before_s + 0.04:.1f} s: what was there is lost; look at the result."
    assert not looked_at(film, **LOST).warnings


def test_it_ends_the_work_where_damage_is_to(tmp_path: Path, film: Path, looked_at: Look) -> None:
    damaged = cluster_lost(film, tmp_path / "lost.mkv")
    with pytest.raises(SourceUnreadableError, match="what was there is lost; repair it") as told:
        looked_at(damaged, damage="fail", **LOST)
    assert told.value.fields["time_s"] == pytest.approx(hole(damaged)[0], abs=0.05)
    assert looked_at(film, damage="fail", **LOST).method == "chunk"


def test_it_is_told_where_libav_meets_it_when_it_opens_the_file(tmp_path: Path, film: Path, looked_at: Look) -> None:
    (told,) = looked_at(cluster_lost(film, tmp_path / "lost.mkv", number=1), **LOST).warnings
    assert "what was there is lost" in told


def test_only_what_is_wanted_counts(tmp_path: Path, film: Path, looked_at: Look) -> None:
    damaged = cluster_lost(film, tmp_path / "lost.mkv")
    before_s, behind_s = hole(damaged)
    for part in ({"end": before_s - 1}, {"start": behind_s + 1}):
        assert not looked_at(damaged, **part, **LOST).warnings
    for part in ({"end": before_s + 1}, {"start": behind_s - 0.2}):
        assert len(looked_at(damaged, **part, **LOST).warnings) == 1


def test_lost_packets_of_a_transport_stream_are_told(tmp_path: Path, looked_at: Look) -> None:
    data = factory.film(tmp_path / "whole.ts", frames=200, options={"preset": "ultrafast"}).read_bytes()
    assert not looked_at(tmp_path / "whole.ts", **LOST).warnings
    middle = len(data) // TS_PACKET_BYTES // 2 * TS_PACKET_BYTES
    (tmp_path / "lost.ts").write_bytes(data[:middle] + data[middle + 4 * TS_PACKET_BYTES :])
    assert any("what was there is lost" in told for told in looked_at(tmp_path / "lost.ts", **LOST).warnings)


def test_it_is_told_where_no_picture_is_encoded(tmp_path: Path, transcoded: Transcode) -> None:
    sound = factory.write_sound(tmp_path / "sound.mka", [(0, factory.tone(20, -20))], codec="flac")
    damaged = cluster_lost(sound, tmp_path / "lost.mka", number=2)
    _, result = transcoded(damaged, "audio-mp3")
    assert any("what was there is lost" in told for told in result.warnings)
    with pytest.raises(SourceUnreadableError, match="what was there is lost"):
        transcoded(damaged, "audio-mp3", damage="fail")
    assert not transcoded(sound, "audio-mp3")[1].warnings
