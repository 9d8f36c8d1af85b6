"""Make a sample clip: a sky of drifting colours, a melody, chapters and subtitles, out of nothing but arithmetic."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.subtitles.stream import SubtitleStream
from av.subtitles.subtitle import SubtitleSet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from pipelines.media.mux import write_errors

_SAMPLE_RATE_HZ = 48_000
Plane = NDArray[np.float32]

_CHAPTERS = ("Dawn", "Morning", "Noon", "Dusk")
_LINES = ("First light", "The hills wake up", "Colours everywhere", "Good night")
# Sky above and sky below, sun, hills, as RGB, for each chapter.
_PALETTES = np.array(
    [
        [[38, 35, 88], [245, 130, 110], [255, 205, 140], [45, 35, 75]],
        [[70, 140, 220], [200, 230, 245], [255, 245, 200], [40, 110, 95]],
        [[20, 110, 205], [120, 205, 240], [255, 255, 230], [25, 130, 80]],
        [[25, 20, 60], [215, 75, 95], [255, 150, 80], [30, 20, 50]],
    ],
    dtype=np.float32,
)
# BT.709, limited range.
_TO_YUV = np.array(
    [[0.18259, 0.61423, 0.06201], [-0.10064, -0.33857, 0.43922], [0.43922, -0.39894, -0.04027]], dtype=np.float32
)
_YUV_OFFSET = np.array([16, 128, 128], dtype=np.float32)
_MELODY = (0, 4, 7, 12, 11, 7, 4, 2, 0, 4, 9, 14, 12, 9, 7, 4)  # semitones above C4: C major, then its relatives
_NOTE_S = 0.5
_PARTIALS = ((1, 1.0), (2, 0.4), (3, 0.18), (4, 0.08))
_ASS_HEADER = (
    b"[Script Info]\r\nScriptType: v4.00+\r\n\r\n[V4+ Styles]\r\nFormat: Name, Fontname, Fontsize\r\n"
    b"Style: Default,Arial,16\r\n\r\n[Events]\r\nFormat: Layer, Start, End, Style, Text\r\n"
)


def make_sample(path: Path, duration_s: float = 20, width: int = 1280, height: int = 720, frame_rate: int = 25) -> Path:
    """Write an H.264 and AAC clip in Matroska (``.mkv``) or MP4, as ``path`` ends, and return ``path``."""
    matroska = path.suffix == ".mkv"
    with write_errors(), av.open(f"file:{path}", "w", format="matroska" if matroska else "mp4") as output:
        output.metadata.update(title="A day in twenty seconds", artist="mediaray", comment="Generated sample clip")
        video = _add_video(output, width, height, frame_rate)
        audio = output.add_stream("aac", rate=_SAMPLE_RATE_HZ)
        assert isinstance(audio, AudioStream)
        audio.codec_context.bit_rate = 128_000
        subtitles = output.add_stream("subrip" if matroska else "mov_text")
        assert isinstance(subtitles, SubtitleStream)
        subtitles.codec_context.subtitle_header = _ASS_HEADER
        for stream in (audio, subtitles):
            stream.metadata["language"] = "eng"
        _set_chapters(output, duration_s)
        _write_subtitles(output, subtitles, duration_s)
        _write_frames(output, video, audio, duration_s)
    return path


def _add_video(output: OutputContainer, width: int, height: int, frame_rate: int) -> VideoStream:
    video = output.add_stream("libx264", rate=frame_rate, options={"preset": "veryfast", "crf": "20"})
    assert isinstance(video, VideoStream)
    context = video.codec_context
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.time_base = Fraction(1, frame_rate)
    context.gop_size = 2 * frame_rate
    context.thread_type = "AUTO"
    context.color_range, context.color_primaries, context.color_trc, context.colorspace = 1, 1, 1, 1
    return video


def _set_chapters(output: OutputContainer, duration_s: float) -> None:
    part_ms = round(duration_s * 1000 / len(_CHAPTERS))
    output.set_chapters(
        [
            {
                "id": number + 1,
                "start": number * part_ms,
                "end": (number + 1) * part_ms,
                "time_base": Fraction(1, 1000),
                "metadata": {"title": title},
            }
            for number, title in enumerate(_CHAPTERS)
        ]
    )


def _write_subtitles(output: OutputContainer, stream: SubtitleStream, duration_s: float) -> None:
    part_ms = round(duration_s * 1000 / len(_LINES))
    for number, line in enumerate(_LINES):
        shown_ms = part_ms * 6 // 10
        text = f"{number},0,Default,,0,0,0,,{line}".encode()
        packet = stream.codec_context.encode_subtitle(SubtitleSet.create(text, 0, shown_ms))
        packet.stream = stream
        packet.time_base = Fraction(1, 1000)
        packet.pts = packet.dts = number * part_ms + part_ms // 10
        packet.duration = shown_ms
        output.mux(packet)


def _write_frames(output: OutputContainer, video: VideoStream, audio: AudioStream, duration_s: float) -> None:
    context = video.codec_context
    rate = int(context.framerate)
    samples_per_frame = _SAMPLE_RATE_HZ // rate
    sound = _melody(duration_s)
    pictures = _pictures(context.width, context.height, round(duration_s * rate))
    for number, picture in enumerate(pictures):
        frame = VideoFrame.from_ndarray(picture, format="yuv420p")
        frame.pts, frame.time_base = number, Fraction(1, rate)
        output.mux(video.encode(frame))
        begin = number * samples_per_frame
        part = AudioFrame.from_ndarray(
            np.ascontiguousarray(sound[:, begin : begin + samples_per_frame]), format="fltp", layout="stereo"
        )
        part.sample_rate, part.pts, part.time_base = _SAMPLE_RATE_HZ, begin, Fraction(1, _SAMPLE_RATE_HZ)
        output.mux(audio.encode(part))
    output.mux(video.encode(None))
    output.mux(audio.encode(None))


def _melody(duration_s: float) -> NDArray[np.float32]:
    """Bell-like notes that wander between left and right, as ``(2, samples)`` from -1 to 1."""
    count = round(duration_s * _SAMPLE_RATE_HZ)
    sound = np.zeros((2, count + 2 * _SAMPLE_RATE_HZ), np.float32)
    ring = np.arange(2 * _SAMPLE_RATE_HZ, dtype=np.float32) / _SAMPLE_RATE_HZ
    for number in range(int(duration_s / _NOTE_S)):
        pitch_hz = 261.626 * 2 ** (_MELODY[number % len(_MELODY)] / 12)
        note = sum(
            (level * np.sin(2 * np.pi * pitch_hz * partial * ring) * np.exp(-ring * (1.5 + partial)))
            for partial, level in _PARTIALS
        )
        note *= np.minimum(1, ring / 0.005)  # a soft start: no click
        left = 0.5 + 0.35 * np.sin(number * 0.7)
        begin = round(number * _NOTE_S * _SAMPLE_RATE_HZ)
        sound[0, begin : begin + ring.size] += note * left
        sound[1, begin : begin + ring.size] += note * (1 - left)
    fade = np.clip((count - np.arange(count)) / _SAMPLE_RATE_HZ, 0, 1).astype(np.float32)
    cut: NDArray[np.float32] = sound[:, :count] * fade * 0.45
    return cut


def _pictures(width: int, height: int, count: int) -> Iterator[NDArray[np.uint8]]:
    """Planar YUV 4:2:0 pictures, ``(height * 3 / 2, width)``: a sun crosses a sky above three rows of hills.

    They are drawn at half size, the size of the chroma planes: nothing in them is finer.
    """
    wide, high = width // 2, height // 2
    x = np.linspace(0, 1, wide, dtype=np.float32)[None, :]
    y = np.linspace(0, 1, high, dtype=np.float32)[:, None]
    picture = np.empty((3, high, wide), np.float32)
    for number in range(count):
        time = number / max(1, count - 1)
        sky, horizon, sun, hills = _palette(time)
        _draw_sky(picture, y, sky, horizon)
        _draw_sun(picture, x, y, time, sun, width / height)
        _draw_hills(picture, x, y, time, hills, horizon)
        yield _to_planes(picture)


def _palette(time: float) -> NDArray[np.float32]:
    """The four colours of a moment, as ``(colour, plane, 1, 1)`` in YUV."""
    place = time * (len(_PALETTES) - 1)
    first = min(int(place), len(_PALETTES) - 2)
    mixed = _PALETTES[first] + (_PALETTES[first + 1] - _PALETTES[first]) * np.float32(place - first)
    planes: NDArray[np.float32] = (mixed @ _TO_YUV.T + _YUV_OFFSET)[:, :, None, None]
    return planes


def _draw_sky(picture: Plane, y: Plane, sky: Plane, horizon: Plane) -> None:
    blend = np.clip(y * np.float32(1.25), 0, 1)
    picture[:] = sky + (horizon - sky) * blend


def _draw_sun(picture: Plane, x: Plane, y: Plane, time: float, sun: Plane, aspect: float) -> None:
    sun_x, sun_y = 0.08 + 0.84 * time, 0.75 - 0.62 * float(np.sin(np.pi * time))
    distance = np.hypot((x - np.float32(sun_x)) * np.float32(aspect), y - np.float32(sun_y))
    glow = np.exp(-((distance * np.float32(1 / 0.22)) ** 2)) * np.float32(0.75)
    glow += np.clip((np.float32(0.075) - distance) * np.float32(120), 0, 1)
    picture += (sun - picture) * np.minimum(glow, 1)


def _draw_hills(picture: Plane, x: Plane, y: Plane, time: float, hills: Plane, horizon: Plane) -> None:
    top = y.shape[0] // 2  # no ridge rises above the middle
    for row, depth in enumerate((1.0, 0.5, 0.0)):
        phase = time * (1.2 + row * 1.4) + row * 1.7
        ridge = 0.62 + row * 0.12 + 0.06 * np.sin(x * (6 + 2 * row) + phase * 2) + 0.025 * np.sin(x * 17 + phase * 5)
        inside = np.clip((y[top:] - ridge.astype(np.float32)) * np.float32(y.shape[0] / 1.5), 0, 1)
        black = _YUV_OFFSET[:, None, None]
        tone = black + (hills - black) * np.float32(0.55 + 0.3 * depth)
        tone = tone + (horizon - tone) * np.float32(0.2 * depth)
        picture[:, top:] += (tone - picture[:, top:]) * inside


def _to_planes(picture: Plane) -> NDArray[np.uint8]:
    _, high, wide = picture.shape
    luma, *chroma = picture.astype(np.uint8)
    full = VideoFrame.from_ndarray(luma, format="gray").reformat(
        width=wide * 2, height=high * 2, format="gray", interpolation="BICUBIC"
    )
    return np.concatenate([full.to_ndarray().ravel(), *(plane.ravel() for plane in chroma)]).reshape(high * 3, wide * 2)
