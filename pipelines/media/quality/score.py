"""A score for how a picture looks, out of how coarsely it was quantised and how much detail it can show. Pure.

VMAF, which needs the original, falls with the logarithm of the quantiser's step and rises with that of the number of
lines; over encodes of one film, both together order them as VMAF does. The constants were fitted to VMAF on six films
and hold on others (``docs/decisions/0022-quality.md``).
"""

import math
from typing import get_args

from pipelines.media.info import VideoInfo
from pipelines.media.quality.quality_spec import Grade, Score, ScorePart

_GAIN = 0.74  # of the logistic curve, for each halving of the step
_LEVEL = 4.5  # where the score of a step of one level lies on it, at 1080 lines
_LINES = 1.25  # steps are as bad as they are by the number of lines, to this power
_SCREEN = (1920, 1080)
_MOST_LINES = 2160
_CLEAN = 0.0  # logarithm of a step of one level, which nobody sees
# A step shows as half of it would in H.264: transforms are larger, what is predicted fits better, filters smooth more.
_LATER_CODECS, _SHOWS_LESS = frozenset({"hevc", "vvc", "vp9", "av1"}), 1.0
# Detail that isn't there counts where the step is fine; where it's coarse, it was the step that took it, which counts.
_FINE, _COARSE = 2.0, 4.0
# log2 step of x264, by its bits per pixel and its spatial information; within 0.9 (deviation) on the films of the fit.
_OF_BITS, _OF_INFORMATION, _OF_NONE = -0.97, 0.80, -4.86
# About how many bits H.264 takes where these take one: from codec comparisons of their times, rounded.
_EFFICIENCY = {
    **{"mpeg1video": 0.4, "mpeg2video": 0.5, "h263": 0.6, "mpeg4": 0.7, "msmpeg4v3": 0.7, "vc1": 0.9, "wmv3": 0.85},
    **{"theora": 0.7, "vp8": 0.9, "vp9": 1.4, "hevc": 1.5, "av1": 1.8, "vvc": 2.2},
    **{"mjpeg": 0.15, "prores": 0.15, "dnxhd": 0.15, "dvvideo": 0.15, "jpeg2000": 0.2},
}
_GRADES: tuple[Grade, ...] = get_args(Grade)[::-1]
LOSSLESS = frozenset({"rawvideo", "ffv1", "huffyuv", "utvideo", "magicyuv", "v210", "png", "qtrle", "ffvhuff"})


def lines_on_screen(video: VideoInfo) -> float:
    """Lines of a 16:9 screen that the picture has, when it's as large as fits: a wide one's width counts."""
    width, height = video.width, video.height
    if video.rotation_deg % 180:
        width, height = height, width
    return max(float(height), width * _SCREEN[1] / _SCREEN[0])


def visible_log2_step(codec: str | None, log2_step: float) -> float:
    """The step of H.264 that shows as much."""
    return log2_step - _SHOWS_LESS if codec in _LATER_CODECS else log2_step


def effective_share(detail: float, log2_step: float) -> float:
    """The share of the lines that counts: of ``detail``, what the quantiser isn't to blame for."""
    trust = min(1.0, max(0.0, (_COARSE - log2_step) / (_COARSE - _FINE)))
    return float(min(1.0, detail) ** trust)


def h264_bits_per_pixel(codec: str | None, bits_per_pixel: float) -> float:
    return bits_per_pixel * _EFFICIENCY.get(codec or "", 1.0)


def estimated_log2_step(codec: str | None, bits_per_pixel: float, spatial_information: float) -> float:
    """The visible one, where the stream doesn't tell: what H.264 takes for so many bits and so busy a picture."""
    bits = math.log2(max(1e-6, h264_bits_per_pixel(codec, bits_per_pixel)))
    return _OF_BITS * bits + _OF_INFORMATION * math.log2(spatial_information + 1) + _OF_NONE


def score_of(log2_step: float, lines: float, source: str) -> Score:
    """``log2_step``: the visible one. ``lines`` of a full screen that the detail fills. ``source``: of the step."""
    log2_step = max(_CLEAN, log2_step)
    resolution = _LINES * math.log2(max(1.0, min(lines, _MOST_LINES)) / _SCREEN[1])
    score = _curve(resolution - log2_step)
    coarse, few = log2_step - _CLEAN, max(0.0, -resolution)
    # Both bear upon the score by one sum, so that each takes its share of what that takes.
    lost = max(0.0, _curve(-_CLEAN) - score) / (coarse + few) if coarse + few else 0.0
    return Score(
        score=score,
        grade=grade_of(score),
        parts=(
            ScorePart(
                name="compression",
                score=_curve(-log2_step),
                lost=round(lost * coarse, 1),
                value=round(2**log2_step, 2),
                unit="levels of quantiser step, as H.264 shows them",
                source=source,
            ),
            ScorePart(
                name="resolution",
                score=_curve(resolution - _CLEAN),
                lost=round(lost * few, 1),
                value=round(lines),
                unit="lines",
                source="the picture's size, and the highest frequency with detail in it",
            ),
        ),
    )


def grade_of(score: float) -> Grade:
    return _GRADES[min(len(_GRADES) - 1, int(score / 100 * len(_GRADES)))]


def _curve(badness: float) -> float:
    return round(100 / (1 + math.exp(-_GAIN * badness - _LEVEL)), 1)
