"""What the load works on: films and photographs, made by a seeded generator, kept in ``build``."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from tests.clips import make_clip
from tests.live_server import settled
from tests.media_factory import rich_film

SHORT_S = 1
_SEED = 6
_SIDES = ((1600, 1067), (1067, 1600), (1280, 960))
_NOISE = 4.0  # levels: what a camera adds


@dataclass(frozen=True)
class Material:
    """``film``, of ``film_s``, is transcoded; ``clips`` are asked about; ``photos`` have one to two megapixels.

    ``short`` lasts ``SHORT_S`` and has 160x90 pixels: what is done with it takes about as long as any job does.
    """

    folder: Path
    film: Path
    film_s: float
    clips: tuple[Path, ...]
    photos: tuple[Path, ...]
    short: Path


def material(folder: Path, film_s: int, clips: int, photos: int) -> Material:
    """Make what isn't there yet. The film has 640x360 pixels, at 25 frames a second."""
    folder.mkdir(parents=True, exist_ok=True)
    return Material(
        folder,
        _made(folder / f"film-{film_s}.mkv", lambda path: make_clip(path, seconds=film_s)),
        film_s,
        tuple(_made(folder / f"clip-{number:02}.mkv", rich_film) for number in range(clips)),
        tuple(
            _made(folder / f"photo-{number:02}.jpg", lambda path, n=number: _photo(path, n)) for number in range(photos)
        ),
        _made(folder / "short.mkv", lambda path: make_clip(path, seconds=SHORT_S, width=160, height=90)),
    )


def _made(path: Path, make: Callable[[Path], object]) -> Path:
    if not path.exists():
        part = path.with_name(f"part-{path.name}")
        make(part)
        settled(part).rename(path)
    return path


def _photo(path: Path, number: int) -> None:
    """Smooth shapes with noise: as large and as slow to decode as a photograph."""
    rng = np.random.default_rng((_SEED, number))
    width, height = _SIDES[number % len(_SIDES)]
    coarse = rng.integers(20, 235, (9, 12, 3)).astype(np.float32)
    picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    picture += rng.normal(0, _NOISE, (height, width, 1))
    cv2.imwrite(str(path), np.clip(picture, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 88])
