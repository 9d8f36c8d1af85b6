"""Which renditions of an image to make, and what came of it: the values that travel."""

import math
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from pipelines.media.images.geometry import Fit, Placement, place
from pipelines.media.images.info import EXTENSIONS, Colour, ImageInfo, ImageResult
from pipelines.media.images.metadata.metadata_spec import Keep
from pipelines.media.images.room import decoded_bytes
from pipelines.media.stills_spec import box_of, parse_size

ThumbnailFormat = Literal["jpeg", "webp", "avif", "png"]
_PIXELS_PER_S = {"jpeg": 60e6, "webp": 8e6, "avif": 2e6, "png": 20e6}  # encoded, on one core
_DECODED_PER_S = {True: 300e6, False: 60e6}  # pixels of the source: JPEGs are decoded at a part of their size
_MADE_BYTES = 24  # of a pixel that is made, with what the encoder needs
Position = Literal["centre", "entropy", "attention"]


class Preset(BaseModel, frozen=True, extra="forbid"):
    size: str
    fit: Fit


PRESETS = {
    "small": Preset(size="150x150", fit="inside"),
    "medium": Preset(size="300x300", fit="inside"),
    "large": Preset(size="600x600", fit="inside"),
    "preview": Preset(size="1200x800", fit="inside"),
    "square": Preset(size="400x400", fit="cover"),
    "banner": Preset(size="1200x300", fit="cover"),
}


def _size_or_preset(value: object) -> str:
    text = str(value).strip().lower()
    if text in PRESETS:
        return text
    try:
        return parse_size(text)
    except ValueError as error:
        raise ValueError(f"{error}, or one of {', '.join(PRESETS)}") from None


Size = Annotated[str, BeforeValidator(_size_or_preset)]


class ThumbnailSpec(BaseModel, frozen=True, extra="forbid"):
    """Which renditions. A size is a width (``720``), a box (``1200x300``) or a preset's name."""

    sizes: tuple[Size, ...] = Field(
        default=("medium",),
        min_length=1,
        max_length=16,
        description=f"Widths (720), boxes (1200x300) or presets: {', '.join(PRESETS)}.",
    )
    fit: Fit | None = Field(
        default=None,
        description="Into the box: inside, cover (cuts) or fill (stretches); default inside or a preset's.",
    )
    position: Position = Field(default="centre", description="Which part is kept when something is cut.")
    focus: tuple[float, float] | None = Field(
        default=None, description="The point to keep where something is cut, as fractions of width and height: 0.5,0.3."
    )
    enlarge: bool = Field(default=False, description="Let renditions be larger than the image.")
    format: ThumbnailFormat = Field(default="jpeg", description="Format of the renditions.")
    quality: int = Field(default=80, ge=1, le=100, description="Of JPEG, WebP and AVIF.")
    background: Colour = Field(default="#ffffff", description="Behind transparent parts, in JPEG: #ff8000 or red.")
    keep: Keep = Field(default="none", description="Of the metadata; also who made the picture and whose it is.")
    placeholder: bool = Field(default=False, description="Tell a BlurHash, to be shown until the picture is there.")
    animated: bool = Field(default=False, description="Of an animation make all frames: as WebP, AVIF or PNG.")
    # To reach a frame, most formats decode all before it.
    frame: int = Field(default=0, ge=0, le=299, description="Of an animation or a document of several pages: which.")

    @model_validator(mode="after")
    def _check(self) -> "ThumbnailSpec":
        if self.focus and not all(0 <= at <= 1 for at in self.focus):
            raise ValueError("focus is two fractions from 0 to 1")
        if self.focus and self.position != "centre":
            raise ValueError("focus and position both say which part is kept: give one of them")
        if self.focus and not any(fit == "cover" and box[1] for box, fit in map(self.box, self.sizes)):
            raise ValueError("focus is for what is cut, and nothing is: set fit to cover and give boxes, as 400x400")
        if self.animated and self.format == "jpeg":
            raise ValueError("JPEG has no animation: choose webp, avif or png")
        if self.animated and self.keep != "none":
            raise ValueError("metadata are kept of stills only")
        labels = [label_of(size) for size in self.sizes]
        if len(set(labels)) < len(labels):
            raise ValueError("two sizes are the same")
        return self

    def box(self, size: str) -> tuple[tuple[int, int | None], Fit]:
        """The box of one of ``sizes``, and how the image fits into it."""
        preset = PRESETS.get(size)
        return box_of(preset.size if preset else size), self.fit or (preset.fit if preset else "inside")


def label_of(size: str) -> str:
    """What tells a rendition's file from those of other sizes: ``720w``, ``1200x300``, ``square``."""
    return size if size in PRESETS or "x" in size else f"{size}w"


def endings(spec: ThumbnailSpec) -> tuple[str, ...]:
    """What the names of the renditions end with."""
    return tuple(f"-{label_of(size)}.{EXTENSIONS[spec.format]}" for size in spec.sizes)


class ThumbnailsResult(ImageResult, frozen=True, extra="forbid"):
    """The renditions made of an image."""

    blurhash: str | None = None


def memory_bytes(info: ImageInfo, spec: ThumbnailSpec) -> int:
    """Bytes held at most while they are made. Of an animation all frames are, and all of one size."""
    made = max(math.prod(_placed(info, spec, size).scaled) for size in spec.sizes)
    following = info.frames - 1 if spec.animated and info.is_moving else 0
    return decoded_bytes(info, made) + _MADE_BYTES * made + following * (4 * info.width * info.height + 8 * made)


def _placed(info: ImageInfo, spec: ThumbnailSpec, size: str) -> Placement:
    return place(info.width, info.height, *spec.box(size), enlarge=spec.enlarge)


def estimate_s(info: ImageInfo, spec: ThumbnailSpec) -> float:
    """Rough seconds on one core."""
    decoded = info.width * info.height / _DECODED_PER_S[info.format == "jpeg" and not info.progressive]
    frames = info.frames if spec.animated else 1
    made = sum(_placed(info, spec, size).pixels for size in spec.sizes)
    return round(0.01 + frames * (decoded + made / _PIXELS_PER_S[spec.format]), 3)
