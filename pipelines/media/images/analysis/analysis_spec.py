"""What to find out about a picture, and what was found: the values that travel."""

from typing import Literal

from pydantic import BaseModel, Field

from pipelines.media.images.info import Box, ImageInfo, ImageResult

_DECODED_PER_S = 180e6  # pixels of the source, on one core
_MEASURED_S = 0.13  # what is measured at a bounded size
# Noise shows at full size alone, so most pictures are decoded whole; a larger JPEG is taken at a half, fourth, eighth.
MOST_PIXELS = 24_000_000
_BYTES = 44  # of a pixel: as it is decoded, and in floating point

CastDirection = Literal["red", "orange", "yellow", "green", "cyan", "blue", "violet", "magenta"]
IssueCode = Literal[
    "too_dark",
    "too_bright",
    "shadows_clipped",
    "highlights_clipped",
    "low_contrast",
    "colour_cast",
    "noisy",
    "blurred",
    "low_resolution",
    "blank",
]
PartName = Literal["sharpness", "exposure", "contrast", "noise", "colour", "resolution"]


class AnalysisSpec(BaseModel, frozen=True, extra="forbid"):
    """How much to tell of a picture."""

    colours: int = Field(default=6, ge=1, le=16, description="At most how many colours the palette has.")
    # To reach a frame, most formats decode all before it.
    frame: int = Field(default=0, ge=0, le=299, description="Of an animation or a document of several pages: which.")


class Sharpness(BaseModel, frozen=True, extra="forbid"):
    """Measured at ``width`` x ``height``: as seen whole on a screen, so that sizes compare.

    ``blur`` is from 0 (sharp) to 1, whatever the contrast; None where nothing is to be seen. ``laplacian`` and
    ``tenengrad`` grow with detail and contrast: they compare forms of one picture, not pictures.
    """

    width: int
    height: int
    blur: float | None
    laplacian: float
    tenengrad: float


class Exposure(BaseModel, frozen=True, extra="forbid"):
    """``luminance`` is the mean of linear light, 0 to 1; 0.18 is middle grey.

    ``lightness`` is the mean CIE L*, 0 to 100, and ``midtones`` that of what is neither black nor blown out;
    ``shadows`` and ``highlights`` are the shares of pixels that are: they hold nothing to be brought back.
    """

    luminance: float
    lightness: float
    midtones: float
    shadows: float
    highlights: float


class Contrast(BaseModel, frozen=True, extra="forbid"):
    """Of luma from 0 to 1: its standard deviation, and its 1st and 99th percentile with what lies between them."""

    rms: float
    low: float
    high: float
    range: float


class Colour(BaseModel, frozen=True, extra="forbid"):
    """``colourfulness`` is Hasler and Suesstrunk's: 0 grey, 15 slight, 45 averagely, 82 highly, 109 extremely.

    ``chroma`` is the mean CIE C*ab, 0 to about 130.
    """

    colourfulness: float
    chroma: float


class Cast(BaseModel, frozen=True, extra="forbid"):
    """``a`` and ``b`` are the mean CIE a* and b*: towards red (else green) and yellow (else blue).

    ``strength`` is how much of that the brightest parts share, which light alone would tint so; ``direction`` is the
    colour that tints, None where there is none.
    """

    a: float
    b: float
    strength: float
    direction: CastDirection | None


class Noise(BaseModel, frozen=True, extra="forbid"):
    """``sigma`` is the standard deviation of what varies from pixel to pixel of luma, in levels of 255.

    Measured at ``width`` x ``height``: the picture's own size, or a half, fourth or eighth of a very large JPEG's; of
    more than 12 megapixels, in the middle.
    Scaling hides noise: ``seen`` is what is left of it at the size at which the sharpness is measured.
    """

    width: int
    height: int
    sigma: float
    seen: float


class Part(BaseModel, frozen=True, extra="forbid"):
    """One part of the score: 0 to 100, and its share of the whole."""

    name: PartName
    score: float
    weight: float


class Quality(BaseModel, frozen=True, extra="forbid"):
    score: float
    parts: tuple[Part, ...]


class Issue(BaseModel, frozen=True, extra="forbid"):
    """Something to mend. ``major`` is what most people would see at once."""

    code: IssueCode
    severity: Literal["minor", "major"]
    message: str


class Measures(BaseModel, frozen=True, extra="forbid"):
    """The figures of a picture; transparent parts don't count where others do."""

    sharpness: Sharpness
    exposure: Exposure
    contrast: Contrast
    colour: Colour
    cast: Cast
    noise: Noise


class Swatch(BaseModel, frozen=True, extra="forbid"):
    """A colour as ``#rrggbb``, and the share of the picture that it stands for."""

    hex: str
    share: float


class Analysis(ImageResult, frozen=True, extra="forbid"):
    """``palette`` begins with the dominant colour. ``phash`` and ``dhash`` are 64 bits: of alike pictures, few differ.

    ``salience`` is the box around what stands out, ``blurhash`` a placeholder of some 30 characters.
    """

    measures: Measures
    quality: Quality
    issues: tuple[Issue, ...]
    palette: tuple[Swatch, ...]
    phash: str
    dhash: str
    salience: Box | None
    blurhash: str


def memory_bytes(info: ImageInfo, _spec: AnalysisSpec) -> int:
    """Bytes held at most while it's measured."""
    pixels = info.width * info.height
    return _BYTES * (min(pixels, MOST_PIXELS) if info.format == "jpeg" else pixels)


def estimate_s(info: ImageInfo, _spec: AnalysisSpec) -> float:
    """Rough seconds on one core."""
    return round(_MEASURED_S + info.width * info.height / _DECODED_PER_S, 3)
