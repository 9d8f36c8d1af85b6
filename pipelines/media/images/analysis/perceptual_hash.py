"""Hashes of what a picture looks like: of alike pictures, few bits differ."""

import numpy as np
from numpy.typing import NDArray

from pipelines.media.images.scaling import scaled

_SIDE, _WAVES = 32, 8


def dct_hash(grey: NDArray[np.uint8]) -> str:
    """The pHash of ``grey`` (height, width): 64 bits as 16 hex digits.

    The lowest 8 x 8 terms of the cosine transform of the picture at 32 x 32 pixels, each told by whether it is above
    their median: Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010, section 3.2.1,
    as the ImageHash library arranges the bits. Up to about 10 bits differ between forms of one picture.
    """
    small = scaled(grey[..., None], (_SIDE, _SIDE), (grey.shape[1], grey.shape[0]))[..., 0]
    waves = np.cos(np.pi / _SIDE * np.outer(np.arange(_WAVES), np.arange(_SIDE) + 0.5))
    # Of a picture that is flat or repeats itself, terms are 0 but for rounding, which must not decide.
    terms = np.round(waves @ small.astype(np.float64) @ waves.T, 5)
    return _hex(terms > np.median(terms))


def difference_hash(grey: NDArray[np.uint8]) -> str:
    """The dHash of ``grey`` (height, width): 64 bits as 16 hex digits.

    Whether each of 8 x 8 pixels is darker than its right neighbour: Krawetz, "Kind of Like That",
    hackerfactor.com, 2013.
    """
    small = scaled(grey[..., None], (_WAVES + 1, _WAVES), (grey.shape[1], grey.shape[0]))[..., 0]
    return _hex(small[:, 1:] > small[:, :-1])


def _hex(bits: NDArray[np.bool_]) -> str:
    return np.packbits(bits).tobytes().hex()
