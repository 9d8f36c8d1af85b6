"""Clips for whole-system tests: made once, with a size and length that take a wanted time to encode."""

import hashlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def make_clip(path: Path, *, seconds: float = 10, width: int = 640, height: int = 360, fps: int = 25) -> Path:
    """A moving, noisy picture with a tone: not free to encode. MPEG-4 part 2 and PCM, so that nothing is copied."""
    noise = np.random.default_rng(7).integers(0, 60, (height * 2, width * 2, 3), dtype=np.uint8)
    x, y = np.arange(width), np.arange(height)[:, None]
    ramps = np.empty((height, width, 3), np.uint8)
    ramps[..., 2] = (x + y) // 4 % 256 // 2
    with av.open(str(path), "w", format="matroska") as container:
        video = container.add_stream("mpeg4", rate=fps)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.bit_rate = 4_000_000
        audio = container.add_stream("pcm_s16le", rate=48_000, layout="stereo")
        for index in range(int(seconds * fps)):
            ramps[..., 0] = (x + index * 3) % 256 // 2
            ramps[..., 1] = (y * 2 + index) % 256 // 2
            row, column = index * 5 % height, index * 7 % width
            picture = ramps + noise[row : row + height, column : column + width]
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, fps)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        total = int(seconds * 48_000)
        tone = (np.sin(np.arange(total) * 440 * 2 * np.pi / 48_000) * 8000).astype(np.int16)
        for start in range(0, total, 4800):
            part = tone[start : start + 4800]
            chunk = av.AudioFrame.from_ndarray(np.repeat(part, 2)[None, :], format="s16", layout="stereo")
            chunk.sample_rate, chunk.pts, chunk.time_base = 48_000, start, Fraction(1, 48_000)
            container.mux(audio.encode(chunk))
        container.mux(audio.encode(None))
    return path


def picture_digest(path: Path) -> str:
    """Of the decoded pictures and when they are shown."""
    digest = hashlib.sha256()
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            digest.update(f"{frame.pts * frame.time_base}".encode())
            digest.update(frame.to_ndarray().tobytes())
    return digest.hexdigest()


def frames_and_duration(path: Path) -> tuple[int, float]:
    """Decoded video frames, and the end of the last one in seconds."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        count, end = 0, 0.0
        for frame in container.decode(stream):
            count += 1
            end = max(end, float(frame.pts * frame.time_base))
    return count, round(end, 3)
