"""Walk through the tags of an FLV file: each is followed by its size. Adobe Flash Video File Format 10.1, annex E."""

from pipelines.media.validation.containers.file_bytes import FileBytes
from pipelines.media.validation.finding_log import FindingLog

_TAG = 11
_KINDS = frozenset({8, 9, 18})  # sound, picture, script; by bit 5 encrypted


def check_flv(data: FileBytes, log: FindingLog) -> bool:
    """Returns whether all of it was walked through."""
    begin = (data.number(5, 4) or 9) + 4
    while begin < data.limit:
        head = data.read(begin, _TAG)
        size = _TAG + int.from_bytes(head[1:4])
        if len(head) < _TAG or begin + size + 4 > data.size:
            log.add("cut_off", evidence=f"the last tag has {data.size - begin} of {size + 4} bytes")
            return True
        if head[0] & 0x1F not in _KINDS or data.number(begin + size, 4) not in (size, 0):
            log.add("container_damaged", evidence=f"what begins at byte {begin} isn't a tag")
            return True
        begin += size + 4
    return data.limit == data.size
