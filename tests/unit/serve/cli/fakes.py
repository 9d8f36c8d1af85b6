"""An operation that exists only here, with a parameter of each kind."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from pipelines.jobs.catalogue import CommonParams, Operation, Outcome


class Shape(StrEnum):
    ROUND = "round"
    SQUARE = "square"


def _bit_rate(value: object) -> int:
    text = str(value)
    if not text.rstrip("k").isdigit():
        raise ValueError(f"{text!r} is no bit rate")
    return int(text.rstrip("k")) * (1000 if text.endswith("k") else 1)


class ShrinkParams(CommonParams):
    crf: int | None = Field(None, ge=0, le=51, description="Quality.")
    audio_bitrate: Annotated[int, BeforeValidator(_bit_rate)] | None = None
    hdr: Literal["auto", "keep"] = "auto"
    shape: Shape | None = None
    times: tuple[float, ...] = ()
    loud: bool = True
    start: float | None = None
    end: float | None = None

    @model_validator(mode="after")
    def _check(self) -> "ShrinkParams":
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise ValueError("end must be later than start")
        return self


class ShrinkResult(BaseModel):
    size_bytes: int


def _never(*_: Any) -> Any:
    raise AssertionError("the command line runs no operation itself")


def _join(*_: Any) -> Outcome:
    raise AssertionError


SHRINK = Operation(
    *("shrink", "Make a video smaller.", ShrinkParams, ShrinkResult, _never, _never, _join),
    output="file",
    told=lambda result: {"size_bytes": result["size_bytes"]},
)
STILLS = Operation("stills", "Take stills.", ShrinkParams, ShrinkResult, _never, _never, _join, output="folder")
LOOK = Operation("look", "Look.", CommonParams, ShrinkResult, _never, _never, _join, output="none")
PAIR = Operation(
    "pair", "Pair.", CommonParams, ShrinkResult, _never, _never, _join, sources=("left", "right"), output="folder"
)
