"""Side data of a stream: display matrix, HDR metadata, Dolby Vision.

PyAV shows a frame's side data but not a stream's. libav's own dump of the headers tells which a stream has, in a
tenth of a millisecond; only what the dump leaves out is read from the first decoded frame.
"""

import math
import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import av
from av.container import InputContainer
from av.sidedata.sidedata import SideData, Type
from av.video.frame import VideoFrame

from pipelines.media.info import ContentLight, MasteringDisplay, QuarterTurn

_STREAM = re.compile(r"^  Stream #0:(\d+)", re.MULTILINE)
_NUMBER = r"(-?[\d.]+)"
_PAIR = rf"\({_NUMBER}[, ]+{_NUMBER}\)"
_MASTERING = re.compile(
    rf"has_primaries:1 has_luminance:1 r{_PAIR} g{_PAIR} b{_PAIR} wp{_PAIR} "
    rf"min_luminance={_NUMBER}, max_luminance={_NUMBER}"
)
_CONTENT_LIGHT = re.compile(r"MaxCLL=(\d+), MaxFALL=(\d+)")
_DOLBY_VISION = re.compile(r"DOVI configuration record: .*?profile: (\d+)")


@dataclass(frozen=True)
class HeaderSideData:
    """What a stream's header says. ``turned``: it has a display matrix, whose values the dump doesn't tell."""

    turned: bool = False
    mastering_display: MasteringDisplay | None = None
    content_light: ContentLight | None = None
    dolby_vision_profile: int | None = None


@dataclass(frozen=True)
class Orientation:
    """How a player shows the decoded picture: mirrored left to right if so, then turned clockwise."""

    rotation_deg: QuarterTurn = 0
    mirrored: bool = False


def header_side_data(container: InputContainer) -> dict[int, HeaderSideData]:
    """Side data by stream index."""
    parts = _STREAM.split(_dump(container))
    return {int(index): _parse(text) for index, text in zip(parts[1::2], parts[2::2], strict=True)}


def _dump(container: InputContainer) -> str:
    level = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)  # else libav's lines are dropped before they are captured
    try:
        return str(container.dumps_format())  # type: ignore[attr-defined]  # PyAV's stubs leave it out
    finally:
        av.logging.set_level(level)


def _parse(text: str) -> HeaderSideData:
    light = _CONTENT_LIGHT.search(text)
    dolby = _DOLBY_VISION.search(text)
    return HeaderSideData(
        turned="Display Matrix:" in text,
        mastering_display=_parse_mastering(text),
        content_light=ContentLight(max_cll=int(light[1]), max_fall=int(light[2])) if light else None,
        dolby_vision_profile=int(dolby[1]) if dolby else None,
    )


def _parse_mastering(text: str) -> MasteringDisplay | None:
    match = _MASTERING.search(text)
    return _mastering([float(value) for value in match.groups()]) if match else None


def _mastering(values: Sequence[float]) -> MasteringDisplay:
    rx, ry, gx, gy, bx, by, wx, wy, low, high = values
    return MasteringDisplay(
        red=(rx, ry), green=(gx, gy), blue=(bx, by), white=(wx, wy), min_luminance=low, max_luminance=high
    )


def first_frame(container: InputContainer, index: int) -> VideoFrame | None:
    """The first frame that decodes, looked for in a bounded number of packets."""
    stream = container.streams[index]
    for count, packet in enumerate(container.demux(stream)):
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


def orientation_of(frame: VideoFrame) -> Orientation:
    """Read the display matrix of ``frame``.

    The matrix maps a point (x, y) to (a·x + c·y, b·x + d·y), y pointing down (ISO/IEC 14496-12, tkhd).
    """
    data = _bytes_of(frame, Type.DISPLAYMATRIX)
    if data is None:
        return Orientation()
    a, b, _, c, d = struct.unpack("<5i", data[:20])
    mirrored = a * d - b * c < 0
    if mirrored:
        a, b = -a, -b
    quarter = round(math.degrees(math.atan2(b, a)) / 90) % 4
    turns: tuple[QuarterTurn, ...] = (0, 90, 180, 270)
    return Orientation(turns[quarter], mirrored)


def mastering_display_of(frame: VideoFrame) -> MasteringDisplay | None:
    data = _bytes_of(frame, Type.MASTERING_DISPLAY_METADATA)
    if data is None or len(data) < 88:
        return None
    numbers = struct.unpack("<20i2i", data[:88])
    if not (numbers[20] and numbers[21]):
        return None
    return _mastering([numbers[i] / (numbers[i + 1] or 1) for i in range(0, 20, 2)])


def content_light_of(frame: VideoFrame) -> ContentLight | None:
    data = _bytes_of(frame, Type.CONTENT_LIGHT_LEVEL)
    if data is None:
        return None
    max_cll, max_fall = struct.unpack("<2I", data[:8])
    return ContentLight(max_cll=max_cll, max_fall=max_fall)


def _bytes_of(frame: VideoFrame, kind: Type) -> bytes | None:
    items: Iterable[SideData] = frame.side_data  # type: ignore[assignment]  # a stub calls it a dict; it iterates items
    return next((bytes(item) for item in items if item.type is kind), None)
