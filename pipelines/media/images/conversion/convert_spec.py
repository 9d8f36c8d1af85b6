"""How to convert an image, and what came of it: the values that travel."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from pipelines.media.images.geometry import Placement, place
from pipelines.media.images.info import MAX_FRAMES, Colour, ImageInfo, ImageResult
from pipelines.media.images.metadata.metadata_spec import Keep
from pipelines.media.images.room import decoded_bytes
from pipelines.media.stills_spec import box_of, parse_size
from pipelines.media.units import FileSize

ConvertFormat = Literal["jpeg", "webp", "avif", "png"]
Chroma = Literal["4:2:0", "4:4:4"]
Effort = Literal["fast", "normal", "best"]
FORMATS: tuple[ConvertFormat, ...] = ("jpeg", "webp", "avif", "png")
# SSIMULACRA2 of photographs and frames of films as JPEG at quality 80, 4:2:0: 77 to 84.
DEFAULT_TARGET = 80.0
QUALITY_TRIES, BYTES_TRIES = 6, 12

# Pixels encoded a second on one core, with what is searched and measured.
_PIXELS_PER_S: dict[str, dict[Effort, float]] = {
    "jpeg": {"fast": 30e6, "normal": 10e6, "best": 10e6},
    "webp": {"fast": 10e6, "normal": 5e6, "best": 3e6},
    "avif": {"fast": 12e6, "normal": 6e6, "best": 0.8e6},
    "png": {"fast": 6e6, "normal": 4e6, "best": 0.5e6},
}
SEARCHED_PIXELS = 1_500_000  # more aren't searched: of what has them, samples are
_DECODED_PER_S = 60e6
_MADE_BYTES, _FRAME_BYTES = 44, 12  # of a pixel: what tries, measures and encoders need; of a further frame


Size = Annotated[str, BeforeValidator(parse_size)]


def _parse_depth(value: object) -> object:
    return 8 if value == "8" else value


Depth = Annotated[Literal[8, "keep"], BeforeValidator(_parse_depth)]


class ConvertSpec(BaseModel, frozen=True, extra="forbid"):
    """Into which format, and how well. At most one of quality, target_quality, target_bytes and lossless."""

    format: Literal["auto", "jpeg", "webp", "avif", "png"] = Field(
        default="auto", description="auto: of `formats` the one that makes the smallest file."
    )
    formats: tuple[ConvertFormat, ...] = Field(
        default=FORMATS, min_length=1, max_length=4, description="What auto chooses from."
    )
    quality: int | None = Field(
        default=None, ge=1, le=100, description="The encoder's own, of JPEG, WebP and AVIF; give a format with it."
    )
    target_quality: float | None = Field(
        default=None,
        ge=10,
        le=97,
        description="How like the original it has to look, by SSIMULACRA2: 90 visually lossless, 80 as JPEG at 80 "
        f"(the default, {DEFAULT_TARGET:.0f}), 70 high, 50 medium. The least quality that reaches it is searched for.",
    )
    target_bytes: Annotated[FileSize, Field(ge=100)] | None = Field(
        default=None,
        description="How large the file may get, with its metadata: 30000, 30k, 1.5M; the largest quality that fits is "
        "searched for.",
    )
    lossless: bool = Field(
        default=False, description="Every pixel stays: PNG or WebP; a JPEG file as JPEG, its coefficients packed anew."
    )
    progressive: bool | None = Field(default=None, description="Of JPEG; default: above 10 kB.")
    chroma: Literal["auto", "4:2:0", "4:4:4"] = Field(
        default="auto", description="Resolution of colour; auto: full at high qualities and for fine coloured detail."
    )
    effort: Effort = Field(default="normal", description="Time to spend on a smaller file.")
    max_size: Size | None = Field(
        default=None, description="A width (720) or a box (1920x1080) to fit into; nothing is enlarged."
    )
    background: Colour | None = Field(
        default=None,
        description="Put behind transparent parts, which JPEG can't have (there, default white): #ff8000, red.",
    )
    # To reach a frame, most formats decode all before it.
    frame: int | None = Field(
        default=None, ge=0, le=MAX_FRAMES - 1, description="Only this one; default: all of an animation."
    )
    depth: Depth | None = Field(
        default=None,
        description="Bits of a channel; keep: 16 of a 16-bit source, in PNG. Default: 8, keep where lossless.",
    )
    keep: Keep = Field(default="none", description="Of the metadata; also who made the picture and whose it is.")
    skip_larger: bool = Field(
        default=True, description="Keep the source's compressed pixels where the same format saves less than 2 %."
    )

    @model_validator(mode="after")
    def _check(self) -> "ConvertSpec":
        given = [self.quality is not None, self.target_quality is not None, self.target_bytes is not None]
        if sum(given) + self.lossless > 1:
            raise ValueError("give one of quality, target_quality, target_bytes and lossless")
        if self.quality is not None and self.format in ("auto", "png"):
            raise ValueError("quality is a number of JPEG's, WebP's or AVIF's own: name one of them as the format")
        if self.lossless and self.allowed == ("avif",):
            raise ValueError("lossless is done by PNG, WebP and JPEG")
        if self.depth == "keep" and "png" not in self.allowed:
            raise ValueError("16 bits are kept in PNG")
        if len(set(self.formats)) < len(self.formats):
            raise ValueError("a format is named twice")
        return self

    @property
    def allowed(self) -> tuple[ConvertFormat, ...]:
        return self.formats if self.format == "auto" else (self.format,)

    @property
    def keeps_depth(self) -> bool:
        return self.depth == "keep" or (self.lossless and self.depth is None)

    @property
    def goal(self) -> float | None:
        """The SSIMULACRA2 to reach; None: something else is asked."""
        if self.quality is not None or self.target_bytes is not None or self.lossless:
            return None
        return self.target_quality if self.target_quality is not None else DEFAULT_TARGET

    def placed(self, width: int, height: int) -> Placement:
        """The size that a picture gets."""
        return place(width, height, box_of(self.max_size) if self.max_size else (width, height), "inside")


class Candidate(BaseModel, frozen=True, extra="forbid"):
    """One way to write the picture. ``size_bytes`` is None where it was ruled out before it was made whole.

    ``ssimulacra2`` is of the picture as it would be shown against the source's; ``tries`` counts what was encoded.
    """

    format: ConvertFormat
    method: Literal["lossy", "lossless", "palette", "kept"]
    quality: int | None = None
    ssimulacra2: float | None = None
    size_bytes: int | None = None
    tries: int = 0
    chosen: bool = False
    note: str = ""


class Converted(ImageResult, frozen=True, extra="forbid"):
    """What was written, and why.

    ``ssimulacra2`` is measured on the file that was written, of large pictures and animations on samples of it.
    ``kept``: the source's compressed pixels are in it. ``saved_bytes`` is below 0 where the
    file got larger.
    """

    format: ConvertFormat
    quality: int | None
    lossless: bool
    chroma: Chroma | None
    progressive: bool
    frames: int
    bits: int
    ssimulacra2: float
    source_size_bytes: int
    size_bytes: int
    saved_bytes: int
    saved_percent: float
    tries: int
    kept: bool
    reason: str
    candidates: tuple[Candidate, ...]


def memory_bytes(info: ImageInfo, spec: ConvertSpec) -> int:
    """Bytes held at most while it's written. Of an animation all frames are."""
    made = spec.placed(info.width, info.height).pixels
    following = info.frames - 1 if spec.frame is None and info.is_moving and spec.allowed != ("jpeg",) else 0
    return decoded_bytes(info, made) + (_MADE_BYTES + following * _FRAME_BYTES) * made


def estimate_s(info: ImageInfo, spec: ConvertSpec) -> float:
    """Rough seconds on one core."""
    frames = info.frames if spec.frame is None else 1
    pixels = spec.placed(info.width, info.height).pixels * frames
    # Of several formats only those near the smallest are made whole.
    share = 1.0 if len(spec.allowed) == 1 or spec.goal is None else 0.5
    made = 0.0
    for each in spec.allowed:
        whole, searched = share, 0
        if spec.target_bytes is not None:
            whole = 6
        elif spec.goal is not None:
            searched = 1 if each == "png" else 4
        made += (whole * pixels + searched * min(pixels, SEARCHED_PIXELS)) / _PIXELS_PER_S[each][spec.effort]
    return round(0.02 + info.width * info.height * frames / _DECODED_PER_S + made, 3)
