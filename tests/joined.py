"""Films with known cuts, dissolves and fades, joined from real clips and photos, and with what looks like a cut."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

WIDTH, HEIGHT = 320, 180
# Clips and which of their frames are of one shot, then photos; two of one camera, by the first part of their names,
# never follow each other.
CLIPS = {
    "clouds": ("video/vp8_vorbis_720p_30s_bbb.webm", 95, 282),
    "flowers": ("video/vp8_vorbis_720p_30s_bbb.webm", 284, 375),
    "bird": ("video/vp8_vorbis_720p_30s_bbb.webm", 377, 550),
    "hole": ("video/vp8_vorbis_720p_30s_bbb.webm", 552, 720),
    "road-1": ("video/h264_aac_768x432_30s_cars.mp4", 0, 180),
    "road-2": ("video/h264_aac_768x432_30s_cars.mp4", 190, 377),
    "geese": ("video/mpeg4_mp3_960x400.avi", 36, 96),
    "testcard": ("video/h264_444_chapters.mkv", 0, 150),
    "dark-1": ("video/h264_two_video_two_audio_subs.mp4", 0, 120),
    "lift": ("video/h264_two_video_two_audio_subs.mp4", 155, 200),
    "dark-2": ("video/h264_two_video_two_audio_subs.mp4", 205, 325),
    "plane": ("bad/video/failing_audio.mp4", 0, 75),
    "airfield": ("bad/video/failing_audio.mp4", 120, 190),
    "face": ("video/quality_reference_carphone.mp4", 0, 120),
    "night": ("video/h264_pcm_1080p50.mov", 0, 100),
    "valley": ("video/av1_10bit_hdr10_1080p60.mp4", 0, 60),
    "bunny": ("video/h264_aac51_720p_bbb.mp4", 20, 132),
}
PHOTOS = (
    *("jpeg_12mp_gainmap.jpg", "jpeg_adobergb_xmp.jpg", "jpeg_progressive_icc.jpg", "jpeg_gps.jpg"),
    *("mpo_multi_picture.mpo", "jpeg_exif_orientation_1.jpg", "jpeg_iptc.jpg", "avif_exif.avif"),
)
_PHOTO_FRAMES = 100

Frames = NDArray[np.uint8]  # (count, HEIGHT, WIDTH, 3): RGB


@dataclass(frozen=True)
class Change:
    """From one shot to the next: its first and last frame that is neither wholly one nor the other.

    Of a cut both are the first frame of the new shot.
    """

    kind: Literal["cut", "dissolve", "fade"]
    first: int
    last: int


@dataclass(frozen=True)
class Score:
    """How many changes were found of how many, by kind, and what was found where there is none."""

    found: dict[str, int]
    all: dict[str, int]
    false: tuple[int, ...]

    @property
    def recall(self) -> float:
        return sum(self.found.values()) / sum(self.all.values())

    @property
    def precision(self) -> float:
        hits = sum(self.found.values())
        return hits / (hits + len(self.false))


def shots(media: Path) -> dict[str, Frames]:
    """All shots, from the folder of shared media."""
    clips = {name: _clip(media / path, first, end) for name, (path, first, end) in CLIPS.items()}
    return clips | {name: _moved_over(media / "image" / name, number) for number, name in enumerate(PHOTOS)}


def joined(material: dict[str, Frames], count: int, seed: int, gradual: float = 0.3) -> tuple[Frames, list[Change]]:
    """A film of ``count`` shots of 18 to 90 frames, a share of whose changes is gradual."""
    random = np.random.default_rng(seed)
    parts: list[Frames] = []
    changes: list[Change] = []
    for name in _names(list(material), count, random):
        shot, length = _taken(material[name], random), sum(map(len, parts))
        kind, least = random.random(), min(len(parts[-1]), len(shot)) if parts else 0
        if not parts:
            parts.append(shot)
        elif kind >= gradual or least < 14:
            changes.append(Change("cut", length, length))
            parts.append(shot)
        elif kind < gradual / 2:
            frames = int(min(random.integers(8, 32), least - 6))
            changes.append(Change("dissolve", length - frames, length - 1))
            parts[-1:] = _dissolve(parts[-1], shot, frames)
        else:
            frames, black = int(min(random.integers(5, 20), least - 4)), int(random.integers(1, 10))
            changes.append(Change("fade", length - frames, length + black + frames - 1))
            parts[-1:] = _fade(parts[-1], shot, frames, black)
    return np.concatenate(parts), changes


def scored(found: Sequence[int], changes: Sequence[Change]) -> Score:
    """Match frames that were found with changes: within 2 frames of a cut, and 4 of what is gradual."""
    left = list(found)
    hits = {"cut": 0, "dissolve": 0, "fade": 0}
    for change in changes:
        slack = 2 if change.kind == "cut" else 4
        near = [number for number in left if change.first - slack <= number <= change.last + slack]
        if near:
            left.remove(min(near, key=lambda number: abs(number - (change.first + change.last) / 2)))
            hits[change.kind] += 1
    counts = {kind: sum(change.kind == kind for change in changes) for kind in hits}
    return Score(hits, counts, tuple(left))


def _names(names: list[str], count: int, random: np.random.Generator) -> list[str]:
    chosen: list[str] = []
    while len(chosen) < count:
        name = names[random.integers(len(names))]
        if not chosen or name.partition("-")[0] != chosen[-1].partition("-")[0]:
            chosen.append(name)
    return chosen


def _clip(path: Path, first: int, end: int) -> Frames:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        frames = itertools.islice(container.decode(stream), first, end)
        return np.stack([f.reformat(WIDTH, HEIGHT, "rgb24", interpolation="AREA").to_ndarray() for f in frames])


def _moved_over(path: Path, seed: int) -> Frames:
    """A photo that the camera moves over and into."""
    random = np.random.default_rng(seed)
    with Image.open(path) as opened:
        photo = ImageOps.exif_transpose(opened).convert("RGB")
    photo.thumbnail((1400, 1400))
    begin, end = (_box(photo.size, random) for _ in range(2))
    shares = np.linspace(0, 1, _PHOTO_FRAMES)[:, None]
    boxes = (1 - shares) * begin + shares * end
    bilinear = Image.Resampling.BILINEAR
    return np.stack([np.asarray(photo.resize((WIDTH, HEIGHT), bilinear, box=tuple(box))) for box in boxes])


def _box(size: tuple[int, int], random: np.random.Generator) -> NDArray[np.float64]:
    width = min(size[0], size[1] * WIDTH / HEIGHT) * random.uniform(0.45, 0.9)
    height = width * HEIGHT / WIDTH
    left, top = (size[0] - width) * random.random(), (size[1] - height) * random.random()
    return np.array([left, top, left + width, top + height])


def _taken(shot: Frames, random: np.random.Generator) -> Frames:
    """A part of a shot, maybe backwards or mirrored, and maybe with what is easily taken for a cut."""
    length = int(min(len(shot), random.integers(18, 90)))
    begin = int(random.integers(0, len(shot) - length + 1))
    part = shot[begin : begin + length]
    part = part[::-1] if random.random() < 0.2 else part
    part = (part[:, :, ::-1] if random.random() < 0.3 else part).copy()
    trouble, middle = random.random(), int(random.integers(15, max(16, length - 15)))
    if length <= 40 or trouble > 0.42:
        return part
    if trouble < 0.10:
        flash = slice(middle, middle + int(random.integers(1, 4)))
        part[flash] = np.clip(part[flash].astype(int) + int(random.integers(80, 200)), 0, 255)
    elif trouble < 0.18:
        part[middle:, 150:165, 60:260] = 255  # a subtitle
    elif trouble < 0.26:
        shaken = random.integers(-6, 7, (length, 2))
        part = np.stack([np.roll(frame, tuple(by), (0, 1)) for frame, by in zip(part, shaken, strict=True)])
    elif trouble < 0.34:
        speed = int(random.integers(8, 25))
        part = np.stack([np.roll(frame, number * speed, 1) for number, frame in enumerate(part)])
    else:
        part = np.clip(part + random.normal(0, 12, part.shape), 0, 255).astype(np.uint8)
    return part


def _dissolve(before: Frames, after: Frames, frames: int) -> list[Frames]:
    share = (np.arange(1, frames + 1) / (frames + 1))[:, None, None, None]
    mixed = ((1 - share) * before[-frames:] + share * after[:frames]).astype(np.uint8)
    return [before[:-frames], mixed, after[frames:]]


def _fade(before: Frames, after: Frames, frames: int, black: int) -> list[Frames]:
    share = (np.arange(1, frames + 1) / (frames + 1))[:, None, None, None]
    out, back = (before[-frames:] * share[::-1]).astype(np.uint8), (after[:frames] * share).astype(np.uint8)
    return [before[:-frames], out, np.zeros((black, *after.shape[1:]), np.uint8), back, after[frames:]]
