"""What to better about a picture, and what came of it: the values that travel."""

from typing import Literal

from pydantic import BaseModel, Field, model_validator

from pipelines.media.images.analysis.analysis_spec import IssueCode, Measures
from pipelines.media.images.info import ImageInfo, ImageResult
from pipelines.media.images.metadata.metadata_spec import Keep

EnhancedFormat = Literal["auto", "jpeg", "webp", "avif", "png"]
StepName = Literal[
    "denoise",
    "white_balance",
    "auto_levels",
    "gamma",
    "brightness",
    "contrast",
    "local_contrast",
    "saturation",
    "sharpen",
    "sharpness",
]
_MEASURED_S = 0.6  # before and after
_PER_S = {"jpeg": 12e6, "webp": 6e6, "avif": 1.8e6, "png": 8e6}  # pixels decoded, changed and written, on one core
_DENOISED_PER_S = 3e6
_BYTES = 48  # of a pixel: before, after and in floating point


class EnhanceSpec(BaseModel, frozen=True, extra="forbid"):
    """What to do. Each step is off unless it's asked for; they are done in the order of ``enhance.ORDER``."""

    auto: bool = Field(default=False, description="Do what an analysis finds wanting, in moderation.")
    denoise: float = Field(default=0.0, ge=0, le=1, description="Smooth noise: 0 is off, 1 for very noisy pictures.")
    white_balance: bool = Field(default=False, description="Take a colour cast away.")
    auto_levels: bool = Field(default=False, description="Stretch to the whole range from black to white.")
    gamma: float = Field(default=1.0, ge=0.2, le=5, description="Lift the middle tones (above 1) or lower them.")
    brightness: float = Field(default=1.0, ge=0.1, le=3, description="Factor; 1 is unchanged.")
    contrast: float = Field(default=1.0, ge=0.1, le=3, description="Factor; 1 is unchanged.")
    local_contrast: float = Field(
        default=0.0, ge=0, le=1, description="Bring out what lies in shadows and haze: 0 is off, 1 the most."
    )
    saturation: float = Field(default=1.0, ge=0.1, le=3, description="Factor; 1 is unchanged.")
    sharpen: float = Field(default=0.0, ge=0, le=1, description="Sharpen edges, not noise: 0 is off, 1 the most.")
    sharpness: float = Field(default=1.0, ge=0.1, le=3, description="Factor; 1 is unchanged, less blurs.")
    format: EnhancedFormat = Field(
        default="auto", description="Of the file; auto is the source's, or PNG or JPEG where that isn't written."
    )
    keep: Keep = Field(default="none", description="Of the metadata; also who made the picture and whose it is.")
    quality: int = Field(default=90, ge=1, le=100, description="Of JPEG, WebP and AVIF, where pixels change.")
    # To reach a frame, most formats decode all before it.
    frame: int = Field(default=0, ge=0, le=299, description="Of an animation or a document of several pages: which.")

    @model_validator(mode="after")
    def _check(self) -> "EnhanceSpec":
        if not self.auto and not self.asked():
            raise ValueError(
                "nothing is asked for: set auto, or one of denoise, white_balance, auto_levels, gamma, brightness, "
                "contrast, local_contrast, saturation, sharpen and sharpness"
            )
        return self

    def asked(self) -> dict[StepName, float]:
        """The steps that were asked for by name, with their amounts."""
        switches: dict[StepName, float] = {"white_balance": self.white_balance, "auto_levels": self.auto_levels}
        strengths: dict[StepName, float] = {
            "denoise": self.denoise,
            "local_contrast": self.local_contrast,
            "sharpen": self.sharpen,
        }
        factors: dict[StepName, float] = {
            "gamma": self.gamma,
            "brightness": self.brightness,
            "contrast": self.contrast,
            "saturation": self.saturation,
            "sharpness": self.sharpness,
        }
        on = {name: float(amount) for name, amount in (switches | strengths).items() if amount > 0}
        return on | {name: amount for name, amount in factors.items() if amount != 1}


class Step(BaseModel, frozen=True, extra="forbid"):
    """Something done: ``amount`` as in the spec, of a switch how much of it, 0 to 1; ``why`` for a person."""

    name: StepName
    amount: float
    why: str


class Left(BaseModel, frozen=True, extra="forbid"):
    """An issue that ``auto`` found and left as it is; ``why`` for a person."""

    issue: IssueCode
    why: str


class Enhanced(ImageResult, frozen=True, extra="forbid"):
    """``done`` is in the order it was done in; nothing where ``auto`` found nothing to do, or nothing that helps.

    ``left`` is what it found and left. ``kept``: nothing was done, and the source's compressed pixels are in the file.
    ``before`` and ``after`` are as ``image-analyze`` tells them, and so are the scores.
    """

    done: tuple[Step, ...]
    left: tuple[Left, ...] = ()
    kept: bool = False
    before: Measures
    after: Measures
    score_before: float
    score_after: float


def format_of(info: ImageInfo, spec: EnhanceSpec) -> Literal["jpeg", "webp", "avif", "png"]:
    """The format that a source's enhanced file gets."""
    if spec.format != "auto":
        return spec.format
    if info.format in ("jpeg", "webp", "avif", "png"):
        return info.format
    return "png" if info.alpha or info.format in ("gif", "tiff", "bmp") else "jpeg"


def memory_bytes(info: ImageInfo, _spec: EnhanceSpec) -> int:
    """Bytes held at most while it's changed."""
    return _BYTES * info.width * info.height


def estimate_s(info: ImageInfo, spec: EnhanceSpec) -> float:
    """Rough seconds on one core."""
    pixels = info.width * info.height
    denoised = pixels / _DENOISED_PER_S if spec.denoise else 0
    return round(_MEASURED_S + denoised + pixels / _PER_S[format_of(info, spec)], 3)
