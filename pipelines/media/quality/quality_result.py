"""What all that was measured comes to: a summary, a score, and what would make the film better. Pure."""

import math
from collections.abc import Sequence
from statistics import median, quantiles

from pipelines.media.info import MediaInfo, VideoInfo
from pipelines.media.quality.advice import recommendations
from pipelines.media.quality.flaws import long_enough
from pipelines.media.quality.quality_spec import (
    FlawKind,
    Measured,
    Point,
    QualityPlan,
    QualityResult,
    QualitySpec,
    Score,
    Summary,
)
from pipelines.media.quality.score import (
    LOSSLESS,
    effective_share,
    estimated_log2_step,
    h264_bits_per_pixel,
    lines_on_screen,
    score_of,
    visible_log2_step,
)
from pipelines.media.video_plan import nominal_rate

_LISTED = 100  # flaws of a kind
_BLANK_SI = 1.0  # spatial information below which a picture shows nothing: noise of half a level has as much
_BLANK = "There is nothing to see: all pictures that were measured are black or of one shade. So there is no score."


def conclude(plan: QualityPlan, pieces: Sequence[Measured], spec: QualitySpec) -> QualityResult:
    """The result of all parts, or of the windows."""
    info, video = plan.info, plan.info.video
    points = sorted((point for piece in pieces for point in piece.points), key=lambda point: point.time_s)
    found = long_enough(flaw for piece in pieces for flaw in piece.flaws)
    flawed_s: dict[FlawKind, float] = {}
    for each in found:
        flawed_s[each.kind] = round(flawed_s.get(each.kind, 0.0) + each.end_s - each.start_s, 3)
    listed = [each for kind in flawed_s for each in [flaw for flaw in found if flaw.kind == kind][:_LISTED]]
    summary, score = (None, None) if video is None or not points else _picture(info, video, points)
    pictures, samples = sum(piece.pictures for piece in pieces), sum(piece.samples for piece in pieces)
    warnings = [*plan.warnings, *(warning for piece in pieces for warning in piece.warnings)]
    if summary is not None and _is_blank(summary):
        warnings.append(_BLANK)
    if video is not None and not pictures:
        warnings.append("No picture decodes; its file is damaged.")
    if info.audio and not samples:
        warnings.append("No sound decodes; its file is damaged.")
    return QualityResult(
        score=None if score is None else score.score,
        grade=None if score is None else score.grade,
        parts=() if score is None else score.parts,
        summary=summary,
        points=tuple(points),
        flaws=tuple(sorted(listed, key=lambda flaw: flaw.start_s)),
        flawed_s=flawed_s,
        recommendations=recommendations(info, summary, score, flawed_s),
        sampled=not spec.full,
        pictures=pictures,
        samples=samples,
        duration_s=info.duration_s,
        warnings=tuple(dict.fromkeys(warnings)),
        worked_s=round(sum(piece.elapsed_s for piece in pieces), 3),
    )


def _picture(info: MediaInfo, video: VideoInfo, points: Sequence[Point]) -> tuple[Summary, Score | None]:
    bits = _bits_per_pixel(info, video)
    told = [math.log2(point.step) for point in points if point.step]
    log2_step, source = _step(video, told, bits, median(point.si for point in points))
    detailed = [point.detail for point in points if point.detail is not None]
    # Some shots are out of focus: those that aren't tell what the film's pixels hold.
    detail = 1.0 if not detailed else detailed[0] if len(detailed) == 1 else quantiles(detailed, method="inclusive")[2]
    share = effective_share(detail, 0.0 if log2_step is None else log2_step)
    blurs = [point.blur for point in points if point.blur is not None]
    summary = Summary(
        si=max(point.si for point in points),
        ti=max((point.ti for point in points if point.ti is not None), default=None),
        blur=round(median(blurs), 4) if blurs else None,
        blockiness=round(median(point.blockiness for point in points), 4),
        noise=round(median(point.noise for point in points), 4),
        banding=round(median(point.banding for point in points), 4),
        step=round(2 ** (sum(told) / len(told)), 3) if told else None,
        bits_per_pixel=bits,
        h264_bits_per_pixel=None if bits is None else round(h264_bits_per_pixel(video.codec, bits), 5),
        height=min(video.width, video.height),
        effective_height=round(share * min(video.width, video.height)),
    )
    if log2_step is None or _is_blank(summary):
        return summary, None
    return summary, score_of(log2_step, lines_on_screen(video) * share, source)


def _is_blank(summary: Summary) -> bool:
    return summary.si < _BLANK_SI


def _step(video: VideoInfo, told: Sequence[float], bits: float | None, busy: float) -> tuple[float | None, str]:
    """The logarithm of the quantiser's step as it shows, and where it was learned from."""
    if told:
        return visible_log2_step(video.codec, sum(told) / len(told)), "the quantisers in the stream"
    if video.codec in LOSSLESS:
        return 0.0, "a codec without loss"
    if bits is None:
        return None, "unknown"
    return estimated_log2_step(video.codec, bits, busy), "estimated from bits per pixel and detail"


def _bits_per_pixel(info: MediaInfo, video: VideoInfo) -> float | None:
    """Of the picture's stream; where it isn't told, of the file without its sound."""
    rate_bps = video.bit_rate_bps
    if rate_bps is None and info.duration_s:
        sound_bps = sum(track.bit_rate_bps or 0 for track in info.audio)
        rate_bps = max(0, round(info.size_bytes * 8 / info.duration_s) - sound_bps)
    if not rate_bps:
        return None
    return round(rate_bps / (video.width * video.height * float(nominal_rate(video))), 5)
