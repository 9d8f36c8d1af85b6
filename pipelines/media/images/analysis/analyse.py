"""Find out about a picture: how good it is, what is wrong with it, and what it looks like in few words."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.media.images.analysis.analysis_spec import MOST_PIXELS, Analysis, AnalysisSpec, Measures, memory_bytes
from pipelines.media.images.analysis.measures import (
    Sample,
    cast_of,
    colour_of,
    contrast_of,
    exposure_of,
    noise_of,
    sample_of,
    sharpness_of,
)
from pipelines.media.images.analysis.palette import palette
from pipelines.media.images.analysis.perceptual_hash import dct_hash, difference_hash
from pipelines.media.images.analysis.quality import issues_of, quality_of
from pipelines.media.images.picture import Picture, picture_of, warnings_of
from pipelines.media.images.placeholder import blurhash
from pipelines.media.images.room import ROOM, Room
from pipelines.media.images.salience import salient_box
from pipelines.media.source import Source

_PLACEHOLDER_SIDE = 64


def analyse(source: Source, target: Path, spec: AnalysisSpec, room: Room = ROOM) -> Analysis:  # noqa: ARG001  image functions are called alike
    """What ``source`` is like. Nothing is written: ``target`` isn't used.

    All but the noise is measured of the picture as seen whole on a screen, at most 1024 pixels a side; the measures
    say at what size. What shows only in a closer look isn't found: a picture that is slightly soft at full size.

    Raises:
        SourceError: it's no image that is read here, or it's damaged.
        LimitError: it has too many pixels or bytes.
    """
    with room.place() as take:
        picture = picture_of(source, spec.frame, MOST_PIXELS, lambda info: take(memory_bytes(info, spec)))
        return _analysis(picture, spec)


def _analysis(picture: Picture, spec: AnalysisSpec) -> Analysis:
    sample = sample_of(picture.array)
    measures = measures_of(sample, picture.array)
    return Analysis(
        source=picture.info,
        warnings=warnings_of(picture.info, spec.frame),
        measures=measures,
        quality=quality_of(measures, picture.info),
        issues=issues_of(measures, picture.info),
        palette=palette(sample.colours(), spec.colours),
        phash=dct_hash(sample.grey),
        dhash=difference_hash(sample.grey),
        salience=salient_box(sample.grey),
        blurhash=blurhash(_small(sample.rgb)),
    )


def measures_of(sample: Sample, array: NDArray[np.uint8]) -> Measures:
    """The figures of a picture, ``array`` (height, width, channel) in sRGB, of which ``sample`` was taken."""
    return Measures(
        sharpness=sharpness_of(sample),
        exposure=exposure_of(sample),
        contrast=contrast_of(sample),
        colour=colour_of(sample),
        cast=cast_of(sample),
        noise=noise_of(array),
    )


def _small(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    factor = min(1.0, _PLACEHOLDER_SIDE / max(rgb.shape[:2]))
    size = max(1, round(rgb.shape[1] * factor)), max(1, round(rgb.shape[0] * factor))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
