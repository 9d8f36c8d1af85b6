"""FLAC of few bits a sample, which FFmpeg doesn't encode. RFC 9639."""

import hashlib
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

BLOCK, BLOCKS = 576, 40
SAMPLES = BLOCK * BLOCKS
_RATE_HZ = 48_000
_SAMPLE_SIZES = {8: 1, 12: 2, 16: 4, 20: 5, 24: 6}


def write(path: Path, bits: int) -> Path:
    """A tone on one channel, not compressed, with its checksum."""
    tone = np.sin(np.arange(SAMPLES) / 20) * (2 ** (bits - 1) - 1)
    samples = tone.astype(np.int32)
    frames = b"".join(_frame(number, samples[number * BLOCK :][:BLOCK], bits) for number in range(BLOCKS))
    path.write_bytes(b"fLaC" + struct.pack(">I", 0x80 << 24 | 34) + _stream_info(samples, bits) + frames)
    return path


def _stream_info(samples: NDArray[np.int32], bits: int) -> bytes:
    width = -(-bits // 8)
    interleaved = samples.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :width].tobytes()
    form = _RATE_HZ << 44 | (bits - 1) << 36 | len(samples)
    return struct.pack(">HH6xQ", BLOCK, BLOCK, form) + hashlib.md5(interleaved, usedforsecurity=False).digest()


def _frame(number: int, samples: NDArray[np.int32], bits: int) -> bytes:
    """A block of plain samples: 576 of them, 48,000 a second, on one channel."""
    head = bytes([0xFF, 0xF8, 0x2A, _SAMPLE_SIZES[bits] << 1, number])
    head += bytes([_remainder(head, 0x07, 8)])
    plain = np.unpackbits((samples & (1 << bits) - 1).astype(">u4").view(np.uint8)).reshape(-1, 32)[:, 32 - bits :]
    body = head + b"\x02" + np.packbits(plain.reshape(-1)).tobytes()
    return body + struct.pack(">H", _remainder(body, 0x8005, 16))


def _remainder(data: bytes, polynomial: int, width: int) -> int:
    """CRC, the highest bit first."""
    remainder = 0
    for byte in data:
        remainder ^= byte << (width - 8)
        for _ in range(8):
            remainder = (remainder << 1) ^ (polynomial if remainder >> (width - 1) else 0)
            remainder &= (1 << width) - 1
    return remainder
