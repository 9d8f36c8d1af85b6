import struct
from collections.abc import Callable
from pathlib import Path

import media_factory as factory
import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.media.probing.probe import probe
from pipelines.media.probing.probe_result import AllSoundFindings, Silence, SoundFindings
from pipelines.media.probing.sound import listen


def found_in(clip: Path, told: Callable[[float], None] = lambda _: None) -> AllSoundFindings:
    return listen(clip, probe(clip), lambda progress: told(progress.fraction))


def track_of(clip: Path) -> SoundFindings:
    (track,) = found_in(clip).tracks
    return track


def parts(*lengths_and_levels: tuple[float, float | None]) -> NDArray[np.float32]:
    """Tones of some loudness one after the other, or silence."""
    made = [
        np.zeros((2, round(length_s * factory.SAMPLE_RATE_HZ)), np.float32)
        if level is None
        else factory.tone(length_s, level)
        for length_s, level in lengths_and_levels
    ]
    return np.concatenate(made, axis=1)


@pytest.mark.parametrize("level", [-30, -14])
def test_loudness_and_peak_are_measured(tmp_path: Path, level: float) -> None:
    track = track_of(factory.write_sound(tmp_path / "tone.wav", [(0, factory.tone(4, level))]))
    assert track.integrated_lufs == pytest.approx(level, abs=0.1)
    assert track.true_peak_dbtp == pytest.approx(level, abs=0.2)
    assert track.duration_s == 4


def test_the_range_of_loudness_is_measured(tmp_path: Path) -> None:
    """EBU Tech 3342, test 1: twenty seconds of -20 and twenty of -30 LUFS have 10 LU."""
    track = track_of(factory.write_sound(tmp_path / "range.wav", [(0, parts((20, -20), (20, -30)))]))
    assert track.range_lu == pytest.approx(10, abs=1)


def test_it_is_what_the_meter_says_of_the_file(tmp_path: Path) -> None:
    clip = factory.write_sound(tmp_path / "tone.flac", [(0, parts((3, -20), (3, -28), (2, -24)))], codec="flac")
    track = track_of(clip)
    lufs, peak_dbtp = factory.loudness_lufs(clip)
    assert (track.integrated_lufs, track.true_peak_dbtp) == (pytest.approx(lufs), pytest.approx(peak_dbtp, abs=0.01))


def test_silences_are_found_at_their_times(tmp_path: Path) -> None:
    sound = parts((1, -20), (3, None), (2, -20), (1, None), (1, -20), (2.5, None))
    track = track_of(factory.write_sound(tmp_path / "pauses.wav", [(0, sound)]))
    assert [(silence.start_s, silence.end_s) for silence in track.silences] == [
        (pytest.approx(1, abs=0.01), pytest.approx(4, abs=0.01)),
        (pytest.approx(8, abs=0.01), 10.5),
    ]
    assert track.silent_s == pytest.approx(5.5, abs=0.02)


def test_a_gap_in_the_times_is_silence(tmp_path: Path) -> None:
    film = factory.write_sound(tmp_path / "gap.mkv", [(0, factory.tone(2, -20)), (6, factory.tone(1, -20))])
    track = track_of(film)
    assert [(round(silence.start_s, 1), round(silence.end_s, 1)) for silence in track.silences] == [(2, 6)]
    assert track.duration_s == pytest.approx(7, abs=0.01)


def test_silence_has_no_loudness(tmp_path: Path) -> None:
    track = track_of(factory.write_sound(tmp_path / "silence.wav", [(0, parts((3, None)))]))
    assert (track.integrated_lufs, track.range_lu, track.true_peak_dbtp) == (None, None, None)
    assert track.silences == (Silence(start_s=0, end_s=3),)


def test_a_quiet_tone_is_no_silence(tmp_path: Path) -> None:
    assert track_of(factory.write_sound(tmp_path / "quiet.wav", [(0, factory.tone(4, -50))])).silences == ()


def test_times_count_from_the_start_of_the_container(tmp_path: Path) -> None:
    film = factory.film(tmp_path / "film.mkv", 200)
    sound = factory.write_sound(tmp_path / "late.mkv", [(2, parts((1, -20), (3, None), (1, -20)))])
    track = track_of(factory.with_sound(film, sound, tmp_path / "both.mkv"))
    assert [(round(silence.start_s, 1), round(silence.end_s, 1)) for silence in track.silences] == [(3, 6)]


def test_every_track_is_heard(rich_film: Path) -> None:
    found = found_in(rich_film)
    assert [track.index for track in found.tracks] == [1, 2]
    assert found.warnings == ()


@pytest.mark.parametrize(("layout", "channels"), [("mono", 1), ("5.1", 6)])
def test_channels_are_heard_as_they_are(tmp_path: Path, layout: str, channels: int) -> None:
    """BS.1770 adds up what each channel has, the surround ones by 1.5 dB more and the deep one not at all."""
    sound = factory.tone(3, -30, channels)
    track = track_of(factory.write_sound(tmp_path / "many.wav", [(0, sound)], layout=layout))
    weights = {"mono": 1, "5.1": 3 + 2 * 1.41}[layout]
    assert track.integrated_lufs == pytest.approx(-30 + 10 * np.log10(weights / 2), abs=0.3)


def test_channels_of_which_nothing_is_said_are_heard_as_usual(tmp_path: Path) -> None:
    clip = factory.write_sound(tmp_path / "plain.wav", [(0, factory.tone(3, -30))])
    assert probe(clip).audio[0].channel_layout is None
    assert track_of(clip).integrated_lufs == pytest.approx(-30, abs=0.1)


def test_more_channels_than_can_be_measured_are_told(tmp_path: Path) -> None:
    """16 channels in no order that has a name."""
    sound = (factory.tone(1, -30, 1)[0] * 32767).astype("<i2").repeat(16).tobytes()
    header = struct.pack("<HHIIHH", 1, 16, 48_000, 48_000 * 32, 32, 16)
    clip = tmp_path / "sixteen.wav"
    clip.write_bytes(
        b"RIFF" + struct.pack("<I", 36 + len(sound)) + b"WAVEfmt " + struct.pack("<I", 16) + header
        + b"data" + struct.pack("<I", len(sound)) + sound
    )  # fmt: skip
    found = found_in(clip)
    assert found.tracks == ()
    assert found.warnings == (
        "Sound stream 0 isn't measured: its header doesn't tell which of its 16 channels is which.",
    )


def test_damage_is_counted_and_the_rest_is_heard(tmp_path: Path) -> None:
    whole = factory.write_sound(tmp_path / "whole.mkv", [(0, factory.tone(3, -30))], codec="flac")
    track = track_of(factory.with_noise(whole, tmp_path / "hole.mkv", [15]))
    assert track.decode_errors == 1
    assert track.damaged_at_s[0] == pytest.approx(1.44, abs=0.1)
    assert track.integrated_lufs == pytest.approx(-30, abs=0.2)


def test_a_track_of_which_nothing_decodes_is_told(tmp_path: Path) -> None:
    whole = factory.write_sound(tmp_path / "whole.mkv", [(0, factory.tone(1, -30))], codec="flac")
    found = found_in(factory.with_noise(whole, tmp_path / "noise.mkv", range(20)))
    assert found.warnings == ("Nothing of sound stream 0 decodes.",)
    assert (found.tracks[0].duration_s, found.tracks[0].integrated_lufs) == (0, None)


def test_a_file_that_was_cut_off_is_heard_to_its_end(tmp_path: Path) -> None:
    whole = factory.write_sound(tmp_path / "whole.mkv", [(0, factory.tone(6, -30))], codec="flac")
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    track = track_of(cut)
    assert 2 < track.duration_s < 4
    assert track.integrated_lufs == pytest.approx(-30, abs=0.2)


def test_times_that_leap_ahead_are_not_waited_for(tmp_path: Path) -> None:
    """A fault in a time of Matroska: days of silence would be measured."""
    parts = [(0.0, factory.tone(1, -20)), (1.0, factory.tone(1, -20)), (400_000.0, factory.tone(1, -20))]
    found = found_in(factory.write_sound(tmp_path / "leap.mkv", parts))
    assert found.tracks[0].duration_s == pytest.approx(2, abs=0.01)
    assert found.warnings == ("Sound stream 0 leaps to 400000 s; what is there isn't measured.",)


def test_pictures_alone_have_no_sound(tmp_path: Path) -> None:
    found = found_in(factory.film(tmp_path / "film.mkv", 10))
    assert (found.tracks, found.warnings) == ((), ())


def test_progress_goes_to_the_end(tmp_path: Path) -> None:
    told: list[float] = []
    found_in(factory.write_sound(tmp_path / "tone.flac", [(0, factory.tone(4, -30))], codec="flac"), told.append)
    assert told == sorted(told)
    assert told[-1] == 1
