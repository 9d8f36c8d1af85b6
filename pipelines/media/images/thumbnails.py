"""Make renditions of an image: several sizes of one decode, upright, in sRGB; of its metadata what is to be kept."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.media.images.animation import Timing, duration_ms, moving_frames, plays
from pipelines.media.images.colour import rgb_of_hex, with_channels
from pipelines.media.images.crop import window
from pipelines.media.images.encode import check_sides, encoded, written
from pipelines.media.images.geometry import Placement, place
from pipelines.media.images.header import bytes_of, check_size, describe, open_image
from pipelines.media.images.info import ImageInfo
from pipelines.media.images.metadata.carried import carried
from pipelines.media.images.picture import as_shown, warnings_of
from pipelines.media.images.pixels import Pixels, decode
from pipelines.media.images.placeholder import blurhash
from pipelines.media.images.room import ROOM, Room
from pipelines.media.images.scaling import flattened
from pipelines.media.images.thumbnail_spec import ThumbnailSpec, ThumbnailsResult, label_of, memory_bytes
from pipelines.media.source import Source, name_of

_HASHED_SIDE = 64  # pixels: more tell a BlurHash nothing
_WHITE = (255, 255, 255)
_STILL = "It is no animation: this is a still."


def thumbnails(source: Source, target: Path, spec: ThumbnailSpec, room: Room = ROOM) -> ThumbnailsResult:
    """Write the renditions: ``target`` without an extension is what their names begin with, their sizes follow.

    Raises:
        SourceError: it's no image that is read here, or it's damaged.
        LimitError: it has too many pixels or bytes, or is too large for the format.
        OutOfSpaceError, EncodeError: see ``mux``.
    """
    with room.place() as take:
        return _made(source, target, spec, take)


def _made(source: Source, target: Path, spec: ThumbnailSpec, take: Callable[[int], None]) -> ThumbnailsResult:
    name = name_of(source)
    data = bytes_of(source)
    with open_image(data, name) as image:
        info = describe(image, name, spec.frame)
        placements = [place(info.width, info.height, *spec.box(size), enlarge=spec.enlarge) for size in spec.sizes]
        needed = max(each.scaled[0] for each in placements), max(each.scaled[1] for each in placements)
        check_size(needed, f"A rendition of {name}")  # enlarged, or made to cover a box, it has no other bound
        for each in placements:
            check_sides(each.size, spec.format, f"A rendition of {name}")
        take(memory_bytes(info, spec))
        if spec.animated and info.is_moving:
            numbers = moving_frames(image, info, name)
            pixels, timing = _moving(data, image, name, numbers, needed)
            warnings = warnings_of(info)
        else:
            pixels, timing = [decode(data, image, info, name, needed)], None
            warnings = (*warnings_of(info, spec.frame), *((_STILL,) if spec.animated else ()))
        along = carried(data, image, spec.keep)
    files = []
    for size, placement in zip(spec.sizes, placements, strict=True):
        shown = _rendered(pixels, placement, spec)
        made = along.within(encoded(shown, spec.format, spec.quality, timing), spec.format, placement.size)
        files.append(written(target, f"-{label_of(size)}", made, spec.format, placement.size))
    blurhash = _blurhash(pixels[0], info) if spec.placeholder else None
    warnings = (*warnings, *_alike(info, placements, spec))
    return ThumbnailsResult(source=info, files=tuple(files), warnings=warnings, blurhash=blurhash)


def _alike(info: ImageInfo, placements: Sequence[Placement], spec: ThumbnailSpec) -> tuple[str, ...]:
    """Tell renditions that have the same pixels, since the image has fewer than were asked for."""
    short = {
        label_of(size): each
        for size, each in zip(spec.sizes, placements, strict=True)
        if each != place(info.width, info.height, *spec.box(size), enlarge=True)
    }
    counted = Counter(short.values())
    alike = [label for label, each in short.items() if counted[each] > 1]
    if not alike:
        return ()
    return (f"The renditions {', '.join(alike)} are alike: it has too few pixels for them. Set enlarge to have more.",)


def _moving(
    data: bytes, image: Image.Image, name: str, numbers: Sequence[int], needed: tuple[int, int]
) -> tuple[list[Pixels], Timing]:
    """All frames, and when they are shown."""
    pixels, durations = [], []
    for number in numbers:
        info = describe(image, name, number)
        pixels.append(decode(data, image, info, name, needed))
        durations.append(duration_ms(image))
    return pixels, Timing(tuple(durations), plays(image, info))


def _rendered(frames: Sequence[Pixels], placement: Placement, spec: ThumbnailSpec) -> list[NDArray[np.uint8]]:
    """One size of all frames, of one shape: the same part of each is shown."""
    shown: list[NDArray[np.uint8]] = []
    at: tuple[int, int] | None = None
    for pixels in frames:
        picture = as_shown(pixels, placement.scaled)
        left, top = at = at or window(picture, placement, spec)
        cut = picture[top : top + placement.size[1], left : left + placement.size[0]]
        shown.append(flattened(cut, rgb_of_hex(spec.background)) if spec.format == "jpeg" else cut)
    if len(shown) == 1:
        return shown
    channels = max(3, *(each.shape[2] for each in shown))
    return [with_channels(each, channels) for each in shown]


def _blurhash(pixels: Pixels, info: ImageInfo) -> str:
    size = place(info.width, info.height, (_HASHED_SIDE, _HASHED_SIDE), "inside").size
    small = flattened(as_shown(pixels, size), _WHITE)
    return blurhash(with_channels(small, 3))
