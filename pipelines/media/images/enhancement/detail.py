"""Change a picture's detail: noise, local contrast, colour and edges. Pictures are (height, width, 1 or 3) in sRGB."""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.media.images.analysis.measures import SIDE, luma_of
from pipelines.media.images.srgb import lab_of, rgb_of

NOISE_OF_ALL = 25.0  # levels: the noise that denoising is for at an amount of 1
_STRIP = 256  # rows at a time where floats are needed, so that a large picture takes no memory to speak of
_FILTER = 0.8  # of the noise: non-local means keeps most of 0.6, 0.8 and 1.0 in photographs with noise added
_PATCH, _SEARCH = 5, 11  # pixels: a quarter of the time of OpenCV's 7 and 21, and better by 1 to 2 dB there
_COLOUR_WINDOW = 9  # pixels: colour is seen less sharply than light
_TILES, _CLIP = 8, 2.0  # Zuiderveld's grid, and a limit at which smooth skies stay smooth
_EDGE_SIGMA, _MOST_SIGMA = 1.2, 4.0  # pixels, of the width of edges that are sharpened: as seen on a screen, at most
_EDGE_GAIN = 2.0
_NOT_EDGES = 2.0  # levels: what differs less from its surroundings is noise or a JPEG's blocks


def denoised(picture: NDArray[np.uint8], amount: float) -> NDArray[np.uint8]:
    """Light by non-local means, colour by a guided filter.

    Buades, Coll and Morel, "A non-local algorithm for image denoising", CVPR 2005; He, Sun and Tang, "Guided Image
    Filtering", ECCV 2010, guided by the channel itself.
    """
    sigma = amount * NOISE_OF_ALL
    if picture.shape[2] == 1:
        return _means(picture[..., 0], sigma)[..., None]
    planes = np.asarray(cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2YCrCb), np.uint8)
    planes[..., 0] = _means(planes[..., 0], sigma)
    for channel in (1, 2):
        planes[..., channel] = _guided(planes[..., channel], sigma)
    return np.asarray(cv2.cvtColor(planes, cv2.COLOR_YCrCb2RGB), np.uint8)


def _means(plane: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    made = cv2.fastNlMeansDenoising(np.ascontiguousarray(plane), None, _FILTER * sigma, _PATCH, _SEARCH)
    return np.asarray(made, np.uint8)


def _guided(plane: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    made = np.empty_like(plane)
    for top, bottom, above, below in _strips(plane.shape[0], _COLOUR_WINDOW):
        part = plane[above:below].astype(np.float32)
        window = (_COLOUR_WINDOW, _COLOUR_WINDOW)
        mean = cv2.blur(part, window)
        spread = np.maximum(cv2.blur(part * part, window) - mean * mean, 0)
        kept = spread / (spread + sigma**2)
        smooth = cv2.blur(kept, window) * part + cv2.blur(mean * (1 - kept), window)
        made[top:bottom] = np.clip(smooth + 0.5, 0, 255)[top - above : bottom - above]
    return made


def with_local_contrast(picture: NDArray[np.uint8], amount: float) -> NDArray[np.uint8]:
    """CLAHE of CIE L*, mixed with what was there by ``amount``.

    Zuiderveld, "Contrast Limited Adaptive Histogram Equalization", Graphics Gems IV, 1994.
    """
    equaliser = cv2.createCLAHE(_CLIP, (_TILES, _TILES))
    if picture.shape[2] == 1:
        grey = np.ascontiguousarray(picture[..., 0])
        return np.asarray(cv2.addWeighted(equaliser.apply(grey), amount, grey, 1 - amount, 0), np.uint8)[..., None]
    lightness = np.empty(picture.shape[:2], np.uint8)
    for top, bottom, *_ in _strips(picture.shape[0], 0):
        lightness[top:bottom] = lab_of(picture[top:bottom])[..., 0] * 2.55 + 0.5
    equal = equaliser.apply(lightness)
    made = np.empty_like(picture)
    for top, bottom, *_ in _strips(picture.shape[0], 0):
        lab = lab_of(picture[top:bottom])
        # The difference is added, so that what isn't changed keeps its levels to the last bit.
        change = equal[top:bottom].astype(np.float32) - lightness[top:bottom]
        lab[..., 0] = np.clip(lab[..., 0] + change * np.float32(amount / 2.55), 0, 100)
        made[top:bottom] = rgb_of(lab)
    return made


def saturated(picture: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """Each pixel's distance from its luma, times ``factor``: as Pillow's ImageEnhance.Color."""
    if picture.shape[2] == 1:
        return picture
    made = np.empty_like(picture)
    for top, bottom, *_ in _strips(picture.shape[0], 0):
        part = picture[top:bottom]
        luma = luma_of(part)[..., None].astype(np.float32)
        made[top:bottom] = np.clip(luma + np.float32(factor) * (part - luma) + 0.5, 0, 255)
    return made


def sharpened(picture: NDArray[np.uint8], amount: float) -> NDArray[np.uint8]:
    """Unsharp mask of luma, which is added to all channels so that no colours show at edges.

    Edges are as wide as they are seen on a screen: of a picture of 4096 pixels, four times as wide as of 1024.
    """
    sigma = min(_MOST_SIGMA, _EDGE_SIGMA * max(1.0, max(picture.shape[:2]) / SIDE))
    made = np.empty_like(picture)
    for top, bottom, above, below in _strips(picture.shape[0], int(4 * sigma) + 1):
        luma = luma_of(picture[above:below]).astype(np.float32)
        edges = (luma - cv2.GaussianBlur(luma, (0, 0), sigma))[top - above : bottom - above]
        edges = np.sign(edges) * np.maximum(np.abs(edges) - _NOT_EDGES, 0)
        changed = picture[top:bottom] + np.float32(amount * _EDGE_GAIN) * edges[..., None]
        made[top:bottom] = np.clip(changed + 0.5, 0, 255)
    return made


def with_sharpness(picture: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """Each pixel's distance from its surroundings, times ``factor``: as Pillow's ImageEnhance.Sharpness."""
    kernel = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13
    made = np.empty_like(picture)
    for top, bottom, above, below in _strips(picture.shape[0], 1):
        part = np.ascontiguousarray(picture[above:below])
        changed = np.asarray(cv2.addWeighted(part, factor, cv2.filter2D(part, -1, kernel), 1 - factor, 0), np.uint8)
        made[top:bottom] = changed.reshape(part.shape)[top - above : bottom - above]
    return made


def _strips(height: int, margin: int) -> Iterator[tuple[int, int, int, int]]:
    """Rows to make, from and up to, and the rows to make them of: ``margin`` more on either side."""
    for top in range(0, height, _STRIP):
        bottom = min(height, top + _STRIP)
        yield top, bottom, max(0, top - margin), min(height, bottom + margin)
