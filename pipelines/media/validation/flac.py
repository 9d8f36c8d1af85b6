"""The checksum that FLAC keeps of all its sound: MD5 of the samples, interleaved, in as few bytes as their bits take.

RFC 9639, 8.2: STREAMINFO ends with it; all zero where the encoder didn't know it.
"""

import hashlib

import numpy as np
from av.audio.frame import AudioFrame
from av.stream import Stream

_STREAMINFO_BYTES, _MD5_BYTES = 34, 16


class FlacDigest:
    """Takes the frames of a stream in their order."""

    def __init__(self, expected: bytes, bits: int) -> None:
        self._expected = expected
        self._bits = bits
        self._md5 = hashlib.md5(usedforsecurity=False)

    @classmethod
    def of(cls, stream: Stream) -> "FlacDigest | None":
        """That of a FLAC stream which has a checksum."""
        context = stream.codec_context
        header = (context.extradata or b"") if context is not None and context.name == "flac" else b""
        expected = header[_STREAMINFO_BYTES - _MD5_BYTES : _STREAMINFO_BYTES]
        if len(expected) < _MD5_BYTES or not any(expected):
            return None
        return cls(expected, ((header[12] & 1) << 4 | header[13] >> 4) + 1)

    def add(self, frame: AudioFrame) -> None:
        samples = frame.to_ndarray()
        interleaved = np.ascontiguousarray(samples.T if frame.format.is_planar else samples).astype(np.int32)
        interleaved >>= 8 * samples.itemsize - self._bits  # libav has them in the upper bits
        data = interleaved.reshape(-1).view(np.uint8).reshape(-1, interleaved.itemsize)[:, : -(-self._bits // 8)]
        self._md5.update(np.ascontiguousarray(data).data)

    def fits(self) -> bool:
        return self._md5.digest() == self._expected
