"""What to tell of a file beyond its headers, and how long that takes on one core."""

from pydantic import BaseModel, Field

from pipelines.media.info import MediaInfo
from pipelines.media.video_plan import nominal_rate

# Measured: 4 µs of CPU a packet; 150 to 240 megapixels a second looked at; stereo heard 215 times as fast as it plays.
_READ_BYTES_PER_S = 100e6
_PACKETS_PER_S = 150e3
_SOUND_PACKETS_PER_S = 50
_PICTURES = 300
_MEGAPIXELS_PER_S = 100
_SOUND_SPEED = 150
_STARTING_S = 0.2
_PROCESS_BYTES = 160 << 20
_BYTES_PER_PIXEL = 80  # some twenty decoded pictures, some filtered ones


class ProbeSpec(BaseModel, frozen=True, extra="forbid"):
    packets: bool = Field(
        default=False,
        description="Read all of the file, without decoding: groups of pictures, bit rates by the second, frame times.",
    )
    deep: bool = Field(
        default=False,
        description="Decode as well: all sound (loudness, peaks, silences), and samples of the picture (interlaced or "
        "not, black bars, HDR10+). Takes minutes for a film. Includes packets.",
    )


def measuring_cost_s(info: MediaInfo) -> float:
    """Of reading all packets, where the headers don't tell how long it lasts."""
    return 0.0 if info.duration_s is not None else round(info.size_bytes / _READ_BYTES_PER_S, 3)


def packets_cost_s(info: MediaInfo) -> float:
    video = info.video
    rate = float(nominal_rate(video)) if video else 0.0
    packets = (info.duration_s or 0.0) * (rate + _SOUND_PACKETS_PER_S * len(info.audio))
    return round(_STARTING_S + info.size_bytes / _READ_BYTES_PER_S + packets / _PACKETS_PER_S, 3)


def picture_cost_s(info: MediaInfo) -> float:
    video = info.video
    if video is None:
        return 0.0
    pictures = min(_PICTURES, video.frames or (info.duration_s or 60.0) * float(nominal_rate(video)))
    return round(_STARTING_S + pictures * video.width * video.height / 1e6 / _MEGAPIXELS_PER_S, 3)


def sound_cost_s(info: MediaInfo) -> float:
    pairs = sum(max(1.0, track.channels / 2) for track in info.audio)
    reading_s = info.size_bytes / _READ_BYTES_PER_S
    return round(_STARTING_S + reading_s + (info.duration_s or 0.0) * pairs / _SOUND_SPEED, 3)


def picture_memory_bytes(info: MediaInfo) -> int:
    video = info.video
    if video is None:
        return _PROCESS_BYTES
    depth = 2 if (video.bit_depth or 8) > 8 else 1
    return _PROCESS_BYTES + video.width * video.height * _BYTES_PER_PIXEL * depth
