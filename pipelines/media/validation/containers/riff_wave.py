"""Whether a WAVE file is as long as it says."""

import struct

from pipelines.media.validation.containers.file_bytes import FileBytes
from pipelines.media.validation.finding_log import FindingLog

_HEAD = struct.Struct("<4sI")
_UNKNOWN = 0xFFFFFFFF  # written by what can't go back to fill it in; RF64 tells elsewhere


def check_wave(data: FileBytes, log: FindingLog) -> bool:
    """Returns whether its chunks were walked through."""
    begin = 12
    while begin + 8 <= data.size:
        name, size = _HEAD.unpack(data.read(begin, 8))
        if name == b"data" and size not in (0, _UNKNOWN) and begin + 8 + size > data.size:
            log.add("cut_off", evidence=f"{data.size - begin - 8} of {size} bytes of sound are there")
        if not all(32 <= byte < 127 for byte in name):
            log.add("container_damaged", evidence=f"what begins at byte {begin} isn't a chunk")
            break
        begin += 8 + size + size % 2
    return True
