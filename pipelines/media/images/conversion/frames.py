"""Read what is converted: upright, in sRGB, at the size it gets; of an animation all frames."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipelines.media.images.animation import Timing, duration_ms, first_frame, moving_frames, plays
from pipelines.media.images.colour import rgb_of_hex, with_channels
from pipelines.media.images.conversion.convert_spec import ConvertSpec, memory_bytes
from pipelines.media.images.conversion.encoders import Array
from pipelines.media.images.header import describe
from pipelines.media.images.info import ImageInfo
from pipelines.media.images.picture import as_shown, warnings_of
from pipelines.media.images.pixels import decode
from pipelines.media.images.scaling import flattened

_WHITE = "#ffffff"


@dataclass(frozen=True)
class Frames:
    """``arrays`` are of one shape, (height, width, channel): 1 grey, 3 RGB, 4 RGB and alpha that isn't full.

    ``timing`` is None of a still; ``first`` is which of the source's frames the first is.
    """

    info: ImageInfo
    arrays: tuple[Array, ...]
    timing: Timing | None = None
    first: int = 0
    warnings: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        return self.arrays[0].shape[1], self.arrays[0].shape[0]

    @property
    def pixels(self) -> int:
        return self.size[0] * self.size[1] * len(self.arrays)

    @property
    def has_alpha(self) -> bool:
        return bool(self.arrays[0].shape[2] == 4)


def read_frames(
    data: bytes, image: Image.Image, name: str, spec: ConvertSpec, take: Callable[[int], None] = lambda _needed: None
) -> Frames:
    """The frames that are to be written; ``take`` is given the bytes that they need, before they are decoded.

    Raises:
        SourceError: it's damaged.
        LimitError: it has too many frames, or pixels in all.
    """
    info = describe(image, name, spec.frame or 0)
    warnings = [*warnings_of(info, spec.frame or 0)]
    numbers = _numbers(image, info, spec, name, warnings)
    take(memory_bytes(info, spec))
    shown: list[Array] = []
    durations: list[int] = []
    for number in numbers:
        # Pixels of one frame need those before, and Pillow goes through them from the first if it must.
        each = describe(image, name, number) if number or len(numbers) > 1 else info
        shown.append(_shown(data, image, each, name, spec))
        durations.append(duration_ms(image))
    if shown[0].shape[2] == 4 and spec.allowed == ("jpeg",) and spec.background is None and _is_clear(shown):
        warnings.append("JPEG has no transparency: it's white there.")
        shown = [flattened(each, rgb_of_hex(_WHITE)) for each in shown]
    arrays = _of_one_shape(shown)
    timing = Timing(tuple(durations), plays(image, info)) if len(arrays) > 1 else None
    return Frames(info, arrays, timing, numbers[0], tuple(warnings))


def _numbers(image: Image.Image, info: ImageInfo, spec: ConvertSpec, name: str, warnings: list[str]) -> tuple[int, ...]:
    """Which frames; what is left out is warned of."""
    if spec.frame is not None or info.frames == 1:
        return (min(spec.frame or 0, info.frames - 1),)
    if not info.is_moving:
        warnings.append(f"It has {info.frames} pages, of which this is the first.")
        return (0,)
    if spec.allowed == ("jpeg",):
        warnings.append(f"JPEG has no animation: of {info.frames} frames this is the first.")
        return (first_frame(image, info),)
    return moving_frames(image, info, name)


def _shown(data: bytes, image: Image.Image, info: ImageInfo, name: str, spec: ConvertSpec) -> Array:
    size = spec.placed(info.width, info.height).size
    pixels = decode(data, image, info, name, size)
    array = as_shown(pixels, size)
    return flattened(array, rgb_of_hex(spec.background)) if spec.background is not None else array


def _is_clear(arrays: list[Array]) -> bool:
    return any(each.shape[2] == 4 and int(each[..., 3].min()) < 255 for each in arrays)


def _of_one_shape(arrays: list[Array]) -> tuple[Array, ...]:
    """Without alpha that is full everywhere, and without colour where a still has none."""
    if not _is_clear(arrays):
        arrays = [each[..., :3] for each in arrays]
    channels = max(each.shape[2] for each in arrays)
    if len(arrays) == 1 and channels == 3 and _is_grey(arrays[0]):
        return (np.ascontiguousarray(arrays[0][..., :1]),)
    return tuple(with_channels(each, 3 if len(arrays) > 1 and channels == 1 else channels) for each in arrays)


def _is_grey(array: Array) -> bool:
    return bool((array[..., 0] == array[..., 1]).all() and (array[..., 1] == array[..., 2]).all())
