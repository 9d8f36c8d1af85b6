"""Bring pixels to sRGB, and to as many channels as are wanted."""

import io
from functools import lru_cache

import numpy as np
import pyvips
from numpy.typing import NDArray
from PIL import Image, ImageCms

_SRGB = ImageCms.createProfile("sRGB")
_FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION


def to_srgb(pixels: NDArray[np.uint8], profile: bytes, mode: str) -> NDArray[np.uint8] | None:
    """``pixels`` of Pillow's ``mode`` (L, RGB or CMYK) and ``profile`` as (height, width, 3) in sRGB, perceptual.

    None where the profile is damaged, or of another kind of colour.
    """
    transform = _transform(profile, mode)
    if transform is None:
        return None
    image = Image.fromarray(np.ascontiguousarray(pixels), mode)
    return np.asarray(ImageCms.applyTransform(image, transform))


def print_to_srgb(cmyk: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """CMYK (height, width, 4) without a profile, 255 being all the ink, as (height, width, 3) in sRGB.

    By the profile of a coated sheet that libvips brings: by a formula, inks would glow as no print does.
    """
    height, width, bands = cmyk.shape
    image = pyvips.Image.new_from_memory(np.ascontiguousarray(cmyk), width, height, bands, "uchar")
    shown = image.copy(interpretation="cmyk").colourspace("srgb")
    return np.frombuffer(shown.write_to_memory(), np.uint8).reshape(height, width, 3)


def fits(profile: bytes, mode: str) -> bool:
    """Whether a profile is of the kind of colour that Pillow's ``mode`` has, and can be read."""
    return _transform(profile, mode) is not None


@lru_cache(maxsize=8)  # a profile may have megabytes
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    try:
        return ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            _SRGB,
            mode,
            "RGB",
            renderingIntent=ImageCms.Intent.PERCEPTUAL,
            flags=_FLAGS,
        )
    except (ImageCms.PyCMSError, OSError, ValueError):  # of another colour space than the pixels, or damaged
        return None


@lru_cache(maxsize=8)
def is_srgb(profile: bytes) -> bool:
    """Whether a profile changes no colour by more than a level in 255."""
    transform = _transform(profile, "RGB")
    if transform is None:
        return False
    steps = np.linspace(0, 255, 9).astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
    changed = np.asarray(ImageCms.applyTransform(Image.fromarray(np.ascontiguousarray(cube), "RGB"), transform))
    return int(np.abs(changed.astype(int) - cube).max()) <= 1


def with_channels(array: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """``array`` with 3 or 4 channels, of one that has no more."""
    if array.shape[2] == 1 and channels > 1:
        array = np.repeat(array, 3, axis=2)
    if array.shape[2] == 3 and channels == 4:
        array = np.concatenate([array, np.full((*array.shape[:2], 1), 255, np.uint8)], axis=2)
    return np.ascontiguousarray(array)


def rgb_of_hex(colour: str) -> tuple[int, int, int]:
    """The levels of ``#rrggbb``."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
