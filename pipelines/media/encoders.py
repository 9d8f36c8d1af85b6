"""Which encoders work here, tried out. ``python -m pipelines.media.encoders`` prints JSON."""

import json
import sys
from fractions import Fraction
from typing import Literal

import av
import av.error
import numpy as np
from pydantic import BaseModel

SOFTWARE_VIDEO = ("libx264", "libx265", "libsvtav1", "libvpx-vp9")
HARDWARE_VIDEO = ("h264_nvenc", "hevc_nvenc", "av1_nvenc", "h264_qsv", "hevc_qsv", "h264_vaapi")
AUDIO = ("aac", "libopus", "libmp3lame")
_FRAMES = 3
_WIDTH, _HEIGHT = 256, 144  # NVENC refuses smaller pictures
_RATE_HZ = 48_000


class EncoderCheck(BaseModel, frozen=True, extra="forbid"):
    """Whether an encoder made packets of a few frames; ``detail`` says why not. Hardware is optional."""

    name: str
    kind: Literal["video", "audio"]
    hardware: bool
    works: bool
    detail: str = ""


def try_encoder(name: str) -> EncoderCheck:
    """Encode a few grey frames, or silence, with an encoder of the lists above."""
    kind: Literal["video", "audio"] = "audio" if name in AUDIO else "video"
    try:
        size = _audio_bytes(name) if kind == "audio" else _video_bytes(name)
        detail = "" if size else "it made no packets"
    except (av.error.FFmpegError, ValueError, TypeError) as error:
        size, detail = 0, getattr(error, "strerror", None) or str(error) or type(error).__name__
    return EncoderCheck(name=name, kind=kind, hardware=name in HARDWARE_VIDEO, works=size > 0, detail=detail)


def main() -> None:
    """Try all of them."""
    av.logging.set_level(None)
    checks = [try_encoder(name) for name in (*SOFTWARE_VIDEO, *AUDIO, *HARDWARE_VIDEO)]
    sys.stdout.write(json.dumps([check.model_dump() for check in checks]) + "\n")


def _video_bytes(name: str) -> int:
    context = av.CodecContext.create(name, "w")
    if not isinstance(context, av.VideoCodecContext):
        raise TypeError("no video encoder")
    context.width, context.height, context.pix_fmt = _WIDTH, _HEIGHT, "yuv420p"
    context.time_base = Fraction(1, 25)
    context.framerate = Fraction(25)
    size = 0
    for number in range(_FRAMES):
        grey = np.full((_HEIGHT * 3 // 2, _WIDTH), 128, np.uint8)
        frame = av.VideoFrame.from_ndarray(grey, format="yuv420p")
        frame.pts, frame.time_base = number, context.time_base
        size += sum(packet.size for packet in context.encode(frame))
    return size + sum(packet.size for packet in context.encode(None))


def _audio_bytes(name: str) -> int:
    context = av.CodecContext.create(name, "w")
    if not isinstance(context, av.AudioCodecContext):
        raise TypeError("no audio encoder")
    context.sample_rate, context.layout = _RATE_HZ, "stereo"
    context.format = {"libopus": "flt"}.get(name, "fltp")
    context.time_base = Fraction(1, _RATE_HZ)
    context.open()
    count = context.frame_size or 1024
    size = 0
    for number in range(10):
        frame = av.AudioFrame(format=context.format.name, layout="stereo", samples=count)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.sample_rate, frame.pts, frame.time_base = _RATE_HZ, number * count, context.time_base
        size += sum(packet.size for packet in context.encode(frame))
    return size + sum(packet.size for packet in context.encode(None))


if __name__ == "__main__":
    main()
