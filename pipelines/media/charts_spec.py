"""Bar charts: the values that travel."""

from pydantic import BaseModel, Field


class Bar(BaseModel, frozen=True, extra="forbid"):
    """A bar as long as its ``value``, what it stands for, and what it tells in words."""

    label: str
    value: float = Field(ge=0)
    told: str


class Chart(BaseModel, frozen=True, extra="forbid"):
    """Bars below each other. ``name`` is that of its file, without the extension."""

    name: str
    heading: str
    bars: tuple[Bar, ...]


class Drawn(BaseModel, frozen=True, extra="forbid"):
    """The names of the files that were drawn."""

    names: tuple[str, ...]
