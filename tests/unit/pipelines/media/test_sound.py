import re
from collections.abc import Callable
from pathlib import Path

import media_factory as factory
import pytest

from pipelines.media.errors import OutOfSpaceError, SourceUnreadableError
from pipelines.media.mux import sha256_of
from pipelines.media.plan import TranscodePlan
from pipelines.media.progress import Progress
from pipelines.media.results import SoundResult
from pipelines.media.sound import encode_sound

Look = Callable[..., TranscodePlan]

ENCODED: dict[str, object] = {"codec": "h264", "crf": 30, "preset": "ultrafast"}


def encoded(source: Path, folder: Path, plan: TranscodePlan, track: int = 0) -> tuple[Path, SoundResult]:
    target = folder / f"sound.{plan.container}"
    index = plan.source.audio[track].index
    return target, encode_sound(source, target, plan, index, lambda _: None)


def test_each_track_is_encoded_by_itself(rich_film: Path, looked_at: Look, tmp_path: Path) -> None:
    target, result = encoded(rich_film, tmp_path, looked_at(rich_film, **ENCODED), track=1)
    assert factory.click_times(target) == pytest.approx([1, 2], abs=0.001)
    assert result.end_s == pytest.approx(4, abs=1024 / 48_000)
    assert (result.source_index, result.decode_errors, result.warnings) == (2, 0, ())
    assert (result.size_bytes, result.sha256) == (target.stat().st_size, sha256_of(target))


@pytest.mark.parametrize("profile", ["web-720p", "webm-vp9"])
def test_sound_is_cut_where_the_film_is(rich_film: Path, looked_at: Look, tmp_path: Path, profile: str) -> None:
    plan = looked_at(rich_film, profile, start=0.5, end=1.75)
    target, result = encoded(rich_film, tmp_path, plan)
    assert factory.click_times(target) == pytest.approx([0.5], abs=0.001)
    assert result.end_s == pytest.approx(1.25, abs=0.021)


@pytest.mark.parametrize("profile", ["web-720p", "webm-vp9"])
def test_late_sound_stays_late(tmp_path: Path, looked_at: Look, profile: str) -> None:
    film = factory.film(tmp_path / "film.mkv", codec="ffv1")
    late = factory.write_sound(tmp_path / "late.mkv", [(0.25, factory.clicks(1, (0.5,)))], codec="flac")
    both = factory.with_sound(film, late, tmp_path / "both.mkv")
    target, _ = encoded(both, tmp_path, looked_at(both, profile))
    assert factory.click_times(target) == pytest.approx([0.75], abs=0.002)


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A film whose sound is spoilt at 1.5 s."""
    film = factory.film(tmp_path / "film.mkv", codec="ffv1", frames=75)
    whole = factory.write_sound(tmp_path / "whole.mkv", [(0, factory.clicks(3, (1, 2)))], codec="flac")
    number = round(1.5 * factory.SAMPLE_RATE_HZ / 4608)  # FLAC's packets
    sound = factory.with_noise(whole, tmp_path / "sound.mkv", [number])
    return factory.with_sound(film, sound, tmp_path / "damaged.mkv")


def test_damage_is_told_with_its_time(damaged: Path, looked_at: Look, tmp_path: Path) -> None:
    _, result = encoded(damaged, tmp_path, looked_at(damaged, **ENCODED))
    assert (result.decode_errors, result.damaged_at_s) == (1, (pytest.approx(1.5, abs=0.1),))


def test_damage_ends_the_work_if_it_is_to(damaged: Path, looked_at: Look, tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadableError, match=r"sound is damaged at 1\.5 s") as caught:
        encoded(damaged, tmp_path, looked_at(damaged, damage="fail", **ENCODED))
    assert caught.value.fields["time_s"] == pytest.approx(1.5, abs=0.1)


@pytest.fixture
def quiet(tmp_path: Path) -> Path:
    """A film of 4 s beside sound whose packets hold none from 2 s on, which AAC's decoder finds no fault with."""
    sound = factory.write_sound(tmp_path / "sound.mkv", [(0, factory.clicks(4, (1,)))], codec="aac")
    sound = factory.with_noise(sound, tmp_path / "quiet.mkv", range(94, 200), spoil=lambda _: b"\xe0")
    return factory.with_sound(factory.grey_ramp(tmp_path / "film.mkv", 100), sound, tmp_path / "both.mkv")


EARLY = r"The sound of stream 1 ends 2\.0 s early, at 2\.0 s"


def test_sound_whose_decoder_goes_quiet_is_told(quiet: Path, looked_at: Look, tmp_path: Path) -> None:
    _, result = encoded(quiet, tmp_path, looked_at(quiet, "archive-hevc", audio_codec="opus", **ENCODED))
    assert result.decode_errors == 0
    assert re.match(EARLY, result.warnings[0])


def test_sound_whose_decoder_goes_quiet_ends_the_work_if_damage_is_to(
    quiet: Path, looked_at: Look, tmp_path: Path
) -> None:
    plan = looked_at(quiet, "archive-hevc", audio_codec="opus", damage="fail", **ENCODED)
    with pytest.raises(SourceUnreadableError, match=EARLY):
        encoded(quiet, tmp_path, plan)


def test_sound_is_told_to_end_early_only_in_the_part_that_is_wanted(
    quiet: Path, looked_at: Look, tmp_path: Path
) -> None:
    plan = looked_at(quiet, "archive-hevc", audio_codec="opus", end=1.5, **ENCODED)
    assert encoded(quiet, tmp_path, plan)[1].warnings == ()


def test_damage_outside_of_what_is_wanted_does_not_matter(damaged: Path, looked_at: Look, tmp_path: Path) -> None:
    _, result = encoded(damaged, tmp_path, looked_at(damaged, damage="fail", start=1.8, **ENCODED))
    assert result.decode_errors == 0


def test_progress_rises_to_one(rich_film: Path, looked_at: Look, tmp_path: Path) -> None:
    plan, seen = looked_at(rich_film, **ENCODED), list[Progress]()
    encode_sound(rich_film, tmp_path / "sound.mp4", plan, 1, seen.append)
    fractions = [progress.fraction or 0 for progress in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


def test_a_full_disk_is_told_apart(rich_film: Path, looked_at: Look) -> None:
    with pytest.raises(OutOfSpaceError):
        encode_sound(rich_film, Path("/dev/full"), looked_at(rich_film, "archive-hevc", audio_codec="aac"), 1, print)
