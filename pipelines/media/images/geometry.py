"""How large a rendition gets, and which part of the image it shows: plain arithmetic, before a pixel is decoded."""

from dataclasses import dataclass
from typing import Literal

Fit = Literal["inside", "cover", "fill"]


@dataclass(frozen=True)
class Placement:
    """The image scaled to ``scaled`` pixels; of that, the rendition is a window of ``size`` (width, height).

    Where ``size`` is smaller than ``scaled``, something is cut away.
    """

    scaled: tuple[int, int]
    size: tuple[int, int]

    @property
    def is_cut(self) -> bool:
        return self.size != self.scaled

    @property
    def pixels(self) -> int:
        return self.size[0] * self.size[1]

    def window(self, x: float, y: float) -> tuple[int, int]:
        """Left and top of the window whose centre is as near as possible to ``x``, ``y`` (fractions of the image)."""
        left, top = (
            min(max(0, _half_up(at * scaled - kept / 2)), scaled - kept)
            for at, scaled, kept in zip((x, y), self.scaled, self.size, strict=True)
        )
        return left, top


def place(width: int, height: int, box: tuple[int, int | None], fit: Fit, *, enlarge: bool = False) -> Placement:
    """Place an image of ``width`` by ``height`` pixels, as shown, into ``box``: (width, height or as it comes).

    ``inside``: as large as fits, its shape kept. ``cover``: the box is filled, what stands out is cut away.
    ``fill``: stretched to the box. Without ``enlarge`` no side gets longer than it was; a box that is covered then
    keeps its shape and shrinks. Sizes round half up, to at least 1.
    """
    wide, high = box[0], box[1]
    if high is None:
        return _whole(width, height, _bounded(wide / width, enlarge=enlarge))
    if fit == "inside":
        return _whole(width, height, _bounded(min(wide / width, high / height), enlarge=enlarge))
    if fit == "fill":
        size = (wide, high) if enlarge else (min(wide, width), min(high, height))
        return Placement(size, size)
    factor = max(wide / width, high / height)
    shrink = 1.0 if enlarge else min(1.0, 1 / factor)
    size = _rounded(wide * shrink), _rounded(high * shrink)
    scaled = _rounded(width * factor * shrink), _rounded(height * factor * shrink)
    return Placement((max(scaled[0], size[0]), max(scaled[1], size[1])), size)


def _bounded(factor: float, *, enlarge: bool) -> float:
    return factor if enlarge else min(1.0, factor)


def _whole(width: int, height: int, factor: float) -> Placement:
    size = _rounded(width * factor), _rounded(height * factor)
    return Placement(size, size)


def _rounded(length: float) -> int:
    return max(1, _half_up(length))


def _half_up(value: float) -> int:
    return int(value + 0.5) if value >= 0 else 0
