"""Decide whether a sound track can be copied, and if not, how it's encoded."""

from pipelines.media.errors import ParamsError
from pipelines.media.info import AudioInfo
from pipelines.media.plan import AudioEncode, StreamPlan
from pipelines.media.profiles import AUDIO_CODECS, AudioSettings, TranscodeSettings

# The codecs of a track that a container holds as it is, for audio codec "copy".
_COPIES = {
    "mp4": frozenset({"aac", "ac3", "eac3", "mp3", "opus", "flac", "alac"}),
    "mkv": frozenset(
        {
            "aac", "ac3", "eac3", "dts", "truehd", "mlp", "mp3", "mp2", "opus", "vorbis", "flac", "alac", "wavpack",
            "tta", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le",
        }
    ),
    "webm": frozenset({"opus", "vorbis"}),
    "mp3": frozenset({"mp3"}),
    "opus": frozenset({"opus"}),
}  # fmt: skip
_FALLBACKS = {"mp4": "aac", "mkv": "aac", "webm": "opus", "mp3": "mp3", "opus": "opus"}
_LOSSLESS = ("pcm_", "flac", "alac", "truehd", "mlp", "wavpack", "tta", "ape", "tak", "shorten")

_STEREO_BIT_RATES = {"aac": 160_000, "opus": 128_000, "mp3": 192_000, "flac": None}
_SAMPLE_RATES = {
    "aac": (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000),
    "opus": (48000,),
    "mp3": (48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000),
}
_LOSSY_SAMPLE_RATE_HZ = 48_000  # above it a lossy codec spends bits on what nobody hears
_MAX_CHANNELS = {"aac": 8, "opus": 8, "mp3": 2, "flac": 8}
LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
_LOW_RATE_MP3_MAX_BPS = 160_000  # MPEG-2 Layer III, below 32 kHz


def plan_audio(stream: AudioInfo, audio: AudioSettings, settings: TranscodeSettings) -> StreamPlan:
    """Plan the sound track ``stream``.

    Raises:
        ParamsError: it is to be copied, and the container can't hold it.
    """
    container = settings.container
    if settings.copied_audio and stream.codec not in _COPIES[container]:
        others = ", ".join(sorted(AUDIO_CODECS[container] - {"copy"}))
        raise ParamsError(
            f"{container} can't hold {stream.codec}, the sound of stream {stream.index}, as it is. "
            f"Set audio_codec to {others}, or leave it out.",
            field="audio_codec",
        )
    misfit = _first_misfit(stream, audio, settings)
    if misfit is None:
        reason = f"already {stream.codec} within the profile's bounds"
        return StreamPlan(source_index=stream.index, kind="audio", action="copy", reason=reason, codec=stream.codec)
    encoding = _encoding(stream, audio, settings)
    return StreamPlan(
        source_index=stream.index,
        kind="audio",
        action="encode",
        reason=misfit,
        codec=encoding.codec,
        audio=encoding,
    )


def _first_misfit(stream: AudioInfo, audio: AudioSettings, settings: TranscodeSettings) -> str | None:
    """Why ``stream`` can't be copied, or ``None``."""
    codec = _encoder_codec(stream, audio, settings)
    copied = audio.codec == "copy"
    misfits = {
        "the request sets its bit rate": settings.overridden_audio,
        "its loudness is set": settings.loudness_lufs is not None,
        "it is cut at exact times": settings.start_s is not None or settings.end_s is not None,
        f"the container can't hold {stream.codec}": copied and stream.codec not in _COPIES[settings.container],
        f"{stream.codec} becomes {codec}": not copied and stream.codec != audio.codec,
        f"{stream.channels} channels become {audio.max_channels}": not copied and stream.channels > audio.max_channels,
    }
    return next((reason for reason, applies in misfits.items() if applies), None)


def _encoder_codec(stream: AudioInfo, audio: AudioSettings, settings: TranscodeSettings) -> str:
    if audio.codec != "copy":
        return audio.codec
    if settings.container == "mkv" and (stream.codec or "").startswith(_LOSSLESS):
        return "flac"
    return _FALLBACKS[settings.container]


def _encoding(stream: AudioInfo, audio: AudioSettings, settings: TranscodeSettings) -> AudioEncode:
    codec = _encoder_codec(stream, audio, settings)
    channels = min(stream.channels, audio.max_channels, _MAX_CHANNELS[codec])
    sample_rate_hz = _sample_rate_hz(stream.sample_rate_hz, codec)
    bit_rate_bps = settings.audio_bitrate_bps or _bit_rate_bps(audio, codec, channels)
    return AudioEncode.model_validate(
        {
            "codec": codec,
            "bit_rate_bps": _within_codec(bit_rate_bps, codec, sample_rate_hz, channels),
            "sample_rate_hz": sample_rate_hz,
            "channel_layout": LAYOUTS[channels],
            "loudness_lufs": settings.loudness_lufs,
        }
    )


def _sample_rate_hz(source_hz: int, codec: str) -> int:
    """The codec's rate that is nearest from above, so that nothing audible is cut off; never above 48 kHz if lossy."""
    if codec not in _SAMPLE_RATES:
        return source_hz
    allowed = [rate for rate in _SAMPLE_RATES[codec] if rate <= _LOSSY_SAMPLE_RATE_HZ]
    return min((rate for rate in allowed if rate >= source_hz), default=max(allowed))


def _bit_rate_bps(audio: AudioSettings, codec: str, channels: int) -> int | None:
    stereo_bps = audio.bitrate or _STEREO_BIT_RATES[codec]
    if stereo_bps is None or codec == "flac":
        return None
    if channels == 1:
        return stereo_bps * 6 // 10  # one channel can't borrow from its pair
    return stereo_bps * channels // 2


def _within_codec(bit_rate_bps: int | None, codec: str, sample_rate_hz: int, channels: int) -> int | None:
    if bit_rate_bps is None or codec == "flac":
        return None
    if codec == "aac":  # ISO/IEC 14496-3: at most 6144 bits per channel in a frame of 1024 samples
        return min(bit_rate_bps, 6 * sample_rate_hz * channels)
    if codec == "mp3":
        return min(bit_rate_bps, 320_000 if sample_rate_hz >= 32_000 else _LOW_RATE_MP3_MAX_BPS)
    return max(min(bit_rate_bps, 256_000 * channels), 6_000)
