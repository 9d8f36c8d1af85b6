"""The colours that a picture is made of."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.media.images.analysis.analysis_spec import Swatch
from pipelines.media.images.srgb import lab_of

_BITS = 5  # of a channel: colours closer than that are one from the start
_ROUNDS = 24
_APART = 6.0  # of Lab: colours nearer to each other than that look alike in a palette, and are put together


def palette(colours: NDArray[np.uint8], count: int) -> tuple[Swatch, ...]:
    """At most ``count`` colours of ``colours`` (n, 3) in sRGB, the largest share first.

    Lloyd's k-means ("Least Squares Quantization in PCM", 1982) in CIE Lab over a histogram of 32 levels a channel.
    Nothing in it is random: the first centre is the commonest colour, each further one that which is farthest from
    all so far, times its share (Gonzalez 1985, weighted, so that a stray pixel isn't one).
    """
    means, weights = _histogram(colours)
    lab = lab_of(np.clip(means + 0.5, 0, 255).astype(np.uint8)[None])[0]
    places = np.ascontiguousarray(lab.T, np.float64)
    labels = _grouped(places, weights, count)
    labels = _joined(labels, places, weights)
    shares = np.bincount(labels, weights)
    sums = np.stack([np.bincount(labels, weights * means[:, channel]) for channel in range(3)], axis=1)
    averages = sums / shares[:, None]
    order = np.argsort(-shares, kind="stable")
    total = shares.sum()
    return tuple(Swatch(hex=_hex(averages[each]), share=round(float(shares[each] / total), 4)) for each in order)


def _histogram(colours: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean of each cell of the cube that has any colour, and how many it has."""
    channels = [channel.ravel() for channel in cv2.split(colours[None])]
    red, green, blue = (channel.astype(np.uint16) >> (8 - _BITS) for channel in channels)
    cells = ((red << 2 * _BITS) | (green << _BITS) | blue).astype(np.intp)
    counts = np.bincount(cells, minlength=1 << 3 * _BITS)
    used = np.flatnonzero(counts)
    sums = [np.bincount(cells, channel, counts.size)[used] for channel in channels]
    weights = counts[used].astype(np.float64)
    return np.stack(sums, axis=1) / weights[:, None], weights


def _grouped(places: NDArray[np.float64], weights: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    """Of each of ``places`` (3, n) the group; (3, n) and not (n, 3), as numpy is slow along an axis of three."""
    chosen = [int(weights.argmax())]
    nearest = _distances(places, places[:, chosen[0]])
    while len(chosen) < count and (nearest * weights).max() > 0:
        chosen.append(int((nearest * weights).argmax()))
        nearest = np.minimum(nearest, _distances(places, places[:, chosen[-1]]))
    centres = places[:, chosen].T
    labels = _nearest(places, centres)
    for _ in range(_ROUNDS):
        centres = _centres(labels, places, weights, centres)
        moved = _nearest(places, centres)
        if (moved == labels).all():
            break
        labels = moved
    return _numbered(labels)


def _nearest(places: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.intp]:
    """Which of ``centres`` (k, 3) is nearest to each of ``places``; of several, the first."""
    nearest = _distances(places, centres[0])
    labels = np.zeros(nearest.shape, np.uint8)
    for number, centre in enumerate(centres[1:], 1):
        distances = _distances(places, centre)
        labels = np.maximum(labels, (distances < nearest) * np.uint8(number))  # a mask costs a branch for each place
        np.minimum(nearest, distances, out=nearest)
    return labels.astype(np.intp)


def _numbered(labels: NDArray[np.intp]) -> NDArray[np.intp]:
    """The same groups, without numbers that none has."""
    return np.asarray((np.cumsum(np.bincount(labels) > 0) - 1)[labels])


def _joined(labels: NDArray[np.intp], places: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.intp]:
    """Groups that look alike as one, the nearest first."""
    while (count := int(labels.max()) + 1) > 1:
        centres = _centres(labels, places, weights, np.zeros((count, 3)))
        apart = np.sqrt([_distances(centres.T, centre) for centre in centres]) + np.diag(np.full(count, np.inf))
        one, other = sorted(int(each) for each in np.unravel_index(int(apart.argmin()), apart.shape))
        if apart[one, other] >= _APART:
            break
        labels = _numbered(np.where(labels == other, one, labels))
    return labels


def _centres(
    labels: NDArray[np.intp],
    places: NDArray[np.float64],
    weights: NDArray[np.float64],
    empty: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The weighted mean (k, 3) of each group; where one is empty, its row of ``empty``."""
    count = len(empty)
    held = np.bincount(labels, weights, count)
    sums = np.stack([np.bincount(labels, weights * axis, count) for axis in places], axis=1)
    return np.where(held[:, None] > 0, sums / np.maximum(held, 1)[:, None], empty)


def _distances(places: NDArray[np.float64], centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of ``places`` (3, n) from ``centre`` (3,), squared."""
    lightness, a, b = (np.square(axis - at) for axis, at in zip(places, centre, strict=True))
    return np.asarray(lightness + a + b)


def _hex(colour: NDArray[np.float64]) -> str:
    red, green, blue = (int(each + 0.5) for each in colour)
    return f"#{red:02x}{green:02x}{blue:02x}"
