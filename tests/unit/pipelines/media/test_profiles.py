from pathlib import Path

import pytest
from pydantic import ValidationError

from pipelines.media.errors import ParamsError, ProfileError
from pipelines.media.profiles import Profile, TranscodeParams, load_profiles, merge

SHIPPED = {
    "web-1080p", "web-720p", "mobile-480p", "archive-hevc", "av1-1080p", "webm-vp9", "audio-mp3", "audio-opus",
}  # fmt: skip


def test_the_shipped_profiles_load(profiles: dict[str, Profile]) -> None:
    assert set(profiles) == SHIPPED


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ('description = "x"\ncontainer = "avi"\n', "container"),
        ('description = "x"\ncontainer = "mp3"\n[audio]\ncodec = "mp3"\nbitrate = "loud"\n', "audio.bitrate"),
        ('description = "x"\ncontainer = "mp4"\n[audio]\ncodec = "aac"\ncolour = 1\n', "audio.colour"),
    ],
)
def test_a_wrong_profile_is_named_with_its_field(tmp_path: Path, content: str, field: str) -> None:
    (tmp_path / "mine.toml").write_text(content)
    with pytest.raises(ProfileError, match=r"mine\.toml") as caught:
        load_profiles(tmp_path)
    assert caught.value.fields["field"] == field


def test_broken_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("container = ")
    with pytest.raises(ProfileError, match=r"mine\.toml"):
        load_profiles(tmp_path)


@pytest.mark.parametrize(
    "params",
    [
        {"crf": 20, "bitrate": "2M"},
        {"start": 10, "end": 5},
        {"crf": 99},
        {"bitrate": "fast"},
        {"height": 0},
        {"quality": 3},
        {"start": -1},
        {"audio_codec": "copy", "audio_bitrate": "64k"},
        {"audio_codec": "copy", "loudness": -23},
        {"audio_codec": "copy", "start": 5},
        {"audio_codec": "copy", "end": 5},
    ],
)
def test_contradictions_are_refused(params: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TranscodeParams.model_validate(params)


@pytest.mark.parametrize(
    ("profile", "params", "field"),
    [
        ("webm-vp9", {"codec": "h264"}, "codec"),
        ("webm-vp9", {"audio_codec": "aac"}, "audio_codec"),
        ("web-720p", {"hdr": "keep"}, "settings"),
        ("web-720p", {"preset": "8"}, "settings"),
        ("web-720p", {"crf": 60}, "settings"),
    ],
)
def test_what_a_profile_cant_do_is_refused(
    profiles: dict[str, Profile], profile: str, params: dict[str, object], field: str
) -> None:
    with pytest.raises(ParamsError) as caught:
        merge(profiles[profile], TranscodeParams.model_validate(params))
    assert caught.value.fields["field"] == field


def test_presets_are_listed_in_order(profiles: dict[str, Profile]) -> None:
    with pytest.raises(ParamsError, match=r": 0, 1, 2, .*, 9, 10, 11, 12, 13"):
        merge(profiles["av1-1080p"], TranscodeParams(preset="medium"))


def test_video_parameters_of_a_sound_profile_are_refused(profiles: dict[str, Profile]) -> None:
    with pytest.raises(ParamsError, match="height"):
        merge(profiles["audio-mp3"], TranscodeParams(height=720))


def test_a_bit_rate_replaces_the_quality(profiles: dict[str, Profile]) -> None:
    video = merge(profiles["web-720p"], TranscodeParams(bitrate="6M")).video
    assert video is not None
    assert (video.crf, video.bitrate, video.max_bitrate) == (None, 6_000_000, 6_000_000)


def test_another_codec_brings_its_own_preset_and_quality(profiles: dict[str, Profile]) -> None:
    video = merge(profiles["web-720p"], TranscodeParams(codec="av1")).video
    assert video is not None
    assert (video.codec, video.preset, video.height) == ("av1", "8", 720)


def test_without_parameters_the_profile_holds(profiles: dict[str, Profile]) -> None:
    settings = merge(profiles["web-720p"], TranscodeParams())
    assert (settings.video, settings.audio) == (profiles["web-720p"].video, profiles["web-720p"].audio)
    assert not settings.overridden_video
