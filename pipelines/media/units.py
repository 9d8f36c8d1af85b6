"""Spellings a user may give: bit rates (``128k``), bytes (``1.5M``), times (``hh:mm:ss``), frame rates, crops."""

import re
from fractions import Fraction
from typing import Annotated

from pydantic import BeforeValidator, Field

_MANY = re.compile(r"(\d{1,15}(?:\.\d{1,20})?)\s*([kKmM]?)")
_CLOCK = re.compile(r"(?:(\d+):)?([0-5]?\d):([0-5]?\d(?:\.\d+)?)")
_CROP = re.compile(r"(\d{1,5})x(\d{1,5})\+(\d{1,5})\+(\d{1,5})")
_FACTORS = {"": 1, "k": 1_000, "m": 1_000_000}
_LEAST_BPS, _MOST_BPS = 8_000, 1_000_000_000
_MAX_FRAME_RATE = 240


def parse_bit_rate(value: object) -> int:
    """Bits per second from an integer or a text such as ``128k`` or ``2.5M``."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("a bit rate is a number of bits per second or a text such as 128k or 2M")  # noqa: TRY004  # pydantic turns ValueError into its message
    match = _MANY.fullmatch(str(value).strip())
    if match is None:
        raise ValueError(f"{value!r} is no bit rate; give bits per second or a text such as 128k or 2M")
    bit_rate_bps = round(float(match[1]) * _FACTORS[match[2].lower()])
    if not _LEAST_BPS <= bit_rate_bps <= _MOST_BPS:
        raise ValueError(f"{value!r} is no bit rate; give 8k to 1000M bits per second")
    return bit_rate_bps


def parse_bytes(value: object) -> int:
    """Bytes from an integer or a text such as ``30k`` or ``1.5M``, whose ``k`` is 1000."""
    match = _MANY.fullmatch(str(value).strip())
    if match is None:
        raise ValueError(f"{value!r} is no size of a file; give bytes or a text such as 30k or 1.5M")
    return round(float(match[1]) * _FACTORS[match[2].lower()])


def parse_seconds(value: object) -> float:
    """Seconds from a number or a text such as ``90``, ``1:30`` or ``00:01:30.5``."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    text = str(value).strip()
    match = _CLOCK.fullmatch(text)
    if match is not None:
        hours, minutes, seconds = match.groups()
        return int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds)
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"{value!r} is no time; give seconds or hh:mm:ss") from None


def parse_frame_rate(value: object) -> str:
    """A frame rate as a fraction in text; ``29.97`` and its kin become the exact NTSC rates."""
    try:
        rate = Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"{value!r} is no frame rate; give 25, 29.97 or 30000/1001") from None
    ntsc = Fraction(round(rate * Fraction(1001, 1000)) * 1000, 1001)
    if rate.denominator != 1 and abs(rate - ntsc) < Fraction(1, 100):
        rate = ntsc
    if not 1 <= rate <= _MAX_FRAME_RATE:
        raise ValueError(f"a frame rate lies between 1 and {_MAX_FRAME_RATE}")
    return str(rate)


def parse_crop(value: object) -> str:
    """A part of a picture, ``WxH+X+Y``: its size, and how far it lies from the left and from the top.

    All four are rounded down to even numbers: in 4:2:0, what nearly all video is, two by two pixels share a colour.
    """
    match = _CROP.fullmatch(str(value).strip().lower())
    if match is None:
        raise ValueError(f"{value!r} is no crop; give WxH+X+Y in pixels, e.g. 1280x536+0+92")
    width, height, left, top = (int(number) // 2 * 2 for number in match.groups())
    if not width or not height:
        raise ValueError("a crop is at least 2 pixels wide and high")
    return f"{width}x{height}+{left}+{top}"


def rectangle_of(crop: str) -> tuple[int, int, int, int]:
    """Width, height, left and top of a crop as it travels."""
    width, height, left, top = map(int, re.split("[x+]", crop))
    return width, height, left, top


FileSize = Annotated[int, BeforeValidator(parse_bytes)]
BitRate = Annotated[int, BeforeValidator(parse_bit_rate), Field(ge=_LEAST_BPS, le=_MOST_BPS)]
Seconds = Annotated[float, BeforeValidator(parse_seconds), Field(allow_inf_nan=False)]
CropText = Annotated[str, BeforeValidator(parse_crop)]
FrameRate = Annotated[str, BeforeValidator(parse_frame_rate)]
