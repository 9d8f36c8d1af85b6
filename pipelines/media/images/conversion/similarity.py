"""How like its original a picture looks: SSIMULACRA2, 100 where nothing differs, 90 visually lossless, 70 high quality.

The measure is Jon Sneyers' (Cloudinary), version 2.1: errors of structure, edges that were added and edges that were
lost, in the colour space XYB at several scales, each by its mean and its 4-norm, weighted by what viewers said of
thousands of compressed pictures (https://github.com/cloudinary/ssimulacra2; its constants are taken over). Where the
published program's recursive filter runs into the border, the picture is mirrored here: with the same border, the PyPI
package ssimulacra2 0.3.0 tells the same to a hundredth. A picture smaller than 128 pixels is mirrored up to it, too.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.media.images.srgb import LINEAR

Plane = NDArray[np.float32]

# From linear RGB to what the eye's long, medium and short cones take in; as in JPEG XL.
_ABSORBANCE = np.array(
    [[0.30, 0.622, 0.078], [0.23, 0.692, 0.078], [0.24342268924547819, 0.20476744424496821, 0.5518098665095536]],
    np.float32,
)
_BIAS = 0.0037930732552754493
_C2 = 0.0009
_BEHIND = (0.1, 0.9)  # shows through clear parts; the worse of the two counts
_X, _Y, _B = range(3)
_LINEAR = LINEAR.astype(np.float32)
_SIGMA, _TAPS = 1.5, (11, 11)

# By plane and scale (0 is the whole size): the weights of structure, added edges and lost edges, of their means and
# of their 4-norms. The published 108 weights but those below 0.003, remains of the fit: without them whole maps needn't
# be computed, among them all of the sixth scale, and no score changes by 0.1.
_WEIGHTS = {
    (_X, 1): ((0, 0, 0), (1.1041726426657346, 0, 0)),
    (_X, 2): ((0, 0, 0), (1.8422455520539298, 11.441172603757666, 0)),
    (_X, 3): ((0, 0, 0), (1.8787594979546387, 10.94906990605142, 0)),
    (_X, 4): ((0, 0.9677937080626833, 0), (0, 0.9981766977854967, 0)),
    (_Y, 0): ((0, 0, 0), (7.466890328078848, 0, 17.445833984131262)),
    (_Y, 1): ((0, 0, 0), (6.683678146179332, 0, 1.027889937768264)),
    (_Y, 2): ((225.20515300849274, 0, 0), (19.213238186143016, 0, 0)),
    (_Y, 3): ((176.39317598450694, 0, 0), (24.43300999870476, 0.28520802612117757, 0)),
    (_Y, 4): ((0, 0, 0), (34.77906344483772, 44.835625328877896, 0)),
    (_B, 3): ((0, 0, 0), (8.826982764996862, 23.19243343998926, 0)),
    (_B, 4): (
        (95.1080498811086, 0.9863978034400682, 0.9834382792465353),
        (0, 171.2667255897307, 0.9807858872435379),
    ),
}
_SCALES = 5
LEAST_SIDE = 8 << (_SCALES - 1)  # a smaller picture is mirrored up to it: the last scale needs 8 pixels


@dataclass(frozen=True)
class _Known:
    """One plane of the original at one scale, with what is computed of it alone."""

    plane: Plane
    mean: Plane
    variance: Plane
    edges: Plane


class Original:
    """A picture that others are compared with: 35 to 80 ms a megapixel each time, with alpha twice as much."""

    def __init__(self, picture: NDArray[np.uint8]) -> None:
        """``picture`` is (height, width, channel) of 1 (grey), 3 (sRGB) or 4 (with alpha) channels."""
        self._behind = _BEHIND if picture.shape[2] == 4 else _BEHIND[:1]
        self._known = [
            {key: _known(plane) for key, plane in _planes(_linear(picture, behind))} for behind in self._behind
        ]

    def likeness(self, picture: NDArray[np.uint8]) -> float:
        """The SSIMULACRA2 score of a picture of the same width and height: at most 100, of ruins below 0."""
        return min(
            _score(known, _linear(picture, behind)) for behind, known in zip(self._behind, self._known, strict=True)
        )


def likeness(original: NDArray[np.uint8], picture: NDArray[np.uint8]) -> float:
    """The SSIMULACRA2 score of ``picture``, once; see ``Original``."""
    return Original(original).likeness(picture)


def _score(known: dict[tuple[int, int], _Known], linear: NDArray[np.float32]) -> float:
    error = sum(_error(known[key], plane, *_WEIGHTS[key]) for key, plane in _planes(linear)) * 0.9562382616834844
    error = 2.326765642916932 * error - 0.020884521182843837 * error**2 + 6.248496625763138e-05 * error**3
    return 100 - 10 * float(max(0.0, error) ** 0.6276336467831387)


def _linear(picture: NDArray[np.uint8], behind: float) -> NDArray[np.float32]:
    """Linear RGB from 0 to 1, mirrored up to the least side."""
    height, width, channels = picture.shape
    if min(height, width) < LEAST_SIDE:
        below, beside = max(0, LEAST_SIDE - height), max(0, LEAST_SIDE - width)
        picture = np.asarray(cv2.copyMakeBorder(picture, 0, below, 0, beside, cv2.BORDER_REFLECT), np.uint8)
        picture = picture[..., None] if picture.ndim == 2 else picture
    if channels == 1:
        return np.repeat(_LINEAR[picture], 3, axis=2)
    if channels == 3:
        return _LINEAR[picture]
    alpha = picture[..., 3:].astype(np.float32) / 255
    colours: NDArray[np.float32] = _LINEAR[picture[..., :3]]
    return np.asarray(colours * alpha + np.float32(behind) * (1 - alpha), np.float32)


def _planes(linear: NDArray[np.float32]) -> Iterator[tuple[tuple[int, int], Plane]]:
    """The planes that have a weight, as (plane, scale) and its pixels."""
    for scale in range(_SCALES):
        if scale:
            linear = _halved(linear)
        wanted = [plane for plane in range(3) if (plane, scale) in _WEIGHTS]
        for plane, pixels in zip(wanted, _xyb(linear, wanted), strict=True):
            yield (plane, scale), pixels


def _halved(linear: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means of two by two pixels; the last of an odd number counts twice."""
    height, width = linear.shape[:2]
    if height % 2 or width % 2:
        linear = np.asarray(cv2.copyMakeBorder(linear, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE), np.float32)
    size = linear.shape[1] // 2, linear.shape[0] // 2
    return np.asarray(cv2.resize(linear, size, interpolation=cv2.INTER_AREA), np.float32)


def _xyb(linear: NDArray[np.float32], wanted: list[int]) -> Iterator[Plane]:
    """Planes of XYB, moved and stretched so that all are above 0."""
    rows = _ABSORBANCE if _B in wanted else _ABSORBANCE[:2]
    mixed = cv2.transform(linear, np.hstack([rows, np.full((len(rows), 1), _BIAS, np.float32)]))
    roots = [np.asarray(cv2.pow(each, 1 / 3), np.float32) for each in cv2.split(mixed)]
    bias = np.float32(_BIAS ** (1 / 3))
    for plane in wanted:
        if plane == _X:
            yield 7 * (roots[0] - roots[1]) + np.float32(0.42)
        elif plane == _Y:
            yield 0.5 * (roots[0] + roots[1]) + (np.float32(0.01) - bias)
        else:
            yield roots[2] - 0.5 * (roots[0] + roots[1]) + np.float32(0.55)


def _known(plane: Plane) -> _Known:
    mean = _blurred(plane)
    return _Known(plane, mean, _blurred(plane * plane) - mean * mean, 1 + np.abs(plane - mean))


def _blurred(plane: Plane) -> Plane:
    return np.asarray(cv2.GaussianBlur(plane, _TAPS, _SIGMA, borderType=cv2.BORDER_REFLECT), np.float32)


def _error(known: _Known, plane: Plane, of_mean: tuple[float, ...], of_norm: tuple[float, ...]) -> float:
    mean = _blurred(plane)
    total = 0.0
    if of_mean[0] or of_norm[0]:
        covariance = _blurred(known.plane * plane) - known.mean * mean
        variance = _blurred(plane * plane) - mean * mean
        alike = (2 * covariance + np.float32(_C2)) / (known.variance + variance + np.float32(_C2))
        structure = 1 - (1 - (known.mean - mean) ** 2) * alike
        total += _weighted(np.maximum(structure, 0), of_mean[0], of_norm[0])
    if any(of_mean[1:] + of_norm[1:]):
        edges = (1 + np.abs(plane - mean)) / known.edges - 1
        total += _weighted(np.maximum(edges, 0), of_mean[1], of_norm[1])
        total += _weighted(np.maximum(-edges, 0), of_mean[2], of_norm[2])
    return total


def _weighted(errors: Plane, of_mean: float, of_norm: float) -> float:
    total = of_mean * float(errors.mean()) if of_mean else 0.0
    if of_norm:
        squares = (errors * errors).ravel()
        total += of_norm * float(np.dot(squares, squares) / squares.size) ** 0.25
    return total
