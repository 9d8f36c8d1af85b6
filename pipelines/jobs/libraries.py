"""The libraries that decode, encode and measure: what is made and found out depends on their versions."""

from collections.abc import Sequence
from functools import cache
from importlib.metadata import version

FILMS = ("av", "opencv-python-headless", "pillow")
PICTURES = ("pillow", "opencv-python-headless", "pyvips-binary")
_VMAF = ("imageio-ffmpeg",)
ALL = tuple(sorted({*FILMS, *PICTURES, *_VMAF}))

_version = cache(version)


def versions_of(libraries: Sequence[str]) -> tuple[str, ...]:
    """``name-version`` of each, as it is installed."""
    return tuple(f"{name}-{_version(name)}" for name in libraries)
