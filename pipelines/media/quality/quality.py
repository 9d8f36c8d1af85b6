"""Measure how good a film looks and sounds without its original: in windows, or all of it in parts."""

import time

from pipelines.media.errors import SourceUnsupportedError
from pipelines.media.info import MediaInfo
from pipelines.media.keyframes import cut_off_warning, find_keyframes, pictures_end_s
from pipelines.media.limits import check_picture
from pipelines.media.parts import Part
from pipelines.media.passes import run_pass
from pipelines.media.probing.probe import probe
from pipelines.media.progress import OnProgress, ProgressMeter
from pipelines.media.quality.listener import QualityListener
from pipelines.media.quality.quality_result import conclude
from pipelines.media.quality.quality_spec import Measured, QualityPlan, QualityResult, QualitySpec
from pipelines.media.quality.windows import measure_windows
from pipelines.media.source import Source, name_of
from pipelines.media.truncation import HONEST_DURATIONS
from pipelines.media.validation.full import plan_validation

MOST_POINTS = 300
_LEAST_STEP_S = 0.2


def quality_of(source: Source, spec: QualitySpec, threads: int, on_progress: OnProgress) -> QualityResult:
    """Measure ``source``, one part after the other.

    Raises:
        SourceError, LimitError: see ``plan_quality``.
    """
    plan = plan_quality(source, spec, 1, on_progress)
    if not spec.full:
        return conclude(plan, [measure_windows(source, plan, threads, on_progress)], spec)
    return conclude(plan, [measure_part(source, plan, part, threads, on_progress) for part in plan.parts], spec)


def plan_quality(source: Source, spec: QualitySpec, slots: int, on_progress: OnProgress) -> QualityPlan:
    """Read the headers of ``source``; if all of it is to be measured, cut it into parts for ``slots`` CPUs.

    Raises:
        SourceError: see ``open_input``; SourceUnsupportedError: it has neither moving pictures nor sound.
        LimitError: its pictures are too large.
    """
    info = probe(source, measured=True)
    check_measurable(name_of(source), info)
    warnings = cut_off_warnings(source, info)
    if not spec.full:
        return QualityPlan(info=info, warnings=warnings)
    planned = plan_validation(source, slots, on_progress)
    return QualityPlan(info=info, parts=planned.parts, every_s=full_step_s(info), warnings=warnings)


def cut_off_warnings(source: Source, info: MediaInfo) -> tuple[str, ...]:
    """What is told of a film that ends before its header says: by its index, or where it has none by all packets."""
    if info.video is None or info.container not in HONEST_DURATIONS:
        return ()
    keyframes = find_keyframes(source, info, info.video.index, ProgressMeter(lambda _: None, info.duration_s))
    end_s = pictures_end_s(info, info.video, keyframes, info.start_s)
    return cut_off_warning(name_of(source), info, keyframes, end_s)


def check_measurable(name: str, info: MediaInfo) -> None:
    """Refuse a file of that ``name`` of which nothing can be measured.

    Raises:
        SourceUnsupportedError: it has neither moving pictures nor sound.
        LimitError: its pictures are too large.
    """
    if info.video is None and not info.audio:
        raise SourceUnsupportedError(f"{name} has neither moving pictures nor sound to measure.")
    if info.video is not None:
        check_picture(info.video)


def full_step_s(info: MediaInfo) -> float:
    """How often a picture of a full measurement is measured, in seconds."""
    return max(_LEAST_STEP_S, (info.duration_s or 0.0) / MOST_POINTS)


def measure_part(source: Source, plan: QualityPlan, part: Part, threads: int, on_progress: OnProgress) -> Measured:
    """Measure a part of ``source``, which is decoded.

    Raises:
        SourceError: see ``run_pass``.
    """
    started_s = time.monotonic()
    video = plan.info.video
    listener = QualityListener(video if video is not None and video.index in part.streams else None, plan.every_s)
    failed = run_pass(source, part, [listener], threads, on_progress)
    return listener.result().model_copy(
        update={
            "warnings": () if failed is None else (f"{name_of(source)} can't be read to its end: {failed}.",),
            "elapsed_s": round(time.monotonic() - started_s, 3),
        }
    )
