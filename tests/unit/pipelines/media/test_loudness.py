from collections.abc import Callable
from pathlib import Path
from typing import Any

import media_factory as factory
import numpy as np
import pytest

from pipelines.media.errors import SourceUnreadableError
from pipelines.media.plan import TranscodePlan
from pipelines.media.results import TranscodeResult
from pipelines.media.transcode import transcode_verified

Transcode = Callable[..., tuple[Path, TranscodeResult]]
CutUp = Callable[..., Any]
Look = Callable[..., TranscodePlan]


@pytest.fixture(scope="session")
def soft(made: Path) -> Path:
    """A tone of -30 LUFS."""
    return factory.write_sound(made / "soft.wav", [(0, factory.tone(4, -30))])


@pytest.mark.parametrize("profile", ["audio-opus", "audio-mp3"])
@pytest.mark.parametrize("target_lufs", [-23, -14, -40])
def test_sound_is_brought_to_a_loudness(soft: Path, transcoded: Transcode, profile: str, target_lufs: float) -> None:
    target, result = transcoded(soft, profile, loudness=target_lufs)
    assert factory.loudness_lufs(target)[0] == pytest.approx(target_lufs, abs=0.5)
    (loudness,) = result.loudness
    assert loudness.measured_lufs == pytest.approx(-30, abs=0.1)
    assert loudness.gain_db == pytest.approx(target_lufs + 30, abs=0.1)
    assert loudness.true_peak_dbtp == pytest.approx(-30, abs=0.2)
    assert not loudness.limited


def test_silence_gets_no_gain(tmp_path: Path, transcoded: Transcode) -> None:
    clip = factory.write_sound(tmp_path / "silence.wav", [(0, np.zeros((2, 96_000), np.float32))])
    target, result = transcoded(clip, "audio-opus", loudness=-14)
    (loudness,) = result.loudness
    assert (loudness.measured_lufs, loudness.true_peak_dbtp, loudness.gain_db) == (None, None, 0)
    assert np.abs(factory.sound(target)[2]).max() < 0.001


def test_peaks_bound_the_gain(tmp_path: Path, transcoded: Transcode) -> None:
    sound = factory.tone(4, -30)
    sound[:, -48:] = factory.tone(4, -6)[:, -48:]  # in the last slice, which is shorter than the meter's
    clip = factory.write_sound(tmp_path / "peak.wav", [(0, sound[:, 1000:])])
    target, result = transcoded(clip, "archive-hevc", audio_codec="flac", loudness=-14)
    (loudness,) = result.loudness
    assert loudness.limited
    assert "its peaks would be above -1 dBTP" in result.warnings[-1]
    assert loudness.gain_db == pytest.approx(-1 - (loudness.true_peak_dbtp or 0), abs=0.02)
    assert np.abs(factory.sound(target)[2]).max() <= 10 ** (-1 / 20)
    assert factory.loudness_lufs(target)[0] == pytest.approx(-30 + loudness.gain_db, abs=0.2)


def test_sound_that_is_too_loud_is_made_softer_without_clipping(tmp_path: Path, transcoded: Transcode) -> None:
    """Six channels at once are louder than full scale in two."""
    clip = factory.write_sound(tmp_path / "six.wav", [(0, factory.tone(2, -1, channels=6))], layout="5.1")
    target, result = transcoded(clip, "web-720p", audio_codec="flac", loudness=-14)
    assert (result.loudness[0].true_peak_dbtp or 0) > 3
    assert factory.loudness_lufs(target)[0] == pytest.approx(-14, abs=0.2)


def test_only_what_is_kept_is_measured(tmp_path: Path, transcoded: Transcode) -> None:
    parts = np.concatenate([factory.tone(2, -10), factory.tone(2, -30)], axis=1)
    clip = factory.write_sound(tmp_path / "parts.mkv", [(0, parts)])
    target, result = transcoded(clip, "audio-opus", loudness=-20, start=2, end=3.5)
    assert result.loudness[0].measured_lufs == pytest.approx(-30, abs=0.1)
    assert factory.loudness_lufs(target)[0] == pytest.approx(-20, abs=0.5)


@pytest.fixture(scope="session")
def film(made: Path) -> Path:
    """A film of 4 s with two sound tracks, of -30 and -20 LUFS."""
    first = factory.film(made / "mute.mkv", codec="ffv1", frames=100)
    tones = [factory.write_sound(made / f"{level}.mkv", [(0, factory.tone(4, level))]) for level in (-30, -20)]
    return factory.with_sound(factory.with_sound(first, tones[0], made / "one.mkv"), tones[1], made / "two.mkv")


def test_each_track_has_its_own_gain_in_one_pass_and_in_chunks(film: Path, cut_up: CutUp) -> None:
    pieces = cut_up(film, codec="h264", crf=30, preset="ultrafast", loudness=-18)
    (joined, result), (serial, expected) = pieces.join(), pieces.serial()
    assert [round(loudness.gain_db) for loudness in result.loudness] == [12, 2]
    assert result.loudness == expected.loudness
    for track in (0, 1):
        assert factory.loudness_lufs(joined, track)[0] == pytest.approx(-18, abs=0.5)
    assert factory.heard_sounds(joined) == factory.heard_sounds(serial)


def test_without_a_loudness_nothing_is_measured(soft: Path, transcoded: Transcode) -> None:
    target, result = transcoded(soft, "audio-opus")
    assert result.loudness == ()
    assert factory.loudness_lufs(target)[0] == pytest.approx(-30, abs=0.5)


def test_progress_rises_while_it_is_measured_and_after(soft: Path, planned: Look, tmp_path: Path) -> None:
    seen: list[float] = []
    plan = planned(soft, "audio-opus", loudness=-14)
    transcode_verified(soft, tmp_path / "out.opus", plan, lambda progress: seen.append(progress.fraction))
    assert seen == sorted(seen)
    assert seen[0] < 0.5
    assert seen[-1] == 1


def test_damage_ends_the_work_while_it_is_measured(tmp_path: Path, transcoded: Transcode) -> None:
    whole = factory.write_sound(tmp_path / "whole.mkv", [(0, factory.tone(3, -30))], codec="flac")
    hole = factory.with_noise(whole, tmp_path / "hole.mkv", [15])
    with pytest.raises(SourceUnreadableError, match="sound is damaged"):
        transcoded(hole, "audio-opus", loudness=-14, damage="fail")
    _, result = transcoded(hole, "audio-opus", loudness=-14)
    assert result.decode_errors == 1
