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
from pipelines.media.images.conversion.convert_spec import ConvertSpec
from pipelines.media.images.conversion.frames import Frames
from pipelines.media.images.conversion.kept import own_bytes
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
    Left,
    Step,
    StepName,
    format_of,
    memory_bytes,
)
from pipelines.media.images.enhancement.remedies import left_alone, remedies
from pipelines.media.images.enhancement.tones import STEPS, curves_of, toned
from pipelines.media.images.header import bytes_of, open_image
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
_BITS = 8  # of a channel, as pictures are worked on


def enhance(source: Source, target: Path, spec: EnhanceSpec, room: Room = ROOM) -> Enhanced:
    """Write the picture as ``target`` + ``-enhanced``: whole, upright, in sRGB, with the metadata that are to be kept.

    Alpha is as it was. What ``auto`` chose is left undone where it would lower the score. Where nothing is to be done,
    the source's compressed pixels are kept, as ``conversion.kept`` can.

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
    issues = issues_of(before.measures, picture.info) if spec.auto else ()
    chosen = remedies(before.measures, issues, sample) if spec.auto else ()
    steps = _steps(spec, chosen)
    made = enhanced(picture.array, sample, steps)
    after = _judged(sample_of(made), Picture(picture.info, made)) if steps else before
    undone: tuple[Step, ...] = ()
    if chosen and after.score < before.score:  # what was found can't be mended so, as of a graphic that's meant so
        undone, steps = chosen, _steps(spec, ())
        made = enhanced(picture.array, sample, steps)
        after = _judged(sample_of(made), Picture(picture.info, made)) if steps else before
    left = left_alone(issues, steps, undone)
    size = made.shape[1], made.shape[0]
    own = _own_bytes(picture, source, spec) if not steps and format_ == picture.info.format else None
    shown = flattened(made, _WHITE) if format_ == "jpeg" else made
    data = encoded((shown,), format_, spec.quality) if own is None else own
    return Enhanced(
        source=picture.info,
        files=(written(target, "-enhanced", picture.along.within(data, format_, size), format_, size),),
        warnings=_warnings(picture.info, spec, steps, left, kept=own is not None),
        done=steps,
        left=left,
        kept=own is not None,
        before=before.measures,
        after=after.measures,
        score_before=before.score,
        score_after=after.score,
    )


def _own_bytes(picture: Picture, source: Source, spec: EnhanceSpec) -> bytes | None:
    """The source with its pixels compressed as they are; None where they can't stay so."""
    name, data = name_of(source), bytes_of(source)
    asked = ConvertSpec(frame=spec.frame, depth="keep")
    with open_image(data, name) as image:
        return own_bytes(data, image, Frames(picture.info, (picture.array,)), asked, name)


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


def _warnings(
    info: ImageInfo, spec: EnhanceSpec, steps: tuple[Step, ...], left: tuple[Left, ...], *, kept: bool
) -> tuple[str, ...]:
    format_ = format_of(info, spec)
    warnings = list(warnings_of(info, spec.frame))
    if not steps:
        found = f"Nothing was bettered of what was found ({', '.join(each.issue for each in left)})"
        loss = "" if format_ == "png" else f", which loses a little (quality {spec.quality})"
        written = "its compressed pixels stay." if kept else f"it is only written anew, as {format_.upper()}{loss}."
        warnings.append(f"{found if left else 'Nothing to better was found'}; {written}")
    if info.bits > _BITS and not kept:
        warnings.append(f"Its {info.bits} bits a channel can't be kept; it has {_BITS}.")
    if info.frames > 1:
        warnings.append(f"It has {info.frames} frames; one of them is written.")
    if info.alpha and format_ == "jpeg":
        warnings.append("JPEG has no alpha; what is clear is white.")
    return tuple(warnings)
