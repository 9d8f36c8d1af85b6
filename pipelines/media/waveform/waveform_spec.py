"""How a waveform is to be, and what came of it: the values that travel; ``waveform`` does the work."""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from pipelines.media.info import MediaInfo

JSON, PICTURE = "waveform.json", "waveform.png"
_COLOUR = re.compile(r"#(?:[0-9a-f]{6}|[0-9a-f]{8})")
_SPEED = 400  # times as fast as it plays; AAC goes 1000 times as fast
_USUAL_WIDTH = 1800
_MAX_PIXELS = 16_000_000
MEMORY_BYTES = 320 << 20  # a process, the largest picture, and four million peaks while they are written


def parse_colour(value: object) -> str:
    """A colour is ``#rrggbb`` or ``#rrggbbaa``, whose last part is how opaque it is."""
    text = str(value).strip().lower()
    if _COLOUR.fullmatch(text) is None:
        raise ValueError(f"{value!r} is no colour; give one such as #3366cc, or #3366cc80, half transparent")
    return text


Colour = Annotated[str, BeforeValidator(parse_colour)]


class WaveformSpec(BaseModel, frozen=True, extra="forbid"):
    """The peaks of a sound track: its lowest and highest sample in each of many equal stretches, and a picture of them.

    ``width`` is that of the picture; without ``samples_per_pixel`` there are about as many peaks.
    """

    width: int = Field(default=_USUAL_WIDTH, ge=16, le=16_000, description="Pixels of the picture.")
    height: int = Field(default=280, ge=16, le=4000, description="Pixels of the picture, all channels together.")
    samples_per_pixel: int | None = Field(
        default=None,
        ge=2,
        le=2**31 - 1,
        description="Samples that make a peak; default as many as make a peak a pixel of the picture.",
    )
    channels: Literal["mixed", "split"] = Field(
        default="mixed", description="mixed: the mean of all channels; split: each by itself, below one another."
    )
    bits: Literal[8, 16] = Field(default=16, description="Of the peaks: -128 to 127, or -32768 to 32767.")
    track: int = Field(default=0, ge=0, le=255, description="Which sound track, from 0.")
    colour: Colour = Field(default="#2f6fde", description="Of the wave: #rrggbb or #rrggbbaa.")
    background: Colour = Field(default="#00000000", description="Behind it; default transparent.")
    normalize: bool = Field(default=False, description="Let the loudest peak fill the picture's height.")

    @model_validator(mode="after")
    def _check(self) -> "WaveformSpec":
        if self.width * self.height > _MAX_PIXELS:
            raise ValueError(f"a picture has {_MAX_PIXELS} pixels at most; give a smaller width or height")
        return self


class WaveformResult(BaseModel, frozen=True, extra="forbid"):
    """What was made: ``length`` peaks of each channel, which last ``duration_s`` in all.

    ``peak`` is the farthest sample from zero, of full scale.
    """

    width: int
    height: int
    track: int
    channels: int
    sample_rate_hz: int
    samples_per_pixel: int
    length: int
    duration_s: float
    peak: float
    decode_errors: int
    warnings: tuple[str, ...] = ()


def estimate_s(info: MediaInfo) -> float:
    """Rough seconds on one core."""
    return round(0.1 + (info.duration_s or 0.0) / _SPEED + info.size_bytes / 500e6, 3)
