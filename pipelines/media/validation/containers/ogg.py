"""Walk through the pages of an Ogg file: are they all there? RFC 3533. libav checks their checksums itself."""

import struct

from pipelines.media.validation.containers.file_bytes import FileBytes
from pipelines.media.validation.finding_log import FindingLog

_PAGE = struct.Struct("<4sBBqIIIB")
_LAST = 0x04
_UNSET = -1


def check_ogg(data: FileBytes, log: FindingLog) -> bool:
    """Returns whether all of it was walked through."""
    begin = 0
    numbers: dict[int, int] = {}
    granules: dict[int, int] = {}
    ended: dict[int, bool] = {}
    while begin < data.limit:
        head = data.read(begin, _PAGE.size + 255)
        if len(head) < _PAGE.size or head[:4] != b"OggS":
            what = "isn't a page" if len(head) >= _PAGE.size else "isn't a whole page"
            log.add("container_damaged", evidence=f"what begins at byte {begin} {what}")
            return True
        _, _, flags, granule, serial, number, _, count = _PAGE.unpack_from(head)
        size = _PAGE.size + count + sum(head[_PAGE.size : _PAGE.size + count])
        if begin + size > data.size:
            log.add("cut_off", evidence=f"the last page has {data.size - begin} of {size} bytes")
            return True
        if serial in numbers and number != numbers[serial] + 1:
            log.add("packets_lost", evidence=f"page {numbers[serial]} is followed by {number}")
        if granule != _UNSET and granule < granules.get(serial, granule):
            log.add("times_disordered", evidence=f"page {number} ends at {granule}, one before at {granules[serial]}")
        numbers[serial], ended[serial] = number, bool(flags & _LAST)
        granules[serial] = granules.get(serial, granule) if granule == _UNSET else granule
        begin += size
    if data.limit < data.size:
        return False
    if not any(ended.values()):
        log.add("no_end_mark", evidence="no page says that it is the last")
    return True
