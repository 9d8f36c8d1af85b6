"""Whether a WAVE file is as long as it says."""

import struct

from pipelines.media.validation.containers.file_bytes import FileBytes
from pipelines.media.validation.finding_log import FindingLog

_HEAD = struct.Struct("<4sI")
_UNKNOWN = 0xFFFFFFFF  # written by what can't go back to fill it in; RF64 tells in ds64 (EBU Tech 3306)
_SOUND_BYTES_AT = 16  # in ds64, from where its chunk begins


def check_wave(data: FileBytes, log: FindingLog) -> bool:
    """Returns whether its chunks were walked through."""
    begin, long_bytes = 12, 0
    while begin + 8 <= data.size:
        name, size = _HEAD.unpack(data.read(begin, 8))
        if name == b"ds64":
            long_bytes = int.from_bytes(data.read(begin + _SOUND_BYTES_AT, 8), "little")
        if name == b"data":
            size = long_bytes if size == _UNKNOWN else size
            if not size:
                return True  # nothing tells where it ends
            if begin + 8 + size > data.size:
                log.add("cut_off", evidence=f"{data.size - begin - 8} of {size} bytes of sound are there")
        if not all(32 <= byte < 127 for byte in name):
            log.add("container_damaged", evidence=f"what begins at byte {begin} isn't a chunk")
            break
        begin += 8 + size + size % 2
    return True
