"""Encoding profiles (TOML files), the user's overrides, and the settings the two make."""

import tomllib
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, model_validator

from pipelines.media.errors import ParamsError, ProfileError
from pipelines.media.units import BitRate, CropText, FrameRate, Seconds

ContainerName = Literal["mp4", "webm", "mkv", "mp3", "opus"]
VideoCodec = Literal["h264", "hevc", "av1", "vp9"]
AudioCodec = Literal["aac", "opus", "mp3", "flac", "copy"]
HdrPolicy = Literal["keep", "tonemap"]
Deinterlace = Literal["auto", "on", "telecine", "off"]
DamagePolicy = Literal["conceal", "fail"]
Preset = Annotated[str, BeforeValidator(str)]  # SVT-AV1 and VP9 number theirs

_X26X_PRESETS = frozenset(
    {
        "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo",
    }
)  # fmt: skip
_PRESETS: dict[str, frozenset[str]] = {
    "h264": _X26X_PRESETS,
    "hevc": _X26X_PRESETS,
    "av1": frozenset(str(number) for number in range(14)),
    "vp9": frozenset(str(number) for number in range(9)),
}
_MAX_CRF = {"h264": 51, "hevc": 51, "av1": 63, "vp9": 63}
# Where the user changes a profile's codec: settings of about the same look, each at a speed its users choose.
_CODEC_DEFAULTS: dict[str, tuple[str, float, tuple[str, ...]]] = {
    "h264": ("medium", 21, ("yuv420p",)),
    "hevc": ("medium", 23, ("yuv420p", "yuv420p10le")),
    "av1": ("8", 30, ("yuv420p", "yuv420p10le")),
    "vp9": ("3", 31, ("yuv420p",)),
}
VIDEO_CODECS: dict[str, frozenset[str]] = {
    "mp4": frozenset({"h264", "hevc", "av1", "vp9"}),
    "mkv": frozenset({"h264", "hevc", "av1", "vp9"}),
    "webm": frozenset({"vp9", "av1"}),
    "mp3": frozenset(),
    "opus": frozenset(),
}
AUDIO_CODECS: dict[str, frozenset[str]] = {
    "mp4": frozenset({"aac", "opus", "mp3", "flac", "copy"}),
    "mkv": frozenset({"aac", "opus", "mp3", "flac", "copy"}),
    "webm": frozenset({"opus", "copy"}),
    "mp3": frozenset({"mp3", "copy"}),
    "opus": frozenset({"opus", "copy"}),
}


class VideoSettings(BaseModel, frozen=True, extra="forbid"):
    """How pictures are encoded. ``height`` bounds the shorter displayed side; ``keyframe_s`` is the longest GOP."""

    codec: VideoCodec
    preset: Preset
    crf: float | None = Field(default=None, ge=0)
    bitrate: BitRate | None = None
    max_bitrate: BitRate | None = None
    height: int | None = Field(default=None, ge=16, le=8640)
    frame_rate: FrameRate | None = None
    pixel_formats: tuple[str, ...] = Field(min_length=1)
    hdr: HdrPolicy = "tonemap"
    keyframe_s: float = Field(default=4, gt=0, le=60)

    @model_validator(mode="after")
    def _check(self) -> "VideoSettings":
        if self.preset not in _PRESETS[self.codec]:
            raise ValueError(f"preset {self.preset!r} is none of {self.codec}'s: {_listed(_PRESETS[self.codec])}")
        if (self.crf is None) == (self.bitrate is None):
            raise ValueError("give either crf (a quality) or bitrate, and not both")
        if self.crf is not None and self.crf > _MAX_CRF[self.codec]:
            raise ValueError(f"crf of {self.codec} goes from 0 to {_MAX_CRF[self.codec]}")
        if self.bitrate and self.max_bitrate and self.max_bitrate < self.bitrate:
            raise ValueError("max_bitrate is below bitrate")
        if self.hdr == "keep" and not self.ten_bit:
            raise ValueError("hdr keep needs a 10-bit pixel format, e.g. codec hevc or av1 with yuv420p10le")
        return self

    @property
    def ten_bit(self) -> bool:
        return any(name.endswith("10le") for name in self.pixel_formats)


class AudioSettings(BaseModel, frozen=True, extra="forbid"):
    """How sound is encoded. ``bitrate`` is for stereo; other channel counts get their share of it."""

    codec: AudioCodec
    bitrate: BitRate | None = None
    max_channels: int = Field(default=2, ge=1, le=8)


class Profile(BaseModel, frozen=True, extra="forbid"):
    name: str
    description: str
    container: ContainerName
    video: VideoSettings | None = None
    audio: AudioSettings | None = None

    @model_validator(mode="after")
    def _check(self) -> "Profile":
        if self.video and self.video.codec not in VIDEO_CODECS[self.container]:
            raise ValueError(f"{self.container} can't hold {self.video.codec}")
        if self.audio and self.audio.codec not in AUDIO_CODECS[self.container]:
            raise ValueError(f"{self.container} can't hold {self.audio.codec}")
        if self.video is None and self.audio is None:
            raise ValueError("a profile needs video, audio or both")
        return self


class TranscodeParams(BaseModel, frozen=True, extra="forbid"):
    """What a user may override. Everything is optional; ``None`` leaves it to the profile."""

    codec: VideoCodec | None = Field(default=None, description="Video codec.")
    preset: Preset | None = Field(
        default=None, description="The encoder's speed: a name for x264 and x265, a number else."
    )
    crf: float | None = Field(default=None, ge=0, le=63, description="Constant quality; smaller is better and larger.")
    bitrate: BitRate | None = Field(default=None, description="Average video bit rate, e.g. 2M; instead of crf.")
    max_bitrate: BitRate | None = Field(default=None, description="Bound of the video bit rate over seconds, e.g. 4M.")
    height: int | None = Field(
        default=None, ge=16, le=8640, description="Bound of the shorter displayed side in pixels; never upscales."
    )
    frame_rate: FrameRate | None = Field(default=None, description="Bound of the frame rate, e.g. 30 or 30000/1001.")
    crop: CropText | None = Field(
        default=None,
        description="Keep this part of the picture: WxH+X+Y in pixels as shown, before scaling; rounded down to even.",
    )
    hdr: Literal["auto", "keep", "tonemap"] = Field(default="auto", description="What becomes of HDR pictures.")
    deinterlace: Deinterlace = Field(
        default="auto",
        description="auto: where the source is marked so and looks it; telecine: make 24 pictures of 30 again.",
    )
    audio_codec: AudioCodec | None = Field(
        default=None,
        description="Audio codec, or copy: sound as it is, which excludes audio_bitrate, loudness, start and end.",
    )
    audio_bitrate: BitRate | None = Field(default=None, description="Audio bit rate, e.g. 128k.")
    loudness: float | None = Field(
        default=None,
        ge=-70,
        le=-5,
        description="Loudness of the sound in LUFS (EBU R 128), e.g. -23 for broadcast or -14 for streaming.",
    )
    start: Seconds | None = Field(default=None, ge=0, description="Begin here: seconds or hh:mm:ss.")
    end: Seconds | None = Field(default=None, gt=0, description="End here: seconds or hh:mm:ss.")
    damage: DamagePolicy = Field(
        default="conceal",
        description="What becomes of a source that is damaged: conceal it with a warning, or fail; what its "
        "container lost counts, too. One that by its own header lacks its end fails in any case.",
    )
    chunk_s: Seconds | None = Field(
        default=None,
        gt=0,
        le=3600,
        description="Length of the chunks that are encoded apart; there are 4000 at most. Default: worked out.",
    )

    @model_validator(mode="after")
    def _check(self) -> "TranscodeParams":
        if self.crf is not None and self.bitrate is not None:
            raise ValueError("crf and bitrate exclude each other: give a quality or a bit rate")
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise ValueError("end must be later than start")
        if self.audio_codec == "copy":
            self._check_copy()
        return self

    def _check_copy(self) -> None:
        given = {
            "audio_bitrate": "it keeps its bit rate",
            "loudness": "it stays as loud as it is",
            "start": "it isn't cut at exact times",
            "end": "it isn't cut at exact times",
        }
        for name, reason in given.items():
            if getattr(self, name):
                raise ValueError(f"audio_codec copy and {name} exclude each other: of sound that is copied, {reason}")


class TranscodeSettings(BaseModel, frozen=True, extra="forbid"):
    """A profile with the user's overrides applied.

    ``overridden_video`` and ``overridden_audio``: the user asked for an encoder setting, so a stream that would
    conform is encoded all the same. ``copied_audio``: the user asked for sound as it is; a profile that copies it
    encodes what the container can't hold. ``audio_bitrate_bps`` is the user's and holds for any channel count.
    """

    profile: str
    container: ContainerName
    video: VideoSettings | None
    audio: AudioSettings | None
    deinterlace: Deinterlace = "auto"
    crop: CropText | None = None
    damage: DamagePolicy = "conceal"
    start_s: float | None = None
    end_s: float | None = None
    audio_bitrate_bps: int | None = None
    loudness_lufs: float | None = None
    overridden_video: bool = False
    overridden_audio: bool = False
    copied_audio: bool = False


def load_profiles(folder: Path) -> dict[str, Profile]:
    """Read every ``*.toml`` of ``folder``; a profile's name is its file's name without the ending.

    Raises:
        ProfileError: naming the file and the field.
    """
    return {path.stem: _load_profile(path) for path in sorted(folder.glob("*.toml"))}


def _load_profile(path: Path) -> Profile:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        return Profile.model_validate({"name": path.stem, **values})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileError(f"Profile {path.name} isn't valid TOML: {error}.", file=path.name) from error
    except ValidationError as error:
        field, reason = _first_mistake(error)
        raise ProfileError(f"Profile {path.name}: {field}: {reason}.", file=path.name, field=field) from error


def merge(profile: Profile, params: TranscodeParams) -> TranscodeSettings:
    """Apply ``params`` to ``profile``.

    Raises:
        ParamsError: the two together ask for something that can't be.
    """
    try:
        return TranscodeSettings(
            profile=profile.name,
            container=profile.container,
            video=_merge_video(profile, params),
            audio=_merge_audio(profile, params),
            deinterlace=params.deinterlace,
            crop=params.crop,
            damage=params.damage,
            start_s=params.start or None,
            end_s=params.end,
            audio_bitrate_bps=params.audio_bitrate,
            loudness_lufs=params.loudness,
            overridden_video=any(
                value is not None for value in (params.codec, params.preset, params.crf, params.bitrate)
            ),
            overridden_audio=params.audio_bitrate is not None,
            copied_audio=params.audio_codec == "copy",
        )
    except ValidationError as error:
        field, reason = _first_mistake(error)
        raise ParamsError(f"{field}: {reason}.".removeprefix("settings: "), field=field) from error


def _merge_video(profile: Profile, params: TranscodeParams) -> VideoSettings | None:
    asked = params.model_dump(
        include={"codec", "preset", "crf", "bitrate", "max_bitrate", "height", "frame_rate"}, exclude_none=True
    )
    if profile.video is None:
        unfit = [*asked, *(["crop"] if params.crop else [])]
        if unfit:
            raise ParamsError(f"Profile {profile.name} has no video; leave out {_listed(unfit)}.")
        return None
    codec = asked.get("codec", profile.video.codec)
    if codec not in VIDEO_CODECS[profile.container]:
        raise ParamsError(
            f"{profile.container} can't hold {codec}; take one of {_listed(VIDEO_CODECS[profile.container])}.",
            field="codec",
        )
    values = profile.video.model_dump()
    if codec != profile.video.codec:
        preset, crf, pixel_formats = _CODEC_DEFAULTS[codec]
        values |= {"preset": preset, "crf": crf, "bitrate": None, "pixel_formats": pixel_formats}
        values["hdr"] = "keep" if profile.video.hdr == "keep" and len(pixel_formats) > 1 else "tonemap"
    if "bitrate" in asked:
        values["crf"] = None
        if values["max_bitrate"] is not None and "max_bitrate" not in asked:
            values["max_bitrate"] = max(values["max_bitrate"], asked["bitrate"])
    if "crf" in asked:
        values["bitrate"] = None
    if params.hdr != "auto":
        values["hdr"] = params.hdr
    return VideoSettings.model_validate(values | asked)


def _merge_audio(profile: Profile, params: TranscodeParams) -> AudioSettings | None:
    codec = params.audio_codec
    if codec is not None and codec not in AUDIO_CODECS[profile.container]:
        raise ParamsError(
            f"{profile.container} can't hold {codec}; take one of {_listed(AUDIO_CODECS[profile.container])}.",
            field="audio_codec",
        )
    if profile.audio is None and codec is None and params.loudness is not None:
        raise ParamsError(f"Profile {profile.name} has no sound; leave out loudness.", field="loudness")
    if profile.audio is None:
        return None if codec is None else AudioSettings(codec=codec)
    if codec is None or codec == profile.audio.codec:
        return profile.audio
    return profile.audio.model_copy(update={"codec": codec, "bitrate": None})


def rate_of(text: str | None) -> Fraction | None:
    """A frame rate as it travels ("30000/1001") as a fraction."""
    return Fraction(text) if text else None


def _first_mistake(error: ValidationError) -> tuple[str, str]:
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or "settings"
    return field, first["msg"].removeprefix("Value error, ")


def _listed(names: Iterable[str]) -> str:
    """In order, numbers by their size."""
    return ", ".join(sorted(names, key=lambda name: (int(name) if name.isdecimal() else 0, name)))
