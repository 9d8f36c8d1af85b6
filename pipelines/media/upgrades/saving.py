"""How much smaller a film gets when it is encoded again, and what that costs in quality. Pure.

Bits fall with the quantiser's step, and codecs differ by a factor: ``log2(after) = log2(before * efficiency) - fewer -
slope * (step after - step before)``, with logarithms of steps as they show. A film's own bits say how busy it is; where
they are fewer than its step and its detail explain, most of it is still, and the step that explains them is taken.
The errors of two quantisers, one after the other, add up as noise does, by their squares. How the constants were found,
and how far they are off, is in ``docs/decisions/0024-upgrade-candidates.md``.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

from pipelines.media.quality.quantiser import index_log2_step, qp_log2_step
from pipelines.media.quality.score import h264_bits_per_pixel, score_of, visible_log2_step
from pipelines.media.upgrades.upgrades_spec import Gain, TargetCodec

_SLOPE = 1.15  # halvings of the bits for each doubling of the step
_GROUPS = 1.9  # halvings, where all pictures were keyframes and most aren't any more
_FEWER: dict[TargetCodec, float] = {"av1": 1.13, "hevc": 0.48}  # halvings against H.264 at a step that shows as much
_OFFSETS: dict[TargetCodec, float] = {"av1": -0.36, "hevc": 1.05}  # of the logarithm of the mean step, by the CRF's
_CRFS: dict[TargetCodec, range] = {"av1": range(16, 46), "hevc": range(12, 31)}
_INDEX_BY_CRF = 4  # SVT-AV1
_LINES = 1080  # of the screen that VMAF's model looks at
_SPREAD, _WIDE_SPREAD = 0.5, 1.0  # deviations of log2 of the size: of most, and where more is guessed


@dataclass(frozen=True)
class Compressed:
    """How a picture is compressed: ``size_bytes`` of it, and the logarithm of its step as it shows.

    ``step_of_bits`` is the step that explains the bits: what H.264 has for so many and so busy a picture, but no finer
    than the stream says, where it ``told`` its step. ``keyframes_only``: its codec could do better.
    """

    codec: str | None
    size_bytes: int
    log2_step: float
    step_of_bits: float
    told: bool
    keyframes_only: bool


@dataclass(frozen=True)
class Reencode:
    """``crf`` of the encode, and what comes of it."""

    crf: int
    size_bytes: float
    gain: Gain


def reencode(before: Compressed, codec: TargetCodec, most_loss: float) -> Reencode | None:
    """The smallest encode that loses at most so many points of quality; ``None`` where each loses more."""
    for crf in reversed(_CRFS[codec]):
        points = _points(before, _log2_step(codec, crf))
        if points >= -most_loss:
            size_bytes = _size_bytes(before, codec, crf)
            return Reencode(crf, size_bytes, _gain(before, size_bytes, points))
    return None


def _log2_step(codec: TargetCodec, crf: int) -> float:
    """As it shows, on the average: encoders take coarser steps for what is seen for a moment."""
    step = index_log2_step(_INDEX_BY_CRF * crf) if codec == "av1" else qp_log2_step(crf)
    return visible_log2_step(codec, step) + _OFFSETS[codec]


def _points(before: Compressed, log2_step: float) -> float:
    """Of quality: negative, what a second quantiser costs. At the film's own size, as VMAF compares the two."""
    both = math.log2(4**before.log2_step + 4**log2_step) / 2
    scores = [score_of(step, _LINES, "").score for step in (before.log2_step, both)]
    return round(scores[1] - scores[0], 1)


def _size_bytes(before: Compressed, codec: TargetCodec, crf: int) -> float:
    as_h264 = before.size_bytes * h264_bits_per_pixel(before.codec, 1.0)
    coarser = _log2_step(codec, crf) - before.step_of_bits
    return float(as_h264 * 2 ** (-_FEWER[codec] - _SLOPE * coarser - _GROUPS * before.keyframes_only))


def _gain(before: Compressed, size_bytes: float, points: float) -> Gain:
    spread = _SPREAD if before.told and not before.keyframes_only else _WIDE_SPREAD
    least, saved, most = (before.size_bytes - size_bytes * 2**off for off in (spread, 0.0, -spread))
    half = (before.size_bytes + size_bytes) / 2  # the size that half of the saving comes to
    return Gain(
        bytes_saved=round(saved),
        least_bytes=max(0, round(least)),
        most_bytes=round(most),
        points=points,
        confidence=round(NormalDist(0, spread).cdf(math.log2(half / size_bytes)), 2),
    )
