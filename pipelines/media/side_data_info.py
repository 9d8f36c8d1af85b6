"""What a header may hold of a stream beside the fields that all have."""

from pydantic import BaseModel


class DolbyVision(BaseModel, frozen=True, extra="forbid"):
    """The configuration record of "Dolby Vision Streams Within the ISO Base Media File Format".

    ``rpu``, ``el``, ``bl``: whether there are reference processing units, an enhancement layer, a base layer.
    ``compatibility_id``: what the base layer is by itself: 1 HDR10, 2 SDR, 4 HLG; 0 nothing.
    """

    version: str
    profile: int
    level: int
    rpu: bool
    el: bool
    bl: bool
    compatibility_id: int
    compression: int | None = None


class Stereo3d(BaseModel, frozen=True, extra="forbid"):
    """How two views lie in a picture (``side by side``, ``top and bottom``, ...), as libav names it."""

    layout: str
    view: str | None = None
    primary_eye: str | None = None
    inverted: bool = False
    baseline_um: int | None = None
    horizontal_field_of_view_deg: float | None = None


class Spherical(BaseModel, frozen=True, extra="forbid"):
    """How a picture covers a sphere (``equirectangular``, ``cubemap``, ...), and how that is turned, in degrees."""

    projection: str
    yaw_deg: float
    pitch_deg: float
    roll_deg: float


class AmbientViewing(BaseModel, frozen=True, extra="forbid"):
    """Where the picture was made to be seen (H.274): the light around in lux, and its CIE 1931 xy."""

    illuminance_lux: float
    white: tuple[float, float]


class RateControl(BaseModel, frozen=True, extra="forbid"):
    """The bounds that an encoder kept to: of its bit rate, and of the decoder's buffer."""

    max_bit_rate_bps: int | None = None
    min_bit_rate_bps: int | None = None
    average_bit_rate_bps: int | None = None
    buffer_bits: int | None = None


class ReplayGain(BaseModel, frozen=True, extra="forbid"):
    """What the file says of its loudness (https://replaygain.hydrogenaudio.org). A peak of 1 is full scale."""

    track_gain_db: float | None = None
    track_peak: float | None = None
    album_gain_db: float | None = None
    album_peak: float | None = None
