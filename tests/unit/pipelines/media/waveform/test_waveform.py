"""Waveforms of sound whose every sample is known."""

import json
from pathlib import Path
from typing import Any

import media_factory as factory
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from pipelines.media.errors import LimitError, NoAudioStreamError, SourceUnreadableError, StreamNotFoundError
from pipelines.media.progress import Progress
from pipelines.media.waveform.peaks import Peaks
from pipelines.media.waveform.waveform import waveform
from pipelines.media.waveform.waveform_spec import WaveformResult, WaveformSpec

RATE_HZ = factory.SAMPLE_RATE_HZ
PCM = "pcm_s16le"


def _make(source: Path, folder: Path, **spec: object) -> tuple[WaveformResult, dict[str, Any]]:
    made = waveform(source, folder, WaveformSpec.model_validate(spec), lambda _: None)
    return made, json.loads((folder / "waveform.json").read_text())


def _noise(duration_s: float, channels: int = 2, seed: int = 5) -> NDArray[np.float32]:
    """Noise that swells and fades, each channel differently, as ``(channels, samples)``; 16 bits hold it exactly."""
    count = round(duration_s * RATE_HZ)
    swell = np.abs(np.sin(np.arange(count) / RATE_HZ * 2 + np.arange(channels)[:, None]))
    samples = np.random.default_rng(seed).uniform(-0.99, 0.99, (channels, count)) * swell
    return (np.rint(samples * 32768) / 32768).astype(np.float32)


def _samples(sound: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.rint(sound.astype(np.float64) * 32768).astype(np.int64)


def _pairs(samples: NDArray[np.int64], per_pixel: int) -> list[int]:
    """The lowest and highest of each stretch, one after the other, worked out one by one."""
    parts = [samples[begin : begin + per_pixel] for begin in range(0, len(samples), per_pixel)]
    return [int(value) for part in parts for value in (part.min(), part.max())]


@pytest.mark.parametrize("per_pixel", [2, 100, 256, 48_000, 10_000_000])
def test_peaks_of_mixed_channels_are_those_of_their_mean(tmp_path: Path, per_pixel: int) -> None:
    sound = _noise(2.3)
    source = factory.write_sound(tmp_path / "noise.wav", [(0, sound)], PCM)
    made, peaks = _make(source, tmp_path, samples_per_pixel=per_pixel)
    mean = np.trunc(_samples(sound).sum(0) / 2).astype(np.int64)
    assert peaks["data"] == _pairs(mean, per_pixel)
    assert (made.length, made.channels) == (-(-len(mean) // per_pixel), 1)


def test_peaks_of_split_channels_take_turns(tmp_path: Path) -> None:
    sound = _noise(1.7)
    source = factory.write_sound(tmp_path / "noise.wav", [(0, sound)], PCM)
    made, peaks = _make(source, tmp_path, samples_per_pixel=1000, channels="split")
    left, right = (np.reshape(_pairs(channel, 1000), (-1, 2)) for channel in _samples(sound))
    assert peaks["data"] == np.concatenate((left, right), axis=1).ravel().tolist()
    assert (peaks["channels"], made.channels) == (2, 2)


def test_eight_bits_are_a_256th(tmp_path: Path) -> None:
    sound = _noise(1)
    source = factory.write_sound(tmp_path / "noise.wav", [(0, sound)], PCM)
    _, peaks = _make(source, tmp_path, samples_per_pixel=500, bits=8, channels="split")
    left = _pairs(_samples(sound)[0], 500)
    assert np.reshape(peaks["data"], (-1, 4))[:, :2].ravel().tolist() == [int(value / 256) for value in left]


def test_the_file_is_as_players_read_it(tmp_path: Path) -> None:
    source = factory.write_sound(tmp_path / "noise.wav", [(0, _noise(1))], PCM)
    _, peaks = _make(source, tmp_path, samples_per_pixel=256, bits=8)
    assert list(peaks) == ["version", "channels", "sample_rate", "samples_per_pixel", "bits", "length", "data"]
    assert [peaks[name] for name in list(peaks)[:-1]] == [2, 1, RATE_HZ, 256, 8, 188]
    assert len(peaks["data"]) == 2 * peaks["length"] * peaks["channels"]


@pytest.mark.parametrize("codec", ["flac", "pcm_s24le", "pcm_f32le"])
def test_other_codecs_without_loss_give_the_same(tmp_path: Path, codec: str) -> None:
    sound = _noise(1)
    _, peaks = _make(factory.write_sound(tmp_path / "noise.mka", [(0, sound)], codec), tmp_path, samples_per_pixel=480)
    mean = np.trunc(_samples(sound).sum(0) / 2).astype(np.int64)
    assert np.abs(np.array(peaks["data"]) - _pairs(mean, 480)).max() <= 1


def test_lossy_sound_is_near(tmp_path: Path) -> None:
    sound = factory.tone(2, -12)
    made, peaks = _make(
        factory.write_sound(tmp_path / "tone.m4a", [(0, sound)], "aac"), tmp_path, samples_per_pixel=960
    )
    assert made.peak == pytest.approx(10 ** (-12 / 20), abs=0.03)
    assert peaks["length"] == pytest.approx(100, abs=2)


def test_without_samples_per_pixel_there_is_a_peak_for_each_pixel(tmp_path: Path) -> None:
    source = factory.write_sound(tmp_path / "noise.wav", [(0, _noise(3))], PCM)
    made, _ = _make(source, tmp_path, width=500)
    assert (made.length, made.samples_per_pixel) == (500, 288)


def test_a_late_track_begins_with_silence(tmp_path: Path) -> None:
    picture = factory.grey_ramp(tmp_path / "picture.mkv", frames=75)
    late = factory.write_sound(tmp_path / "late.mka", [(1, _noise(2))], PCM)
    both = factory.with_sound(picture, late, tmp_path / "both.mkv")
    made, peaks = _make(both, tmp_path, samples_per_pixel=4800)
    pairs = np.reshape(peaks["data"], (-1, 2))
    assert made.duration_s == pytest.approx(3, abs=0.01)
    assert (pairs[:10] == 0).all()
    assert (pairs[10:] != 0).all()


def test_a_gap_is_silence(tmp_path: Path) -> None:
    source = factory.write_sound(tmp_path / "gap.mka", [(0, _noise(1)), (2, _noise(1, seed=6))], PCM)
    made, peaks = _make(source, tmp_path, samples_per_pixel=4800)
    loud = [bool(low or high) for low, high in np.reshape(peaks["data"], (-1, 2))]
    assert loud == [True] * 10 + [False] * 10 + [True] * 10
    assert made.duration_s == pytest.approx(3)


def test_a_track_is_chosen_by_its_number(tmp_path: Path) -> None:
    first = factory.write_sound(tmp_path / "one.mka", [(0, factory.tone(1, -6))], PCM)
    second = factory.write_sound(tmp_path / "two.mka", [(0, factory.tone(1, -20))], PCM)
    both = factory.with_sound(first, second, tmp_path / "both.mka")
    quiet, _ = _make(both, tmp_path, track=1)
    assert quiet.peak == pytest.approx(0.1, abs=0.002)


def test_a_track_that_isnt_there_is_refused(tmp_path: Path) -> None:
    source = factory.write_sound(tmp_path / "noise.wav", [(0, _noise(1))], PCM)
    with pytest.raises(StreamNotFoundError, match="1 sound track"):
        _make(source, tmp_path, track=1)


def test_a_film_without_sound_is_refused(grey_ramp: Path, tmp_path: Path) -> None:
    with pytest.raises(NoAudioStreamError):
        _make(grey_ramp, tmp_path)


def test_a_cover_beside_the_sound_is_no_matter(shared_video: Path, tmp_path: Path) -> None:
    made, _ = _make(shared_video.parent / "audio" / "flac_with_cover.flac", tmp_path)
    assert (made.channels, made.sample_rate_hz) == (1, 48_000)
    assert made.duration_s == pytest.approx(2.741, abs=0.01)


def test_a_tag_at_the_end_is_no_damage(shared_video: Path, tmp_path: Path) -> None:
    made, _ = _make(shared_video.parent / "audio" / "mp3_vbr_id3.mp3", tmp_path)
    assert (made.decode_errors, made.warnings) == (0, ())
    assert made.duration_s == pytest.approx(2.808)


@pytest.mark.parametrize("name", ["opus_stereo.opus", "wav_float32.wav"])
def test_real_sound_lasts_as_long_as_its_waveform(shared_video: Path, tmp_path: Path, name: str) -> None:
    made, _ = _make(shared_video.parent / "audio" / name, tmp_path, samples_per_pixel=256)
    _, rate, samples = factory.sound(shared_video.parent / "audio" / name)
    assert (made.sample_rate_hz, made.length) == (rate, -(-len(samples) // 256))
    assert made.warnings == ()


def test_more_peaks_than_a_page_can_take_are_refused(tmp_path: Path) -> None:
    long = factory.write_sound(tmp_path / "long.mka", [(0, _noise(1)), (36_000, _noise(1))], "flac")
    with pytest.raises(LimitError, match="more samples per pixel"):
        _make(long, tmp_path, samples_per_pixel=2)


def test_a_jump_of_hours_takes_no_memory(tmp_path: Path) -> None:
    long = factory.write_sound(tmp_path / "long.mka", [(0, _noise(1)), (36_000, _noise(1))], "flac")
    made, _ = _make(long, tmp_path)
    assert made.length == pytest.approx(1800, abs=2)
    assert made.duration_s == pytest.approx(36_001)


def test_times_that_go_back_are_read_on(tmp_path: Path) -> None:
    sound = factory.write_sound(tmp_path / "one.ts", [(0, _noise(2))], "mp2")
    twice = tmp_path / "twice.ts"
    twice.write_bytes(sound.read_bytes() * 2)
    made, _ = _make(twice, tmp_path)
    assert made.duration_s == pytest.approx(4, abs=0.2)


def test_sound_that_changes_its_channels_is_read_on(tmp_path: Path) -> None:
    stereo = factory.write_sound(tmp_path / "stereo.ts", [(0, factory.tone(2, -6))], "mp2")
    mono = factory.write_sound(tmp_path / "mono.ts", [(0, factory.tone(2, -6, 1))], "mp2", "mono")
    changing = tmp_path / "changing.ts"
    changing.write_bytes(stereo.read_bytes() + mono.read_bytes())
    made, peaks = _make(changing, tmp_path, channels="split", samples_per_pixel=4800)
    assert (made.channels, made.duration_s) == (2, pytest.approx(4, abs=0.2))
    assert min(abs(value) for value in peaks["data"][-40:-20]) > 5000


def test_of_a_sound_that_was_cut_off_there_is_what_is_left(tmp_path: Path) -> None:
    whole = factory.write_sound(tmp_path / "whole.flac", [(0, _noise(8))], "flac")
    cut = tmp_path / "cut.flac"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    made, _ = _make(cut, tmp_path)
    assert made.duration_s == pytest.approx(4, abs=1.5)
    assert "cut.flac was cut off" in made.warnings[0]


def test_damage_is_passed_over_and_told(tmp_path: Path) -> None:
    whole = factory.write_sound(tmp_path / "whole.mka", [(0, _noise(4))], "flac")
    made, _ = _make(factory.with_noise(whole, tmp_path / "noise.mka", [10, 11]), tmp_path)
    assert made.decode_errors == 2
    assert "2 packets of the sound don't decode" in made.warnings[0]


def test_sound_of_which_nothing_decodes_is_refused(tmp_path: Path) -> None:
    whole = factory.write_sound(tmp_path / "whole.mka", [(0, _noise(1))], "flac")
    with pytest.raises(SourceUnreadableError):
        _make(factory.with_noise(whole, tmp_path / "noise.mka", range(100)), tmp_path)


def _opaque(folder: Path) -> NDArray[np.float64]:
    """How opaque each pixel of the picture is, from 0 to 1."""
    with Image.open(folder / "waveform.png") as picture:
        return np.asarray(picture.getchannel("A")).astype(float) / 255


def test_the_picture_has_the_size_and_colour_asked_for(tmp_path: Path) -> None:
    source = factory.write_sound(tmp_path / "tone.wav", [(0, factory.tone(1, -1))], PCM)
    _make(source, tmp_path, width=320, height=90, colour="#c02040")
    with Image.open(tmp_path / "waveform.png") as picture:
        assert (picture.size, picture.mode) == ((320, 90), "RGBA")
        assert picture.getpixel((160, 45)) == (0xC0, 0x20, 0x40, 255)
        assert picture.getpixel((160, 0))[3] == 0


def test_a_background_is_put_behind(tmp_path: Path) -> None:
    source = factory.write_sound(tmp_path / "tone.wav", [(0, factory.tone(1, -1))], PCM)
    _make(source, tmp_path, width=320, height=90, background="#102030")
    with Image.open(tmp_path / "waveform.png") as picture:
        assert (picture.mode, picture.getpixel((160, 0))) == ("RGB", (0x10, 0x20, 0x30))


def test_the_wave_is_as_high_as_it_is_loud(tmp_path: Path) -> None:
    quiet, loud = factory.tone(1, -12.04), factory.tone(1, -0.1)
    source = factory.write_sound(tmp_path / "two.wav", [(0, np.concatenate((quiet, loud), axis=1))], PCM)
    _make(source, tmp_path, width=400, height=200)
    heights = (_opaque(tmp_path) > 0).sum(0)
    assert heights[100] / heights[300] == pytest.approx(0.25, abs=0.03)


def test_silence_is_a_line(tmp_path: Path) -> None:
    source = factory.write_sound(tmp_path / "silence.wav", [(0, np.zeros((2, RATE_HZ), np.float32))], PCM)
    _make(source, tmp_path, width=100, height=40)
    assert _opaque(tmp_path).sum(0) == pytest.approx(np.ones(100), abs=0.05)


def test_channels_lie_below_one_another(tmp_path: Path) -> None:
    sound = np.concatenate((factory.tone(1, -1, 1), np.zeros((1, RATE_HZ), np.float32)))
    _make(factory.write_sound(tmp_path / "left.wav", [(0, sound)], PCM), tmp_path, height=100, channels="split")
    opaque = _opaque(tmp_path)
    assert opaque[:50].sum() > 20 * opaque[50:].sum()


def test_a_normalized_wave_fills_the_height(tmp_path: Path) -> None:
    source = factory.write_sound(tmp_path / "quiet.wav", [(0, factory.tone(1, -30))], PCM)
    _make(source, tmp_path, width=100, height=100, normalize=True)
    assert (_opaque(tmp_path) > 0).sum(0).max() >= 90


def test_edges_are_smooth(tmp_path: Path) -> None:
    swelling = np.linspace(0, 0.9, RATE_HZ, dtype=np.float32) * factory.tone(1, 0)
    _make(factory.write_sound(tmp_path / "swell.wav", [(0, swelling)], PCM), tmp_path, width=300, height=100)
    opaque = _opaque(tmp_path)
    assert ((opaque > 0.02) & (opaque < 0.45)).sum() > 300


@pytest.mark.parametrize(
    "spec",
    [
        {"width": 0},
        {"width": 16_000, "height": 4000},
        {"height": 5},
        {"samples_per_pixel": 1},
        {"bits": 12},
        {"colour": "blue"},
        {"track": -1},
    ],
)
def test_nonsense_is_refused(spec: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        WaveformSpec.model_validate(spec)


def test_progress_ends_at_one(tmp_path: Path) -> None:
    seen: list[Progress] = []
    source = factory.write_sound(tmp_path / "noise.wav", [(0, _noise(4))], PCM)
    waveform(source, tmp_path, WaveformSpec(), seen.append)
    assert seen[-1].fraction == 1


def test_peaks_that_would_be_too_many_are_put_together_exactly() -> None:
    samples = np.random.default_rng(1).integers(-32768, 32767, (1, 100_000), dtype=np.int16)
    peaks = Peaks(1, 10, 1500)
    for begin in range(0, 100_000, 777):
        peaks.add(begin, samples[:, begin : begin + 777])
    assert (peaks.samples_per_pixel, peaks.length) == (80, 1250)
    assert peaks.lows[0].tolist() == samples[0].reshape(-1, 80).min(1).tolist()
    assert peaks.highs[0].tolist() == samples[0].reshape(-1, 80).max(1).tolist()
