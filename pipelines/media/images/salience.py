"""Find what stands out of a picture."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.media.images.info import Box

_SIDE = 96  # what stands out is looked for in a picture of this size: fine detail never does
_THRESHOLD = 3.0  # times the mean: Hou and Zhang's own
_SHARE = 0.25  # of the heaviest spot: what weighs less isn't part of what the box is put around
_FLAT = 1.0  # levels: where all of a picture lies within so few, only rounding stands out


def salience_map(grey: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
    """How much each place of ``grey`` (height, width) differs from the rest, and the map's scale against it.

    Hou and Zhang, "Saliency Detection: A Spectral Residual Approach", CVPR 2007: what is left of the log amplitude
    spectrum when its local mean is taken away shows, transformed back, what differs from the rest of the picture.
    """
    factor = _SIDE / max(grey.shape)
    height, width = (max(1, round(length * factor)) for length in grey.shape)
    small = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    spectrum = np.fft.fft2(small)
    amplitude = np.log(np.abs(spectrum) + 1e-6).astype(np.float32)
    residual = amplitude - cv2.blur(amplitude, (3, 3))
    shown = np.abs(np.fft.ifft2(np.exp(residual + 1j * np.angle(spectrum)))) ** 2
    return np.asarray(cv2.GaussianBlur(shown.astype(np.float32), (0, 0), 2.5), np.float32), factor


def salient_box(grey: NDArray[np.uint8]) -> Box | None:
    """The box around what stands out of ``grey`` (height, width); None where nothing does.

    What lies above three times the map's mean stands out (Hou and Zhang, section 4); of its spots, those count that
    weigh a quarter of the heaviest or more.
    """
    if int(grey.max()) - int(grey.min()) <= _FLAT:
        return None
    found, _ = salience_map(grey)
    count, labels, boxes, _ = cv2.connectedComponentsWithStats((found > _THRESHOLD * found.mean()).astype(np.uint8))
    if count < 2:
        return None
    weights = np.bincount(labels.ravel(), found.ravel(), count)[1:]
    kept = boxes[1:][weights >= _SHARE * weights.max()]
    left, top = kept[:, 0].min(), kept[:, 1].min()
    right, bottom = (kept[:, 0] + kept[:, 2]).max(), (kept[:, 1] + kept[:, 3]).max()
    height, width = found.shape
    return Box(
        x=round(float(left) / width, 4),
        y=round(float(top) / height, 4),
        width=round(float(right - left) / width, 4),
        height=round(float(bottom - top) / height, 4),
    )
