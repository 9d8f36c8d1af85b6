"""Which metadata of an image to strip or write, and what is read: the values that travel."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints

from pipelines.media.images.info import ImageInfo, ImageResult

Strip = Literal["nothing", "gps", "private", "all"]
Text = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000, pattern=r"^[^\x00-\x08]*$")
]
Keyword = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]*$")
]
Scalar = str | int | float
Told = Scalar | tuple[Scalar, ...]
Texts = str | tuple[str, ...]

# What goes along with pixels that are made anew.
Keep = Literal["none", "copyright", "all-but-gps", "all"]


class MetadataSpec(BaseModel, frozen=True, extra="forbid"):
    """What to change. Nothing: the image is only read, and no file is made.

    Pixels are never touched: what is compressed is copied. A TIFF's pages are decoded before and after, to prove it.
    """

    strip: Strip = Field(
        default="nothing",
        description="gps: positions, names of places and MakerNotes (which may hold places). private: besides, all but "
        "copyright, credit, times, orientation and camera settings. all: all but what the picture needs to look the "
        "same (orientation, ICC profile, gain map).",
    )
    other_pictures: Literal["keep", "drop"] = Field(
        default="keep",
        description="Of a JPEG of several pictures (gain map, stereo, preview): keep them, stripped too, or drop all "
        "but the first.",
    )
    artist: Text | None = Field(default=None, description="Who made the picture.")
    copyright: Text | None = Field(default=None, description="Whose it is: © 2026 Jane Doe.")
    title: Text | None = Field(default=None, description="Its title.")
    description: Text | None = Field(default=None, description="Its caption.")
    keywords: tuple[Keyword, ...] | None = Field(default=None, max_length=100, description="Its keywords.")
    taken_at: datetime | None = Field(default=None, description="When it was taken: 2026-05-01T12:30:00+02:00.")

    @property
    def writes(self) -> bool:
        """Whether values are set."""
        values = (self.artist, self.copyright, self.title, self.description, self.keywords, self.taken_at)
        return any(each is not None for each in values)

    @property
    def changes(self) -> bool:
        """Whether a file is made."""
        return self.writes or self.strip != "nothing" or self.other_pictures == "drop"


class Animation(BaseModel, frozen=True, extra="forbid"):
    """``durations_ms`` are of the first frames, as many as are told. ``loops`` is how often it plays; 0: for ever."""

    frames: int
    duration_s: float | None = None
    durations_ms: tuple[int, ...] = ()
    loops: int | None = None


class Exif(BaseModel, frozen=True, extra="forbid"):
    """EXIF's fields. Times are ISO 8601, with an offset where one is told; ``other`` has the rest by their names."""

    make: str | None = None
    model: str | None = None
    lens: str | None = None
    exposure_s: float | None = None
    f_number: float | None = None
    iso: int | None = None
    focal_length_mm: float | None = None
    focal_length_35mm_mm: float | None = None
    exposure_bias_ev: float | None = None
    flash: bool | None = None
    orientation: int | None = None
    taken_at: str | None = None
    digitised_at: str | None = None
    changed_at: str | None = None
    software: str | None = None
    artist: str | None = None
    copyright: str | None = None
    description: str | None = None
    user_comment: str | None = None
    thumbnail_bytes: int | None = None
    maker_note_bytes: int | None = None
    other: dict[str, Told] = Field(default_factory=dict)


class Gps(BaseModel, frozen=True, extra="forbid"):
    """Degrees north and east, metres above the sea, ISO 8601 in UTC, degrees from north."""

    latitude: float | None = None
    longitude: float | None = None
    altitude_m: float | None = None
    direction_degrees: float | None = None
    time: str | None = None


class Icc(BaseModel, frozen=True, extra="forbid"):
    """An ICC profile. ``device_class`` and ``colour_space`` are ICC's signatures: mntr, RGB."""

    description: str | None = None
    device_class: str
    colour_space: str
    connection_space: str
    version: str
    size_bytes: int


class GainMap(BaseModel, frozen=True, extra="forbid"):
    """What makes HDR of a picture. ``smallest`` and ``largest`` gain are in stops; one, or one of each channel."""

    kind: Literal["ultra-hdr", "iso-21496-1", "apple"]
    version: str | None = None
    smallest: tuple[float, ...] | None = None
    largest: tuple[float, ...] | None = None


class Metadata(ImageResult, frozen=True, extra="forbid"):
    """What the source holds; where a file was made, what that holds, so that what was stripped isn't told.

    ``xmp`` has values by qualified names: ``dc:title``, of nested ones ``xmpMM:History[1]/stEvt:action``. ``iptc`` by
    the names of IIM's records. ``dpi`` is across, down. ``other_pictures`` is how many a JPEG holds besides the
    first.
    """

    dpi: tuple[float, float] | None = None
    animation: Animation | None = None
    exif: Exif | None = None
    gps: Gps | None = None
    iptc: dict[str, Texts] = Field(default_factory=dict)
    xmp: dict[str, Texts] = Field(default_factory=dict)
    icc: Icc | None = None
    gain_map: GainMap | None = None
    comments: tuple[str, ...] = ()
    texts: dict[str, str] = Field(default_factory=dict)
    other_pictures: int = 0
    trailing_bytes: int = 0


_COPIED_PER_S = 100e6
_BYTES = 8  # of a pixel: the file before and after, and a TIFF's page


def memory_bytes(info: ImageInfo, _spec: MetadataSpec) -> int:
    """Bytes held at most while they are read or changed."""
    return _BYTES * info.width * info.height


def estimate_s(info: ImageInfo, spec: MetadataSpec) -> float:
    """Rough seconds on one core: a file is read, and copied when it's changed."""
    return round(0.01 + info.width * info.height * info.frames * (3 if spec.changes else 1) / 10 / _COPIED_PER_S, 3)
