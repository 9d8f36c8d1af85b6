"""NAL units in containers that put a length before each (ISO/IEC 14496-15)."""

_LENGTHS_AT = {"h264": (4, 7), "hevc": (21, 23)}  # where avcC and hvcC tell how long lengths are; their least size


def length_bytes_of(codec: str | None, extradata: bytes) -> int | None:
    """How many bytes each length has; ``None`` where start codes part the units, or there are none."""
    at, least = _LENGTHS_AT.get(codec or "", (0, 1))
    if not at or len(extradata) < least or extradata[0] != 1:
        return None
    return (extradata[at] & 3) + 1
