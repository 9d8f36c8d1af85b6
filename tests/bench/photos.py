"""Photographs to measure with: distinct JPEGs of 4 to 12 MP, made by a seeded generator from real ones."""

import multiprocessing
from functools import cache
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "media" / "image"
_REAL = ("jpeg_12mp_gainmap", "jpeg_gps", "jpeg_iptc", "jpeg_adobergb_xmp", "jpeg_progressive_icc")
_RATIOS = (4 / 3, 3 / 2, 16 / 9, 3 / 4, 1.0)
_NOISE = 3.0  # levels: what a camera adds, and what makes its files large
_SEED = 4


def photos(count: int) -> Path:
    """A folder of ``count`` of them, made once and kept in ``build``."""
    folder = ROOT / "build" / "bench" / f"photos-{count}"
    if not folder.is_dir():
        making = folder.with_name(f"{folder.name}.part")
        making.mkdir(parents=True, exist_ok=True)
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            pool.starmap(_make, [(making, number) for number in range(count)], chunksize=8)
        making.rename(folder)
    return folder


@cache
def _real(name: str) -> np.ndarray:
    image = cv2.imread(str(SHARED / f"{name}.jpg"))
    assert image is not None, name
    return image


def _make(folder: Path, number: int) -> None:
    rng = np.random.default_rng((_SEED, number))
    source = _real(_REAL[number % len(_REAL)])
    pixels, ratio = rng.uniform(4e6, 12e6), float(rng.choice(_RATIOS))
    width = int((pixels * ratio) ** 0.5)
    height, (full_height, full_width) = int(width / ratio), source.shape[:2]
    across = int(min(full_width, full_height * ratio) * rng.uniform(0.6, 1.0))
    down = int(across / ratio)
    left, top = rng.integers(0, full_width - across + 1), rng.integers(0, full_height - down + 1)
    part = source[top : top + down, left : left + across]
    image = cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.5:
        image = image[:, ::-1]
    noise = rng.normal(0, _NOISE, image.shape[:2])[..., None]
    levels = np.clip(image * rng.uniform(0.85, 1.15) + noise, 0, 255).astype(np.uint8)
    cv2.imwrite(str(folder / f"{number:03d}.jpg"), levels, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(80, 95))])
