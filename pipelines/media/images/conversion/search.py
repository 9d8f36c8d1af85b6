"""Search for the quality of an encoder that makes a picture look as asked, or a file as small as asked.

A large picture is searched on samples of it, an animation on samples of some frames: pieces from all over, put below
each other. What is written in the end is measured at the same places.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from pipelines.media.images.conversion.convert_spec import SEARCHED_PIXELS
from pipelines.media.images.conversion.encoders import Array, Way, decoded
from pipelines.media.images.conversion.frames import Frames
from pipelines.media.images.conversion.similarity import Original

_PIECE = 256  # a side: a whole number of every encoder's blocks
_ALIGNED = 16
_MOST_FRAMES = 4
# Qualities that reached an SSIMULACRA2 of 75 of photographs, by the median; and what a point more takes about 80.
_STARTS = {"jpeg": 77, "webp": 80, "avif": 63}
_START_SCORE, _QUALITY_A_POINT = 75.0, 1.8
_QUALITY_A_FACTOR_E = 30.0  # of size
# With colour of half the resolution, photographs score from 88 up and small coloured text from 82 down.
_FINE_COLOUR = 86.0
# The measure cares little for the colours of flat parts; below it they shift so that it shows.
LEAST_QUALITY = 20
FULL_CHROMA_FROM = 88.0  # of the score asked; halving alone takes as much away


@dataclass(frozen=True)
class Samples:
    """Where a picture is looked at: of which frames, and pieces (top, left, height, width) of each."""

    frames: tuple[int, ...]
    pieces: tuple[tuple[int, int, int, int], ...]
    whole: bool

    def of(self, frames: list[Array]) -> Array:
        """The pieces of those frames below each other."""
        if self.whole:
            return frames[0]
        cut = [frame[top : top + high, left : left + wide] for frame in frames for top, left, high, wide in self.pieces]
        return np.concatenate(cut, axis=0)


def samples_of(frames: Frames) -> Samples:
    """Samples of about ``SEARCHED_PIXELS``, the whole picture where it has no more."""
    count = len(frames.arrays)
    if count == 1 and frames.pixels <= SEARCHED_PIXELS:
        return Samples((0,), (), whole=True)
    chosen = tuple(sorted({round(each) for each in np.linspace(0, count - 1, min(count, _MOST_FRAMES))}))
    width, height = frames.size
    budget = SEARCHED_PIXELS / len(chosen)
    if width * height <= budget:
        return Samples(chosen, ((0, 0, height, width),), whole=False)
    wide, high = min(_PIECE, width), min(_PIECE, height)
    number = max(1.0, budget / (wide * high))
    across = min(max(1, round(math.sqrt(number * width / height))), math.ceil(width / wide))
    down = min(max(1, round(number / across)), math.ceil(height / high))
    lefts, tops = _spread(width - wide, across), _spread(height - high, down)
    return Samples(chosen, tuple((top, left, high, wide) for top in tops for left in lefts), whole=False)


def _spread(room: int, count: int) -> list[int]:
    """Begins of pieces all over; one is in the middle."""
    places = [room / 2] if count == 1 else np.linspace(0, room, count)
    return sorted({int(each) // _ALIGNED * _ALIGNED for each in places})


class Judge:
    """Measures what was encoded, of samples and of the whole, against the picture."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self.samples = samples_of(frames)
        self.sampled = self.samples.of([frames.arrays[each] for each in self.samples.frames])

    @cached_property
    def _original(self) -> Original:
        return Original(self.sampled)

    @property
    def share(self) -> float:
        """Which part of all pixels is sampled."""
        return float(self.sampled[..., 0].size / self._frames.pixels)

    def score_of_samples(self, data: bytes) -> float:
        """Of the samples, encoded as a picture of their own."""
        return self._original.likeness(decoded(data, (0,), self.sampled.shape[2])[0])

    def score(self, data: bytes) -> float:
        """Of the file that is made in the end."""
        made = decoded(data, self.samples.frames, self.sampled.shape[2])
        return self._original.likeness(self.samples.of(made))

    def score_of(self, sampled: Array) -> float:
        return self._original.likeness(sampled)


def has_fine_colour(judge: Judge) -> bool:
    """Whether it shows when colour has half the resolution, as it does of small coloured text."""
    picture = judge.sampled
    if picture.shape[2] == 1:
        return False
    height, width = picture.shape[:2]
    levels = cv2.cvtColor(np.ascontiguousarray(picture[..., :3]), cv2.COLOR_RGB2YCrCb)
    half = cv2.resize(levels[..., 1:], ((width + 1) // 2, (height + 1) // 2), interpolation=cv2.INTER_AREA)
    colour = cv2.resize(half, (width, height), interpolation=cv2.INTER_LINEAR)
    made = cv2.cvtColor(np.dstack([levels[..., 0], colour]), cv2.COLOR_YCrCb2RGB)
    return judge.score_of(np.dstack([made, picture[..., 3:]]).astype(np.uint8)) < _FINE_COLOUR


@dataclass(frozen=True)
class Try:
    quality: int
    data: bytes
    score: float


def start_for(way: Way, goal: float) -> int:
    """A quality to begin with."""
    return round(_STARTS[way.format] + (goal - _START_SCORE) * _QUALITY_A_POINT)


def least_that_looks(
    attempt: Callable[[int], Try], goal: float, start: int, most: int, slack: float
) -> tuple[Try, int]:
    """The least quality found whose score reaches ``goal``, and how many were tried: at most ``most``.

    Looked for between what does and what doesn't, by the line through both. It ends early at a score less than
    ``slack`` above the goal. Where none reaches it, the best.
    """
    known: dict[int, Try] = {}
    low, high, guess = LEAST_QUALITY - 1, 101, start
    while high - low > 1 and len(known) < most:
        guess = min(max(guess, low + 1), high - 1)
        tried = known[guess] = attempt(guess)
        if tried.score < goal:
            low = guess
        else:
            high = guess
            if tried.score <= goal + slack:
                break
        if low in known and high in known:
            below, above = known[low].score, known[high].score
            guess = low + math.ceil((high - low) * (goal - below) / max(above - below, 1e-6))
        else:
            # Beyond the goal, so that it lies between two.
            guess = guess + math.ceil((goal - tried.score) * _QUALITY_A_POINT) + (1 if tried.score < goal else 0)
    return known[high] if high in known else max(known.values(), key=lambda each: each.score), len(known)


def largest_that_fits(
    encode: Callable[[int], bytes], limit: int, start: int, most: int
) -> tuple[int | None, bytes, int]:
    """The largest quality whose file has at most ``limit`` bytes, the file, and how many were tried.

    None where not even the least fits: then it's that file.
    """
    known: dict[int, bytes] = {}
    low, high, guess = 0, 101, start
    while high - low > 1 and len(known) < most:
        guess = min(max(guess, low + 1), high - 1)
        if len(known) >= most - 1 and not low:
            guess = 1  # something that fits is worth more than the largest
        known[guess] = encode(guess)
        if len(known[guess]) <= limit:
            low = guess
        else:
            high = guess
        if low and high <= 100 and len(known) % 3:
            below, above = (math.log(len(known[each])) for each in (low, high))
            guess = low + round((high - low) * (math.log(limit) - below) / max(above - below, 1e-6))
        elif low and high <= 100:
            guess = (low + high) // 2  # where size has a step, the line comes near but slowly
        else:
            guess += round((math.log(limit) - math.log(len(known[guess]))) * _QUALITY_A_FACTOR_E) or (1 if low else -1)
    return (low, known[low], len(known)) if low else (None, known[min(known)], len(known))


def attempts(file: Callable[[int], bytes], judge: Judge) -> Callable[[int], Try]:
    """Tries of the whole, whose file of a quality ``file`` makes."""

    def attempt(quality: int) -> Try:
        data = file(quality)
        return Try(quality, data, judge.score(data))

    return attempt


def sample_attempts(way: Way, judge: Judge) -> Callable[[int], Try]:
    """Tries of the samples."""

    def attempt(quality: int) -> Try:
        data = way.encoded((judge.sampled,), quality)
        return Try(quality, data, judge.score_of_samples(data))

    return attempt
