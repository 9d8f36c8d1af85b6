"""Walk through a Matroska or WebM file: its elements, their checksums, and what its index points to.

RFC 8794 (EBML) and RFC 9559 (Matroska). A checksum is the first element of the one that it covers, and is that of all
that follows in it. Sizes may be unknown in what was written live: such a segment or cluster ends where an element
begins that can't be in it.
"""

import zlib

from pipelines.media.ebml import HEAD_BYTES, SEGMENT, Element, element_at
from pipelines.media.validation.containers.file_bytes import FileBytes
from pipelines.media.validation.finding_log import FindingLog

_CLUSTER = 0x1F43B675
_SEEK_HEAD, _CUES, _INFO, _TRACKS = 0x114D9B74, 0x1C53BB6B, 0x1549A966, 0x1654AE6B
_VOID, _CRC = 0xEC, 0xBF
_TOP = {
    _SEEK_HEAD: "SeekHead",
    _INFO: "Info",
    _TRACKS: "Tracks",
    _CLUSTER: "Cluster",
    _CUES: "Cues",
    0x1941A469: "Attachments",
    0x1043A770: "Chapters",
    0x1254C367: "Tags",
    _VOID: "Void",
    _CRC: "CRC-32",
}
_TIMESTAMP, _POSITION, _PREVIOUS_SIZE, _SIMPLE_BLOCK, _BLOCK_GROUP = 0xE7, 0xA7, 0xAB, 0xA3, 0xA0
_IN_CLUSTER = frozenset({_TIMESTAMP, _POSITION, _PREVIOUS_SIZE, _SIMPLE_BLOCK, _BLOCK_GROUP, _VOID, _CRC, 0x5854, 0xAF})
_CUE_POINT, _CUE_POSITIONS, _CUE_CLUSTER = 0xBB, 0xB7, 0xF1
_SEEK, _SEEK_ID, _SEEK_POSITION = 0x4DBB, 0x53AB, 0x53AC
_MOST_BYTES = 64 << 20  # of an element that is read whole
_MOST_NUMBER_BYTES = 8


def check_matroska(data: FileBytes, log: FindingLog) -> bool:
    """Returns whether all of it was walked through."""
    walk = _Walk(data, log)
    head = walk.element(0)
    segment = walk.element(head.end) if head is not None and head.end is not None else None
    if segment is None or segment.name != SEGMENT:
        log.add("container_damaged", evidence="no segment follows the header")
        return True
    return walk.segment(segment)


class _Walk:
    def __init__(self, data: FileBytes, log: FindingLog) -> None:
        self._data = data
        self._log = log
        self._tops: dict[int, int] = {}  # elements of the segment: place and name
        self._previous: int | None = None  # when the cluster before begins

    def element(self, begin: int) -> Element | None:
        return element_at(self._data.read(begin, HEAD_BYTES), 0, begin)

    def segment(self, segment: Element) -> bool:
        end = self._data.size
        if segment.end is not None:
            end = min(end, segment.end)
            if segment.end > self._data.size:
                self._log.add("cut_off", evidence=f"{self._data.size} of {segment.end} bytes")
            elif segment.end < self._data.size and self.element(segment.end) is None:
                self._log.add("trailing_data", evidence=f"{self._data.size - segment.end} bytes")
        begin, indexes = segment.data, []
        while begin < end:
            if begin > self._data.limit:
                return False
            top = self.element(begin)
            if top is None or top.name not in _TOP:
                self._log.add("container_damaged", evidence=f"what begins at byte {begin} is no element")
                return True
            self._tops[top.begin] = top.name
            if top.end is not None and top.end > end:
                self._log.add("cut_off", evidence=f"{_TOP[top.name]} at byte {begin} ends behind the file")
                top = Element(top.name, top.begin, top.data, end)
            if top.name == _CLUSTER:
                begin = self._cluster(top, end)
                continue
            if top.end is None:
                self._log.add("container_damaged", evidence=f"{_TOP[top.name]} at byte {begin} has no size")
                return True
            content = self._data.read(top.data, min(top.end - top.data, _MOST_BYTES))
            self._check_sum(top, content)
            if top.name in (_SEEK_HEAD, _CUES):
                indexes.append((top, content))
            begin = top.end
        for index, content in indexes:
            self._check_index(index, content, segment.data)
        return True

    def _cluster(self, cluster: Element, end: int) -> int:
        """Walk through a cluster; returns where it ends."""
        base, behind, content = cluster.data, end, b""
        if cluster.end is not None:
            behind = cluster.end
            content = self._data.read(base, min(behind - base, _MOST_BYTES))
            self._check_sum(cluster, content)
        begin = base
        while begin < behind:
            if begin > self._data.limit:
                return begin
            held = begin - base + HEAD_BYTES <= len(content)
            inner = element_at(content, begin - base, base) if held else self.element(begin)
            if cluster.end is None and inner is not None and inner.name in _TOP and inner.name not in (_VOID, _CRC):
                return inner.begin
            if inner is None or inner.name not in _IN_CLUSTER or inner.end is None or inner.end > behind:
                evidence = f"what begins at byte {begin} is no part of a cluster"
                self._log.add("container_damaged", evidence=evidence)
                return behind
            if inner.name == _TIMESTAMP:
                number = self._data.read(inner.data, min(inner.end - inner.data, _MOST_NUMBER_BYTES))
                self._check_time(int.from_bytes(number), cluster)
            begin = inner.end
        return behind

    def _check_time(self, timestamp: int, cluster: Element) -> None:
        if self._previous is not None and timestamp < self._previous:
            evidence = f"the cluster at byte {cluster.begin} begins at {timestamp}, the one before at {self._previous}"
            self._log.add("times_disordered", evidence=evidence)
        self._previous = timestamp

    def _check_sum(self, element: Element, content: bytes) -> None:
        first = element_at(content, 0, 0)
        if first is None or first.name != _CRC or first.end != first.data + 4:
            return
        if element.end is None or len(content) < element.end - element.data:
            return  # too large to be read at once, or cut off
        if zlib.crc32(content[first.end :]) != int.from_bytes(content[first.data : first.end], "little"):
            code = "checksum_wrong" if element.name in (_INFO, _TRACKS, _CLUSTER) else "metadata_changed"
            self._log.add(code, evidence=f"{_TOP[element.name]} at byte {element.begin}")

    def _check_index(self, index: Element, content: bytes, base: int) -> None:
        """Whether each place that it names, counted from ``base``, is one where such an element begins."""
        wrong, named = 0, 0
        for wanted, place in _places(index.name, content):
            named += 1
            wrong += self._tops.get(base + place) != wanted
        if wrong:
            evidence = f"{wrong} of {named} entries of {_TOP[index.name]} name what isn't there"
            self._log.add("index_wrong", evidence=evidence)


def _places(name: int, content: bytes) -> list[tuple[int, int]]:
    """What an index names: elements, and where they are to begin."""
    entries = _children(content, _SEEK if name == _SEEK_HEAD else _CUE_POINT)
    places = []
    for entry in entries:
        if name == _SEEK_HEAD:
            names, at = _children(entry, _SEEK_ID), _children(entry, _SEEK_POSITION)
            places += [(int.from_bytes(one), int.from_bytes(place)) for one, place in zip(names, at, strict=False)]
        else:
            at = [place for track in _children(entry, _CUE_POSITIONS) for place in _children(track, _CUE_CLUSTER)]
            places += [(_CLUSTER, int.from_bytes(place)) for place in at]
    return places


def _children(content: bytes, wanted: int) -> list[bytes]:
    found, place = [], 0
    while (inner := element_at(content, place, 0)) is not None and inner.end is not None:
        if inner.name == wanted:
            found.append(content[inner.data : inner.end])
        place = inner.end
    return found
