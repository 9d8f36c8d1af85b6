"""The probe operation with the real child: planned, done and joined."""

from collections.abc import Callable
from pathlib import Path

import av
import media_factory as factory
import numpy as np
import pytest
from av.stream import Disposition
from unit.pipelines.jobs.operating import bench, done, planned

from cluster.child import MediaChild
from cluster.errors import ChildFailedError, StorageError
from pipelines.jobs.operations.probe import OPERATION
from pipelines.media.probing.probe_result import ProbeResult


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds with two sound tracks and chapters, and a subtitle that stays for a third."""
    return factory.rich_film(tmp_path_factory.mktemp("films") / "film.mkv", 2)


def result_of(source: Path, child: MediaChild, **params: bool) -> ProbeResult:
    result = done(OPERATION, source, child, **params).result
    assert isinstance(result, ProbeResult)
    return result


def test_headers_alone_are_one_short_unit(film: Path, child: MediaChild) -> None:
    (unit,) = planned(OPERATION, film, child).units
    assert unit.needs.interactive
    assert unit.needs.cpus == 0


def test_headers_alone_are_told_without_more(film: Path, child: MediaChild) -> None:
    result = result_of(film, child)
    assert result.duration_s == pytest.approx(3, abs=0.1)
    assert (result.packets, result.picture, result.sound) == (None, None, None)


def test_packets_are_told_when_asked_for(film: Path, child: MediaChild) -> None:
    result = result_of(film, child, packets=True)
    assert result.packets is not None
    assert result.packets.video[0].packets == 50
    assert (result.picture, result.sound) == (None, None)


def test_deep_tells_it_all_in_units_of_their_own(film: Path, child: MediaChild) -> None:
    plan = planned(OPERATION, film, child, deep=True)
    assert {unit.name for unit in plan.units} == {"packets", "picture", "sound"}
    assert plan.explain["estimated_seconds"] == pytest.approx(sum(unit.needs.seconds for unit in plan.units))
    result = result_of(film, child, deep=True)
    assert result.packets is not None
    assert result.picture is not None
    assert result.picture.pictures == 50
    assert result.sound is not None
    assert [track.index for track in result.sound.tracks] == [1, 2]


def test_a_long_film_takes_cpus(tmp_path: Path, child: MediaChild) -> None:
    silence = factory.write_sound(tmp_path / "long.flac", [(0, np.zeros((2, 48_000 * 300), np.float32))], codec="flac")
    needs = {unit.name: unit.needs for unit in planned(OPERATION, silence, child, deep=True).units}
    assert needs.keys() == {"packets", "sound"}
    assert (needs["packets"].cpus, needs["sound"].cpus) == (0, 1)
    assert needs["sound"].seconds == pytest.approx(2.2, abs=0.1)


def test_sound_alone_has_no_picture_to_look_at(tmp_path: Path, child: MediaChild) -> None:
    sound = factory.write_sound(tmp_path / "sound.flac", [(0, factory.tone(1, -20))], codec="flac")
    result = result_of(sound, child, deep=True)
    assert result.picture is None
    assert result.sound is not None
    assert result.sound.tracks[0].integrated_lufs == pytest.approx(-20, abs=0.2)


def test_what_is_missing_is_a_warning_and_the_rest_is_told(tmp_path: Path, film: Path, child: MediaChild) -> None:
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(film.read_bytes()[: film.stat().st_size // 3])
    outcome = done(OPERATION, cut, child, deep=True)
    assert any("was cut off" in warning for warning in outcome.warnings)
    result = outcome.result
    assert isinstance(result, ProbeResult)
    assert result.sound is not None
    assert result.packets is not None


def _one_frame(folder: Path) -> Path:
    return factory.film(folder / "one.mkv", 1)


def _no_rate(folder: Path) -> Path:
    """AVI whose header says that it has no frames a second."""
    film = factory.film(folder / "no-rate.avi", 10, codec="mpeg4", options={"qmax": "3"})
    data = bytearray(film.read_bytes())
    place = data.index(b"strh") + 8 + 24  # dwRate, of the stream header
    data[place : place + 4] = bytes(4)
    film.write_bytes(data)
    return film


def _no_duration(folder: Path) -> Path:
    data = bytearray(factory.film(folder / "live.mkv", 40).read_bytes())
    place = data.index(b"\x44\x89\x88")  # Matroska's Duration becomes a Void element
    data[place : place + 3] = b"\xec\x40\x08"
    (folder / "live.mkv").write_bytes(data)
    return folder / "live.mkv"


def _times_anew(folder: Path) -> Path:
    part = factory.film(folder / "part.ts", 40, options={"qp": "20"})
    (folder / "twice.ts").write_bytes(part.read_bytes() * 2)
    return folder / "twice.ts"


def _cover_alone(folder: Path) -> Path:
    """Sound with a cover: a picture that isn't the film's."""
    sound = factory.write_sound(folder / "sound.mp3", [(0, factory.tone(1, -20))], codec="libmp3lame")
    picture = factory.film(folder / "cover.avi", 1, codec="mjpeg", options={"q": "3"}, pixel_format="yuvj420p")
    with av.open(str(sound)) as heard, av.open(str(picture)) as seen, av.open(str(folder / "both.mp3"), "w") as output:
        audio = output.add_stream_from_template(heard.streams.audio[0])
        cover = output.add_stream_from_template(seen.streams.video[0])
        cover.disposition = Disposition.attached_pic
        for source, stream in ((seen, cover), (heard, audio)):
            for packet in source.demux():
                if packet.size:
                    packet.stream = stream
                    output.mux(packet)
    return folder / "both.mp3"


def _noise(folder: Path) -> Path:
    return factory.with_noise(factory.film(folder / "film.mkv", 20), folder / "noise.mkv", range(20))


def _cut_off(folder: Path) -> Path:
    film = factory.rich_film(folder / "rich.mkv", 2)
    (folder / "cut.mkv").write_bytes(film.read_bytes()[: film.stat().st_size // 3])
    return folder / "cut.mkv"


ODD = {
    _one_frame: ("packets", "picture"),
    _no_rate: ("packets", "picture"),
    _no_duration: ("packets", "picture"),
    _times_anew: ("packets", "picture"),
    _cover_alone: ("packets", "sound"),
    _noise: ("packets", "picture"),
    _cut_off: ("packets", "picture", "sound"),
}


@pytest.mark.parametrize(("make", "parts"), ODD.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_odd_files_are_told_as_far_as_they_go(
    make: Callable[[Path], Path], parts: tuple[str, ...], tmp_path: Path, child: MediaChild
) -> None:
    result = result_of(make(tmp_path), child, deep=True)
    assert tuple(name for name in ("packets", "picture", "sound") if getattr(result, name) is not None) == parts
    assert result.packets is not None
    assert sum(stream.packets for stream in (*result.packets.video, *result.packets.audio)) > 0


def test_a_file_that_is_no_media_is_refused_when_it_is_planned(tmp_path: Path, child: MediaChild) -> None:
    (tmp_path / "film.mkv").write_bytes(b"no media" * 100)
    with pytest.raises(ChildFailedError) as caught:
        planned(OPERATION, tmp_path / "film.mkv", child, deep=True)
    assert caught.value.code == "not_media"


def test_another_file_than_was_planned_is_refused(tmp_path: Path, film: Path, child: MediaChild) -> None:
    source = tmp_path / "film.mkv"
    source.write_bytes(film.read_bytes())
    plan = planned(OPERATION, source, child, packets=True)
    source.write_bytes(film.read_bytes()[:-100])
    with pytest.raises(StorageError) as caught:
        OPERATION.run(bench(OPERATION, source, child, plan.shared, packets=True), plan.units[0])
    assert caught.value.code == "source_changed"


def test_a_person_is_told_the_gist(film: Path, child: MediaChild) -> None:
    assert OPERATION.told is not None
    told = OPERATION.told(done(OPERATION, film, child, deep=True).result.model_dump(mode="json"))
    assert told["video 0"]["codec"] == "h264"
    assert told["audio 1"]["language"] == "eng"
    assert told["chapters"] == ["0.000 s One", "1.500 s Two"]
    assert told["duration_s"] == pytest.approx(3, abs=0.1)
    assert told["packets"]["stream 0"]["groups"]["keyframes"] > 0
    assert "values_bps" not in told["packets"]["stream 0"]["curve"]
    assert told["picture"]["fields"]["marked"] == 0
    assert told["sound"]["stream 1"]["silences"] == []
