"""An animation's frames: which there are, how long each is shown, and how often all are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from pipelines.media.errors import LimitError
from pipelines.media.images.info import MAX_FRAME_PIXELS, MAX_FRAMES, ImageInfo

_UNTIMED_MS = 100  # what browsers make of a frame that is to be shown for no time


@dataclass(frozen=True)
class Timing:
    """Of an animation: how long each frame is shown, and how often all are (0: for ever)."""

    durations_ms: tuple[int, ...]
    plays: int

    def options(self, following: Sequence[Image.Image]) -> dict[str, Any]:
        """What Pillow's ``save`` of the first frame is given besides, with the frames that follow it."""
        return {
            "save_all": True,
            "append_images": list(following),
            "duration": list(self.durations_ms),
            "loop": self.plays,
        }


def moving_frames(image: Image.Image, info: ImageInfo, name: str) -> tuple[int, ...]:
    """The numbers of an animation's frames.

    Raises:
        LimitError: there are too many, or too many pixels in all.
    """
    width, height = info.width, info.height
    if info.frames > MAX_FRAMES or width * height * info.frames > MAX_FRAME_PIXELS:
        raise LimitError(
            f"{name} has {info.frames} frames of {width}x{height}; at most {MAX_FRAMES} frames and "
            f"{MAX_FRAME_PIXELS // 1_000_000} megapixels in all are dealt with. Choose one frame.",
            frames=info.frames,
            width=width,
            height=height,
        )
    return tuple(range(first_frame(image, info), info.frames))


def first_frame(image: Image.Image, info: ImageInfo) -> int:
    """An APNG may have a still, for who can't animate, that is no frame."""
    return 1 if image.info.get("default_image") and info.frames > 1 else 0


def duration_ms(image: Image.Image) -> int:
    """How long the current frame is shown."""
    return round(image.info.get("duration") or 0) or _UNTIMED_MS


def plays(image: Image.Image, info: ImageInfo) -> int:
    """How often an animation is shown, 0 for ever. GIF tells how often it is repeated, and nothing of once."""
    loop = image.info.get("loop")
    if info.format == "gif":
        return 1 if loop is None else loop + 1 if loop else 0
    return int(loop or 0)
