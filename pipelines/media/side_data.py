"""Side data of a stream: display matrix, HDR metadata, Dolby Vision, stereoscopy and more.

PyAV shows a frame's side data but not a stream's. libav's own dump of the headers tells a stream's; only what the dump
leaves out, the values of a display matrix, is read from the first decoded frame.
"""

import math
import re
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import av
from av.container import InputContainer
from av.sidedata.sidedata import SideData, Type
from av.video.frame import VideoFrame

from pipelines.media.demuxing import packets_of
from pipelines.media.info import ContentLight, MasteringDisplay, QuarterTurn
from pipelines.media.side_data_info import AmbientViewing, DolbyVision, RateControl, ReplayGain, Spherical, Stereo3d

T = TypeVar("T")

_NUMBER = r"(-?\d+(?:\.\d+)?)"
_PAIR = rf"\({_NUMBER}[, ]+{_NUMBER}\)"
_MASTERING = re.compile(
    rf"has_primaries:1 has_luminance:1 r{_PAIR} g{_PAIR} b{_PAIR} wp{_PAIR} "
    rf"min_luminance={_NUMBER}, max_luminance={_NUMBER}"
)
_CONTENT_LIGHT = re.compile(r"MaxCLL=(\d+), MaxFALL=(\d+)")
_DOLBY_VISION = re.compile(
    r"version: (\d+\.\d+), profile: (\d+), level: (\d+), rpu flag: (\d), el flag: (\d), bl flag: (\d), "
    r"compatibility id: (\d+)(?:, compression: (\d+))?"
)
_ROTATION = re.compile(rf"rotation of {_NUMBER} degrees")
_STEREO = re.compile(
    rf"(.+?)(?:, view: (.+?), primary eye: (\w+))?(?:, baseline: (\d+))?"
    rf"(?:, horizontal_disparity_adjustment: {_NUMBER})?(?:, horizontal_field_of_view: {_NUMBER})?( \(inverted\))?"
)
_SPHERICAL = re.compile(rf"([a-z ]+?)(?: \({_NUMBER}/{_NUMBER}/{_NUMBER}\))?(?: \[.*\])?")
_AMBIENT = re.compile(rf"ambient_illuminance={_NUMBER}, ambient_light_x={_NUMBER}, ambient_light_y={_NUMBER}")
_RATE_CONTROL = re.compile(r"bitrate max/min/avg: (\d+)/(\d+)/(\d+) buffer size: (\d+) .*")
_GAIN = re.compile(rf"(track|album) gain - {_NUMBER}")
_GAIN_TAG = re.compile(r"replaygain_(track|album)_(gain|peak)", re.IGNORECASE)
_LEADING_NUMBER = re.compile(r"\s*([-+]?\d{1,6}(?:\.\d+)?)")


@dataclass(frozen=True)
class HeaderSideData:
    """What a stream's header says. ``turned_deg``: how far clockwise its display matrix turns, as far as it's told."""

    turned_deg: float | None = None
    mastering_display: MasteringDisplay | None = None
    content_light: ContentLight | None = None
    dolby_vision: DolbyVision | None = None
    ambient_viewing: AmbientViewing | None = None
    stereo_3d: Stereo3d | None = None
    spherical: Spherical | None = None
    rate_control: RateControl | None = None


@dataclass(frozen=True)
class Orientation:
    """How a player shows the decoded picture: mirrored left to right if so, then turned clockwise."""

    rotation_deg: QuarterTurn = 0
    mirrored: bool = False
    matrix: tuple[int, ...] | None = None


def header_side_data(texts: Mapping[str, str]) -> HeaderSideData:
    """Read libav's texts of a stream's side data, by its name for the kind."""

    def read(kind: str, pattern: re.Pattern[str], make: Callable[[re.Match[str]], T]) -> T | None:
        found = pattern.fullmatch(texts.get(kind, ""))
        return make(found) if found else None

    return HeaderSideData(
        turned_deg=read("Display Matrix", _ROTATION, lambda found: -float(found[1])),
        mastering_display=read("Mastering display metadata", _MASTERING, lambda m: _mastering(_floats(m))),
        content_light=read("Content light level metadata", _CONTENT_LIGHT, _content_light),
        dolby_vision=read("DOVI configuration record", _DOLBY_VISION, _dolby_vision),
        ambient_viewing=read("Ambient viewing environment", _AMBIENT, _ambient),
        stereo_3d=read("Stereo 3D", _STEREO, _stereo),
        spherical=read("Spherical Mapping", _SPHERICAL, _spherical),
        rate_control=read("CPB properties", _RATE_CONTROL, _rate_control),
    )


def _floats(found: re.Match[str]) -> list[float]:
    return [float(value) for value in found.groups()]


def _mastering(values: Sequence[float]) -> MasteringDisplay:
    rx, ry, gx, gy, bx, by, wx, wy, low, high = values
    return MasteringDisplay(
        red=(rx, ry), green=(gx, gy), blue=(bx, by), white=(wx, wy), min_luminance=low, max_luminance=high
    )


def _content_light(found: re.Match[str]) -> ContentLight:
    return ContentLight(max_cll=int(found[1]), max_fall=int(found[2]))


def _dolby_vision(found: re.Match[str]) -> DolbyVision:
    return DolbyVision(
        version=found[1],
        profile=int(found[2]),
        level=int(found[3]),
        rpu=found[4] == "1",
        el=found[5] == "1",
        bl=found[6] == "1",
        compatibility_id=int(found[7]),
        compression=int(found[8]) if found[8] else None,
    )


def _ambient(found: re.Match[str]) -> AmbientViewing:
    illuminance, x, y = _floats(found)
    return AmbientViewing(illuminance_lux=illuminance, white=(x, y))


def _stereo(found: re.Match[str]) -> Stereo3d:
    layout, view, eye, baseline, _, field_of_view, inverted = found.groups()
    return Stereo3d(
        layout=layout,
        view=view,
        primary_eye=None if eye == "none" else eye,
        inverted=inverted is not None,
        baseline_um=int(baseline) if baseline else None,
        horizontal_field_of_view_deg=float(field_of_view) if field_of_view else None,
    )


def _spherical(found: re.Match[str]) -> Spherical:
    yaw, pitch, roll = (float(value or 0) for value in found.groups()[1:])
    return Spherical(projection=found[1], yaw_deg=yaw, pitch_deg=pitch, roll_deg=roll)


def _rate_control(found: re.Match[str]) -> RateControl:
    most, least, mean, buffer = (int(value) or None for value in found.groups())
    return RateControl(max_bit_rate_bps=most, min_bit_rate_bps=least, average_bit_rate_bps=mean, buffer_bits=buffer)


def replay_gain_of(texts: Mapping[str, str], tags: Mapping[str, str]) -> ReplayGain | None:
    """What tags say, and an MP3 encoder in a header of its own.

    Libav's text of a peak can't be used: it takes hundred-thousandths for parts of 2³².
    """
    gains = {f"{whose}_gain": float(value) for whose, value in _GAIN.findall(texts.get("Replay Gain", ""))}
    for name, value in tags.items():
        if (tag := _GAIN_TAG.fullmatch(name)) and (number := _LEADING_NUMBER.match(value)):
            gains[f"{tag[1]}_{tag[2]}".lower()] = float(number[1])
    if not gains:
        return None
    return ReplayGain(
        track_gain_db=gains.get("track_gain"),
        track_peak=gains.get("track_peak"),
        album_gain_db=gains.get("album_gain"),
        album_peak=gains.get("album_peak"),
    )


def first_frame(container: InputContainer, index: int) -> VideoFrame | None:
    """The first frame that decodes, looked for in a bounded number of packets."""
    stream = container.streams[index]
    for count, packet in enumerate(packets_of(container, stream)):
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            continue
        for frame in frames:
            if isinstance(frame, VideoFrame):
                return frame
        if count > 50:
            break
    return None


def orientation_of(frame: VideoFrame) -> Orientation | None:
    """Read the display matrix of ``frame``.

    The matrix maps a point (x, y) to (a·x + c·y, b·x + d·y), y pointing down (ISO/IEC 14496-12, tkhd).
    """
    data = side_data_of(frame).get(Type.DISPLAYMATRIX)
    if data is None or len(data) < 36:
        return None
    matrix = struct.unpack("<9i", data[:36])
    a, b, _, c, d = matrix[:5]
    mirrored = a * d - b * c < 0
    if mirrored:
        a, b = -a, -b
    return Orientation(quarter_turn(math.degrees(math.atan2(b, a))), mirrored, matrix)


def quarter_turn(angle_deg: float) -> QuarterTurn:
    """The whole quarter turn that is nearest."""
    turns: tuple[QuarterTurn, ...] = (0, 90, 180, 270)
    return turns[round(angle_deg / 90) % 4]


def mastering_display_of(frame: VideoFrame) -> MasteringDisplay | None:
    data = side_data_of(frame).get(Type.MASTERING_DISPLAY_METADATA)
    if data is None or len(data) < 88:
        return None
    numbers = struct.unpack("<20i2i", data[:88])
    if not (numbers[20] and numbers[21]):
        return None
    return _mastering([numbers[i] / (numbers[i + 1] or 1) for i in range(0, 20, 2)])


def content_light_of(frame: VideoFrame) -> ContentLight | None:
    data = side_data_of(frame).get(Type.CONTENT_LIGHT_LEVEL)
    if data is None:
        return None
    max_cll, max_fall = struct.unpack("<2I", data[:8])
    return ContentLight(max_cll=max_cll, max_fall=max_fall)


def side_data_of(frame: VideoFrame) -> dict[Type, bytes]:
    """The side data of a frame by its kind; none of it where there's one among it that PyAV doesn't know."""
    try:
        items: Iterable[SideData] = frame.side_data  # type: ignore[assignment]  # a stub calls it a dict
        return {item.type: bytes(item) for item in items}
    except (
        ValueError
    ):  # libav has newer kinds (EXIF, view numbers) than PyAV's list, which it makes whole or not at all
        return {}
