"""Zeros that can't be in a packet of a codec: where a block of the file was lost, what is left may decode to something.

Codecs with start codes keep their data free of them: three zero bytes come only before a start code (ITU-T H.264 and
H.265, 7.4.1: an 03 is put between others; MPEG-1, -2 and -4 part 2 have no code words with 23 zero bits) or at the end.
In codecs with arithmetic coding long runs of zeros are all but impossible, but at the end, where some are padded.
"""

from collections.abc import Callable

from pipelines.media.nal_units import length_bytes_of

Finder = Callable[[bytes], int | None]

_START_CODES = frozenset({"mpeg1video", "mpeg2video", "mpeg4", "h264", "hevc", "vvc"})
_ARITHMETIC = frozenset({"vp8", "vp9", "av1", "vorbis", "opus"})
_SHORT_RUN, _LONG_RUN = bytes(3), bytes(128)


def zeros_finder(codec: str | None, extradata: bytes) -> Finder | None:
    """What tells where the first zeros are that can't be in a packet, for codecs where that can be told."""
    length_bytes = length_bytes_of(codec, extradata)
    if length_bytes is not None:
        return lambda packet: _in_units(packet, length_bytes)
    if codec in _START_CODES:
        return lambda packet: _before_no_code(packet, 0, len(packet))
    return _long_run if codec in _ARITHMETIC else None


def _in_units(packet: bytes, length_bytes: int) -> int | None:
    """Of a packet of NAL units, each behind its length. That lengths don't fit, decoders tell."""
    begin = length_bytes
    while begin < len(packet):
        end = min(len(packet), begin + int.from_bytes(packet[begin - length_bytes : begin]))
        place = _before_no_code(packet, begin, end)
        if place is not None:
            return place
        begin = end + length_bytes
    return None


def _before_no_code(packet: bytes, begin: int, end: int) -> int | None:
    place = packet.find(_SHORT_RUN, begin, end)
    while place >= 0:
        rest = packet[place:end].lstrip(b"\0")
        if not rest:
            return None
        if rest[0] != 1:
            return place
        place = packet.find(_SHORT_RUN, end - len(rest), end)
    return None


def _long_run(packet: bytes) -> int | None:
    place = packet.find(_LONG_RUN)
    return place if place >= 0 and packet[place:].strip(b"\0") else None
