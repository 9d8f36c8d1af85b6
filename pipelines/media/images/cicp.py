"""Colour spaces that are told by code points (ITU-T H.273), as AVIF and PNG may, as ICC profiles.

HDR becomes SDR: its highlights are compressed by the curve of ITU-R BT.2390 (5.4.1), from 1000 cd/m² to the 203 that
white has in HDR (ITU-R BT.2408), on each channel.
"""

import struct
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import ImageCms

from pipelines.media.colour import PRIMARIES, TRANSFERS

Points = tuple[int, int]  # primaries, transfer
# x and y of red, green and blue, by primaries; white is D65 in all of them.
_SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
_COLOURS = {
    1: _SRGB,
    2: _SRGB,  # not told
    5: ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06)),
    6: ((0.63, 0.34), (0.31, 0.595), (0.155, 0.07)),
    7: ((0.63, 0.34), (0.31, 0.595), (0.155, 0.07)),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
_WHITE = (0.3127, 0.3290)
# Pictures whose transfer isn't told, or is a camera's of SDR, are shown as sRGB by browsers.
_AS_SRGB = frozenset({1, 2, 6, 13, 14, 15})
_GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0}
_PQ, _HLG = 16, 18
_STEPS = 4096
_MASTERED, _SHOWN = 1000.0, 203.0  # cd/m²


def is_hdr(points: Points | None) -> bool:
    return points is not None and points[1] in (_PQ, _HLG)


@lru_cache(maxsize=16)
def profile_for(points: Points) -> bytes | None:
    """The ICC profile of a colour space; None: it's sRGB, or taken as such, as it isn't known here."""
    primaries, transfer = points
    colours, curve = _COLOURS.get(primaries), _curve(transfer)
    if colours is None or (curve is None and transfer not in _AS_SRGB) or (colours is _SRGB and curve is None):
        return None
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    tags = _tags(srgb)
    for tag, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), _to_xyz(colours, tags[b"chad"]).T, strict=True):
        tags[tag] = b"XYZ \0\0\0\0" + _fixed(column)
    if curve is not None:
        tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    name = f"{PRIMARIES.get(primaries, 'bt709')}, {TRANSFERS.get(transfer, 'srgb')}".encode("utf-16-be")
    tags[b"desc"] = struct.pack(">4sLLL4sLL", b"mluc", 0, 1, 12, b"enUS", len(name), 28) + name
    del tags[b"chrm"]  # sRGB's
    return _profile(srgb[:128], tags)


def _tags(profile: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">L", profile, 128)
    entries = (struct.unpack_from(">4sLL", profile, 132 + 12 * each) for each in range(count))
    return {tag: profile[at : at + size] for tag, at, size in entries}


def _profile(head: bytes, tags: dict[bytes, bytes]) -> bytes:
    table, body = struct.pack(">L", len(tags)), b""
    first = 132 + 12 * len(tags)
    for tag, data in tags.items():
        table += struct.pack(">4sLL", tag, first + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    return struct.pack(">L", first + len(body)) + head[4:] + table + body


def _fixed(numbers: NDArray[np.float64]) -> bytes:
    return np.round(numbers * 65536).astype(">i4").tobytes()


def _to_xyz(colours: tuple[tuple[float, float], ...], adaptation: bytes) -> NDArray[np.float64]:
    """From linear RGB to XYZ under D50, as profiles have it; ``adaptation`` is a profile's tag of how to get there."""
    red_green_blue = np.array([_xyz(*each) for each in colours]).T
    scale = np.linalg.solve(red_green_blue, _xyz(*_WHITE))
    to_d50 = np.frombuffer(adaptation, ">i4", 9, 8).reshape(3, 3) / 65536
    return np.asarray(to_d50 @ (red_green_blue * scale), np.float64)


def _xyz(x: float, y: float) -> NDArray[np.float64]:
    return np.array([x / y, 1, (1 - x - y) / y])


def _curve(transfer: int) -> bytes | None:
    """A profile's tag of it; None where it's sRGB's, or unknown."""
    if transfer in _GAMMAS:
        return b"para" + bytes(8) + _fixed(np.array([_GAMMAS[transfer]]))
    if transfer not in (_PQ, _HLG):
        return None
    signal = np.linspace(0, 1, _STEPS)
    light = _pq_light(signal) if transfer == _PQ else _hlg_light(signal)
    levels = np.round(np.clip(_compressed(light) / _SHOWN, 0, 1) * 65535).astype(">u2")
    return b"curv" + struct.pack(">LL", 0, _STEPS) + levels.tobytes()


def _pq_light(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """cd/m² of a signal, 0 to 1 (SMPTE ST 2084)."""
    root = signal ** (1 / 78.84375)
    return np.asarray(
        10000 * (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)
    )


def _pq_signal(light: NDArray[np.float64] | float) -> NDArray[np.float64]:
    power = (np.asarray(light) / 10000) ** 0.1593017578125
    return np.asarray(((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375)


def _hlg_light(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """cd/m² of a signal, 0 to 1, on a display of 1000 (ITU-R BT.2100)."""
    high = (np.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12
    return np.asarray(_MASTERED * np.where(signal <= 0.5, signal**2 / 3, high) ** 1.2)


def _compressed(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Light from 0 to 1000 cd/m², as light from 0 to 203."""
    most = _pq_signal(_MASTERED)
    signal, limit = np.minimum(_pq_signal(light) / most, 1), float(_pq_signal(_SHOWN) / most)
    knee = 1.5 * limit - 0.5
    t = (signal - knee) / (1 - knee)
    bent = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * limit
    return _pq_light(np.where(signal < knee, signal, bent) * most)
