"""Walk through an AVI file: its chunks one by one, and whether its index names each of them.

The format: https://learn.microsoft.com/windows/win32/directshow/avi-riff-file-reference; OpenDML extends it by further
RIFF lists (``AVIX``), which the index at the end doesn't cover.
"""

import struct
from collections import Counter

from pipelines.media.validation.containers.file_bytes import FileBytes
from pipelines.media.validation.finding_log import FindingLog

_HEAD = struct.Struct("<4sI")
_INDEX_ENTRY = struct.Struct("<4s4xII")
_LISTS = frozenset({b"RIFF", b"LIST"})
_STREAM_KINDS = frozenset({b"dc", b"db", b"wb", b"tx", b"pc", b"iv", b"sb"})
_MOST_INDEX_BYTES = 256 << 20
_DEEPEST = 16  # lists within lists; chunks are three below the file


class _Walk:
    def __init__(self, data: FileBytes, log: FindingLog) -> None:
        self._data = data
        self._log = log
        self.chunks: list[tuple[bytes, int, int]] = []  # name, place, size: of what the index covers
        self.counts: Counter[int] = Counter()
        self.lengths: dict[int, int] = {}  # of pictures, by stream
        self.movie: int | None = None
        self.index: tuple[int, int] | None = None
        self.whole = True

    def riffs(self) -> None:
        begin = 0
        while begin + 12 <= self._data.size:
            name, size = _HEAD.unpack(self._data.read(begin, 8))
            if name != b"RIFF":
                self._log.add("trailing_data", evidence=f"{self._data.size - begin} bytes from {begin} on")
                return
            end = begin + 8 + size
            if end > self._data.size:
                self._log.add("cut_off", evidence=f"{self._data.size} of {end} bytes")
            self._list(begin + 12, min(end, self._data.size), first=begin == 0)
            begin = end + size % 2

    def _list(self, begin: int, end: int, *, first: bool, movie: bool = False, stream: int = 0, depth: int = 0) -> None:
        if depth > _DEEPEST:
            self._log.add("container_damaged", evidence=f"lists lie within lists at byte {begin}, {depth} deep")
            return
        while begin + 8 <= end:
            if begin > self._data.limit:
                self.whole = False
                return
            name, size = _HEAD.unpack(self._data.read(begin, 8))
            behind = begin + 8 + size
            if behind > end or not _is_name(name):
                what = f"{name!r} of {size} bytes at {begin} isn't a chunk"
                if behind <= self._data.size or not _is_name(name):
                    self._log.add("container_damaged", evidence=what)
                else:
                    self._log.add("cut_off", evidence=what)
                return
            if name == b"LIST":
                kind = self._data.read(begin + 8, 4)
                if kind == b"movi" and first:
                    self.movie = begin + 8
                movies = movie or kind == b"movi"
                self._list(begin + 12, behind, first=first, movie=movies, stream=stream, depth=depth + 1)
                stream += kind == b"strl"
            elif name == b"strh":
                self._stream_header(begin + 8, stream)
            elif name == b"idx1" and first:
                self.index = (begin + 8, size)
            elif movie and name[2:] in _STREAM_KINDS:
                self.counts[int(name[:2]) if name[:2].isdigit() else -1] += 1
                if first:
                    self.chunks.append((name, begin, size))
            begin = behind + size % 2

    def _stream_header(self, begin: int, stream: int) -> None:
        header = self._data.read(begin, 48)
        if header[:4] == b"vids" and len(header) >= 36:
            self.lengths[stream] = struct.unpack_from("<I", header, 32)[0]


def check_avi(data: FileBytes, log: FindingLog) -> bool:
    """Returns whether all of it was walked through."""
    walk = _Walk(data, log)
    walk.riffs()
    if not walk.whole:
        return False
    for stream, length in walk.lengths.items():
        if length and walk.counts[stream] != length:
            evidence = f"{walk.counts[stream]} chunks of pictures, the header says {length}"
            log.add("counts_contradict", stream, evidence=evidence)
    if walk.index is not None and walk.movie is not None:
        _check_index(data, walk.index, walk.movie, walk.chunks, log)
    return True


def _check_index(
    data: FileBytes, index: tuple[int, int], movie: int, chunks: list[tuple[bytes, int, int]], log: FindingLog
) -> None:
    begin, size = index
    entries = data.read(begin, min(size, _MOST_INDEX_BYTES))
    entries = entries[: len(entries) // _INDEX_ENTRY.size * _INDEX_ENTRY.size]
    named = [entry for entry in _INDEX_ENTRY.iter_unpack(entries) if entry[0][2:] in _STREAM_KINDS]
    if not named:
        return
    # Places count from the list of chunks or, by older writers, from the start of the file.
    base = movie if named[0][1] < movie else 0
    known = {(place - base): (name, length) for name, place, length in chunks}
    wrong = [place for name, place, length in named if known.get(place) != (name, length)]
    if wrong or len(named) != len(chunks):
        evidence = f"{len(wrong)} of {len(named)} entries name no chunk that is there; there are {len(chunks)}"
        log.add("index_wrong", evidence=evidence)


def _is_name(name: bytes) -> bool:
    return all(32 <= byte < 127 for byte in name)
