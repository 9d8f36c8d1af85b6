"""Better a picture: what is asked for, or what an analysis finds wanting."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from pipelines.media.images.analysis.analyse import measures_of
from pipelines.media.images.analysis.analysis_spec import Measures
from pipelines.media.images.analysis.measures import Sample, sample_of
from pipelines.media.images.analysis.quality import issues_of, quality_of
from pipelines.media.images.encode import check_sides, encoded, written
from pipelines.media.images.enhancement.detail import (
    denoised,
    saturated,
    sharpened,
    with_local_contrast,
    with_sharpness,
)
from pipelines.media.images.enhancement.enhance_spec import (
    Enhanced,
    EnhanceSpec,
    Step,
    StepName,
    format_of,
    memory_bytes,
)
from pipelines.media.images.enhancement.remedies import remedies
from pipelines.media.images.enhancement.tones import STEPS, curves_of, toned
from pipelines.media.images.info import ImageInfo
from pipelines.media.images.picture import Picture, picture_of, warnings_of
from pipelines.media.images.room import ROOM, Room
from pipelines.media.images.scaling import flattened
from pipelines.media.source import Source, name_of

# Noise goes before anything could bring it out. Then light, from what is wrong with it to what is a matter of taste;
# colour after it, as its strength goes with lightness; edges last, as all before would blunt or double them.
ORDER: tuple[StepName, ...] = get_args(StepName)
_AFTER_TONES: tuple[tuple[StepName, Callable[[NDArray[np.uint8], float], NDArray[np.uint8]]], ...] = (
    ("local_contrast", with_local_contrast),
    ("saturation", saturated),
    ("sharpen", sharpened),
    ("sharpness", with_sharpness),
)
_WHITE = (255, 255, 255)


def enhance(source: Source, target: Path, spec: EnhanceSpec, room: Room = ROOM) -> Enhanced:
    """Write the picture as ``target`` + ``-enhanced``: whole, upright, in sRGB, with the metadata that are to be kept.

    Alpha is as it was. Where nothing is to be done, the picture is written as it is; what ``auto`` chose is left undone
    where it would lower the score.

    Raises:
        SourceError: it's no image that is read here, or it's damaged.
        LimitError: it has too many pixels or bytes, or is too large for the format.
        OutOfSpaceError, EncodeError: see ``mux``.
    """
    with room.place() as take:
        picture = picture_of(source, spec.frame, told=lambda info: take(memory_bytes(info, spec)), keep=spec.keep)
        return _enhanced(picture, source, target, spec)


def _enhanced(picture: Picture, source: Source, target: Path, spec: EnhanceSpec) -> Enhanced:
    format_ = format_of(picture.info, spec)
    check_sides((picture.info.width, picture.info.height), format_, name_of(source))
    sample = sample_of(picture.array)
    before = _judged(sample, picture)
    chosen = remedies(before.measures, issues_of(before.measures, picture.info), sample) if spec.auto else ()
    steps = _steps(spec, chosen)
    made = enhanced(picture.array, sample, steps)
    after = _judged(sample_of(made), Picture(picture.info, made)) if steps else before
    if chosen and after.score < before.score:  # what was found can't be mended so, as of a graphic that's meant so
        steps = _steps(spec, ())
        made = enhanced(picture.array, sample, steps)
        after = _judged(sample_of(made), Picture(picture.info, made)) if steps else before
    shown = flattened(made, _WHITE) if format_ == "jpeg" else made
    size = made.shape[1], made.shape[0]
    data = picture.along.within(encoded((shown,), format_, spec.quality), format_, size)
    return Enhanced(
        source=picture.info,
        files=(written(target, "-enhanced", data, format_, size),),
        warnings=_warnings(picture.info, spec, steps),
        done=steps,
        before=before.measures,
        after=after.measures,
        score_before=before.score,
        score_after=after.score,
    )


@dataclass(frozen=True)
class _Judged:
    measures: Measures
    score: float


def _judged(sample: Sample, picture: Picture) -> _Judged:
    measures = measures_of(sample, picture.array)
    return _Judged(measures, quality_of(measures, picture.info).score)


def enhanced(array: NDArray[np.uint8], sample: Sample, steps: tuple[Step, ...]) -> NDArray[np.uint8]:
    """``array`` (height, width, channel) in sRGB, of which ``sample`` was taken, with ``steps`` done."""
    amounts = {step.name: step.amount for step in steps}
    colours = array[..., :3]
    if amount := amounts.get("denoise"):
        colours = denoised(colours, amount)
    if not amounts.keys().isdisjoint(STEPS):
        colours = toned(colours, curves_of(sample, steps))
    for name, change in _AFTER_TONES:
        if amount := amounts.get(name):
            colours = change(colours, amount)
    return np.concatenate([colours, array[..., 3:]], axis=2) if array.shape[2] == 4 else colours


def _steps(spec: EnhanceSpec, chosen: tuple[Step, ...]) -> tuple[Step, ...]:
    """What was asked for and what was chosen, in order; what was asked for has the say."""
    steps = {step.name: step for step in chosen}
    steps |= {name: Step(name=name, amount=amount, why="asked for") for name, amount in spec.asked().items()}
    return tuple(steps[name] for name in ORDER if name in steps)


def _warnings(info: ImageInfo, spec: EnhanceSpec, steps: tuple[Step, ...]) -> tuple[str, ...]:
    warnings = list(warnings_of(info))
    if not steps:
        warnings.append("Nothing to better was found; the picture is written with the same pixels.")
    if info.frames > 1:
        warnings.append(f"It has {info.frames} frames; one of them is written.")
    if info.alpha and format_of(info, spec) == "jpeg":
        warnings.append("JPEG has no alpha; what is clear is white.")
    return tuple(warnings)
