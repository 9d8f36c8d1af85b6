"""Rough cost of a transcode, for scheduling and for telling the user before it's done."""

from typing import TypedDict

from pipelines.media.info import MediaInfo, VideoInfo
from pipelines.media.plan import StreamPlan, VideoEncode

# Megapixels per second on one CPU of the project's machine, measured on 720p animation in chunks.
_MEGAPIXELS_PER_S = {"h264": 40.0, "hevc": 20.0, "av1": 60.0, "vp9": 25.0}
_REFERENCE_PRESETS = {"h264": "medium", "hevc": "medium", "av1": "8", "vp9": "3"}
_X26X_SPEEDS = {
    "ultrafast": 5.0, "superfast": 3.5, "veryfast": 2.5, "faster": 1.6, "fast": 1.2, "medium": 1.0, "slow": 0.55,
    "slower": 0.3, "veryslow": 0.17, "placebo": 0.05,
}  # fmt: skip
_TWO_CPUS = 1.9  # times as fast as one
_SPEED_PER_PRESET = 1.35  # SVT-AV1 and VP9: each number up is about a third faster
_GROWTH = 4.0  # a picture that was squeezed hard takes more bits at a good quality, but not without end
_TONEMAP_MEGAPIXELS_PER_S = 35
_SOUND_SPEED = 60  # times as fast as it plays
_COPY_BYTES_PER_S = 200e6

# Bits per pixel at the reference quality, and how many CRF steps halve them.
_BITS_PER_PIXEL = {
    "h264": (0.07, 22, 6.0),
    "hevc": (0.09, 20, 6.0),
    "av1": (0.06, 30, 12.0),
    "vp9": (0.065, 31, 12.0),
}

# Bytes of memory for each pixel, of source and output: frames that wait in decoder and encoder (measured, one thread).
_BYTES_PER_PIXEL = {"h264": 200, "hevc": 220, "av1": 240, "vp9": 170}
_DECODER_BYTES_PER_PIXEL = 40
_PROCESS_BYTES = 160 << 20


class Estimate(TypedDict):
    estimated_frames: int | None
    estimated_size_bytes: int | None
    estimated_seconds: float | None


def estimate(info: MediaInfo, streams: tuple[StreamPlan, ...], duration_s: float | None) -> Estimate:
    if duration_s is None:
        return Estimate(estimated_frames=None, estimated_size_bytes=None, estimated_seconds=None)
    share = min(1.0, duration_s / info.duration_s) if info.duration_s else 1.0
    frames: int | None = None
    size_bits = 0.0
    seconds = 0.2 + info.size_bytes * share / _COPY_BYTES_PER_S
    for stream in streams:
        if stream.video is not None:
            frames = _frames(info, stream.video, duration_s, share)
            size_bits += _video_bit_rate_bps(stream.video, info) * duration_s
            seconds += picture_cost_s(stream.video, frames) / _TWO_CPUS
        elif stream.audio is not None:
            size_bits += (stream.audio.bit_rate_bps or 700_000) * duration_s
            seconds += sound_cost_s(duration_s)
        elif stream.action == "copy":
            size_bits += _source_bit_rate_bps(info, stream.source_index) * duration_s
            frames = info.video.frames if info.video and info.video.index == stream.source_index else frames
    return Estimate(
        estimated_frames=frames, estimated_size_bytes=round(size_bits / 8), estimated_seconds=round(seconds, 2)
    )


def picture_cost_s(video: VideoEncode, frames: int) -> float:
    """Seconds that encoding ``frames`` takes on one CPU."""
    megapixels = frames * video.width * video.height / 1e6
    codec, preset = video.settings.codec, video.settings.preset
    if codec in {"h264", "hevc"}:
        speed = _X26X_SPEEDS[preset]
    else:
        speed = _SPEED_PER_PRESET ** (int(preset) - int(_REFERENCE_PRESETS[codec]))
    return megapixels / (_MEGAPIXELS_PER_S[codec] * speed) + (megapixels / _TONEMAP_MEGAPIXELS_PER_S) * video.tonemap


def sound_cost_s(duration_s: float | None) -> float:
    """Seconds that encoding a sound track takes on one CPU."""
    return (duration_s or 0.0) / _SOUND_SPEED


def picture_memory_bytes(video: VideoEncode, source: VideoInfo) -> int:
    """What encoding the picture takes on one thread, at most."""
    depth = 2 if video.pixel_format.endswith("10le") else 1
    encoder = video.width * video.height * _BYTES_PER_PIXEL[video.settings.codec] * depth
    decoder = source.width * source.height * _DECODER_BYTES_PER_PIXEL * (2 if (source.bit_depth or 8) > 8 else 1)
    return _PROCESS_BYTES + encoder + decoder


def _frames(info: MediaInfo, video: VideoEncode, duration_s: float, share: float) -> int:
    if info.video is not None and info.video.frames and not video.capped and video.telecine_rate is None:
        return round(info.video.frames * share)
    return round(duration_s * float(video.frame_rate))


def _video_bit_rate_bps(video: VideoEncode, info: MediaInfo) -> float:
    settings = video.settings
    if settings.bitrate is not None:
        return settings.bitrate
    reference, reference_crf, halving = _BITS_PER_PIXEL[settings.codec]
    per_pixel = reference * 2 ** ((reference_crf - (settings.crf or reference_crf)) / halving)
    rate = per_pixel * video.width * video.height * float(video.frame_rate)
    bounds = [rate, settings.max_bitrate or rate]
    if info.bit_rate_bps:
        bounds.append(info.bit_rate_bps * _GROWTH)
    return min(bounds)


def _source_bit_rate_bps(info: MediaInfo, index: int) -> int:
    stream = next(s for s in info.streams if s.index == index)
    if stream.bit_rate_bps:
        return stream.bit_rate_bps
    return (info.bit_rate_bps or 0) if stream.kind == "video" else 0
