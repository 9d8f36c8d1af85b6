"""Pictures with known detail."""

import cv2
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 384, 256


def textured(number: int = 0, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """Luma with as much contrast at every scale, as photographs have, that wanders a pixel to the right a number."""
    random = np.random.default_rng(5)
    picture = np.full((height, width + 64), 128, np.float32)
    for octave in range(7):
        size = (-(-(width + 64) >> octave), -(-height >> octave))
        noise = random.normal(0, 12, (size[1], size[0])).astype(np.float32)
        picture += cv2.resize(noise, (width + 64, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(picture[:, number : number + width], 16, 235), np.uint8)


def with_chroma(luma: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """As planar 4:2:0, grey."""
    return np.concatenate([luma, np.full((luma.shape[0] // 2, luma.shape[1]), 128, np.uint8)])
