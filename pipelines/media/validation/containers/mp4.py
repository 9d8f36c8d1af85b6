"""Look at the boxes of an MP4 or QuickTime file: do they nest, and do their tables agree with each other and the file?

ISO/IEC 14496-12. A track's table tells when each sample is decoded (``stts``) and shown (``ctts``), how large it is
(``stsz``), which of them lie together in a chunk (``stsc``), and where chunks begin (``stco``, ``co64``).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipelines.media.validation.containers.file_bytes import FileBytes
from pipelines.media.validation.finding_log import FindingLog

_MOST_BYTES = 512 << 20  # of headers
_HOLDERS = frozenset({b"moov", b"trak", b"edts", b"mdia", b"minf", b"dinf", b"stbl", b"mvex", b"udta"})
_MEDIA_HEADERS = {b"vide": b"vmhd", b"soun": b"smhd"}
_TABLES = frozenset({b"stts", b"ctts", b"stsz", b"stz2", b"stsc", b"stco", b"co64", b"stss"})
_DEEPEST = 16  # boxes within boxes; the tables of samples are four below the movie
_OFF_S = 0.5  # lengths in headers are rounded, and edited
_OFF = 0.05

_Numbers = NDArray[np.int64]


@dataclass
class _Track:
    """What the boxes of a track tell. ``tables`` are the payloads behind version and flags."""

    number: int
    handler: bytes = b""
    headers: set[bytes] = field(default_factory=set)
    time_scale: int = 0
    length: int = 0
    shown_length: int = 0
    edits: list[tuple[int, int]] = field(default_factory=list)  # length, and from when on
    tables: dict[bytes, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class _Sizes:
    """Bytes of ``count`` samples: of each one, or ``same`` of all. PCM has a sample for each value of its clock."""

    count: int
    each: _Numbers | None = None
    same: int = 0

    def before(self, places: _Numbers) -> _Numbers:
        """Bytes of all samples before each of ``places``."""
        if self.each is None:
            return places * self.same
        return np.concatenate(([0], np.cumsum(self.each)))[places]


def check_mp4(data: FileBytes, log: FindingLog) -> bool:
    """Returns whether its headers were looked at."""
    boxes = list(top_boxes(data, log))
    media = [(begin, end) for kind, begin, end in boxes if kind == b"mdat"]
    for kind, begin, end in boxes:
        if kind == b"moov" and end - begin <= _MOST_BYTES:
            movie = _Movie(log)
            movie.read(data.read(begin, end - begin), begin)
            movie.check(data.size, media)
    return True


def top_boxes(data: FileBytes, log: FindingLog) -> Iterator[tuple[bytes, int, int]]:
    """Kind, begin and end of what each box of the file holds."""
    begin = 0
    while begin < data.size:
        head = data.read(begin, 16)
        size, kind = struct.unpack(">I4s", head[:8]) if len(head) >= 8 else (0, b"")
        data_begin = begin + 8
        if size == 1 and len(head) == 16:
            size, data_begin = int.from_bytes(head[8:]), begin + 16
        if len(head) < 8 or not _is_kind(kind) or (size and size < data_begin - begin):
            code = "trailing_data" if begin and data.size - begin < 4096 else "container_damaged"
            log.add(code, evidence=f"what begins at byte {begin} is no box")
            return
        end = begin + size if size else data.size
        if end > data.size:
            log.add("cut_off", evidence=f"{kind.decode('latin-1')} ends at byte {end} of {data.size}")
            end = data.size
        yield kind, data_begin, end
        begin = end


class _Movie:
    def __init__(self, log: FindingLog) -> None:
        self._log = log
        self._tracks: list[_Track] = []
        self._time_scale = 0
        self._length = 0
        self._fragmented = False

    def read(self, content: bytes, base: int) -> None:
        self._boxes(content, base, b"moov", 0)

    def _boxes(self, content: bytes, base: int, parent: bytes, depth: int) -> None:
        if depth > _DEEPEST:
            self._log.add("container_damaged", evidence=f"boxes lie within boxes at byte {base}, {depth} deep")
            return
        place = 0
        while place + 8 <= len(content):
            size, kind = struct.unpack_from(">I4s", content, place)
            if size == 0 and parent == b"udta":
                return  # QuickTime ends a list of user data with a zero
            if size < 8 or place + size > len(content) or not _is_kind(kind):
                where = f"byte {base + place} in {parent.decode('latin-1')}"
                self._log.add("container_damaged", evidence=f"what begins at {where} is no box")
                return
            self._box(kind, content[place + 8 : place + size], base + place + 8, depth)
            place += size

    def _box(self, kind: bytes, payload: bytes, base: int, depth: int) -> None:
        if kind == b"trak":
            self._tracks.append(_Track(len(self._tracks)))
        if kind == b"mvex":
            self._fragmented = True
        if kind in _HOLDERS:
            self._boxes(payload, base, kind, depth + 1)
        elif kind == b"mvhd":
            self._time_scale, self._length = _times(payload)
        elif self._tracks:
            try:
                _note(self._tracks[-1], kind, payload)
            except struct.error:
                evidence = f"{kind.decode('latin-1')} at byte {base} is too short"
                self._log.add("container_damaged", self._tracks[-1].number, evidence=evidence)

    def check(self, size: int, media: list[tuple[int, int]]) -> None:
        chunks = []
        for track in self._tracks:
            try:
                chunks.append(self._check_track(track, size, media))
            except (struct.error, ValueError, KeyError):
                self._log.add("container_damaged", track.number, evidence="its tables can't be read")
        _check_overlaps([chunk for chunk in chunks if len(chunk)], self._log)

    def _check_track(self, track: _Track, size: int, media: list[tuple[int, int]]) -> NDArray[np.int64]:
        wanted = _MEDIA_HEADERS.get(track.handler)
        missing = {b"stsd", b"hdlr", b"mdhd"} - track.headers
        if missing:
            self._contradict(track, f"{_names(missing)} is missing")
        if (wanted is not None and wanted not in track.headers) or (
            wanted is None and track.headers & set(_MEDIA_HEADERS.values())
        ):
            self._contradict(track, f"its handler is {track.handler!r}, its media header that of another kind")
        if not {b"stts", b"stsc"} <= track.tables.keys() or not track.tables.keys() & {b"stsz", b"stz2"}:
            if not self._fragmented:
                self._contradict(track, "a table of its samples is missing")
            return np.empty((0, 2), np.int64)
        sizes = _sizes(track)
        if not sizes.count:
            return np.empty((0, 2), np.int64)
        self._check_times(track, sizes.count)
        return self._check_chunks(track, sizes, size, media)

    def _check_times(self, track: _Track, samples: int) -> None:
        counts, steps = _pairs(track.tables[b"stts"])
        if int(counts.sum()) != samples:
            self._contradict(track, f"{samples} samples have sizes, {int(counts.sum())} have times")
        if b"ctts" in track.tables and int(_pairs(track.tables[b"ctts"])[0].sum()) != samples:
            self._contradict(track, "not as many samples have times of showing as have sizes")
        if b"stss" in track.tables:
            keys = _column(track.tables[b"stss"])
            if len(keys) and (keys[0] < 1 or keys[-1] > samples or (np.diff(keys) <= 0).any()):
                self._contradict(track, "its table of keyframes isn't in order")
        if not track.time_scale or not self._time_scale:
            self._contradict(track, "its clock has no rate")
            return
        media_s = float((counts * steps).sum()) / track.time_scale
        waits_s = sum(length for length, begin in track.edits if begin < 0) / self._time_scale
        told_s = track.length / track.time_scale
        late_s = waits_s if abs(told_s - waits_s - media_s) < abs(told_s - media_s) else 0.0  # some count it, too
        self._check_length(track, media_s + late_s, told_s, "its media header")
        edited_s = sum(length for length, _ in track.edits) / self._time_scale
        shown_s = track.shown_length / self._time_scale
        if track.edits:
            self._check_length(track, edited_s, shown_s, "its header")
            if edited_s - waits_s > media_s + max(_OFF_S, _OFF * media_s):
                self._contradict(track, f"{edited_s - waits_s:.3f} s of its {media_s:.3f} s are to be shown")
        else:
            self._check_length(track, media_s, shown_s, "its header")
        if not self._fragmented:
            longest_s = max(each.shown_length for each in self._tracks) / self._time_scale
            self._check_length(None, longest_s, self._length / self._time_scale, "the movie's header")

    def _check_length(self, track: _Track | None, length_s: float, told_s: float, where: str) -> None:
        if told_s and abs(length_s - told_s) > max(_OFF_S, _OFF * length_s):
            self._contradict(track, f"its samples last {length_s:.3f} s, {where} says {told_s:.3f} s")

    def _check_chunks(self, track: _Track, sizes: _Sizes, size: int, media: list[tuple[int, int]]) -> NDArray[np.int64]:
        """Begin and end of each chunk, as far as the tables agree."""
        begins = _chunk_begins(track)
        per_chunk = _per_chunk(track, len(begins))
        if int(per_chunk.sum()) != sizes.count:
            self._contradict(track, f"{sizes.count} samples have sizes, {int(per_chunk.sum())} have places")
            return np.empty((0, 2), np.int64)
        lengths = np.diff(sizes.before(np.concatenate(([0], np.cumsum(per_chunk)))))
        chunks = np.stack([begins, begins + lengths], axis=1)
        behind = int((chunks[:, 1] > size).sum())
        if behind:
            evidence = f"{behind} of {len(chunks)} chunks end behind byte {size}"
            self._log.add("index_beyond_end", track.number, evidence=evidence, count=behind)
        inside = np.zeros(len(chunks), bool)
        for begin, end in media:
            inside |= (chunks[:, 0] >= begin) & (chunks[:, 1] <= end)
        astray = int((~inside & (chunks[:, 1] <= size)).sum())
        if astray and media:
            self._contradict(track, f"{astray} of {len(chunks)} chunks lie outside of what holds media")
        return chunks

    def _contradict(self, track: _Track | None, evidence: str) -> None:
        self._log.add("headers_contradict", None if track is None else track.number, evidence=evidence)


def _check_overlaps(tracks: list[NDArray[np.int64]], log: FindingLog) -> None:
    if not tracks:
        return
    chunks = np.concatenate(tracks)
    chunks = chunks[np.argsort(chunks[:, 0], kind="stable")]
    over = int((chunks[1:, 0] < chunks[:-1, 1]).sum())
    if over:
        log.add("headers_contradict", evidence=f"{over} chunks of samples lie over others")


def _note(track: _Track, kind: bytes, payload: bytes) -> None:
    track.headers.add(kind)
    if kind == b"hdlr" and not track.handler:
        track.handler = payload[8:12]
    elif kind == b"mdhd":
        track.time_scale, track.length = _times(payload)
    elif kind == b"tkhd" and len(payload) >= 24:
        version = payload[0]
        track.shown_length = struct.unpack_from(">Q" if version else ">I", payload, 28 if version else 20)[0]
    elif kind == b"elst" and len(payload) >= 8:
        entry = struct.Struct(">QqI" if payload[0] else ">IiI")
        whole = 8 + (len(payload) - 8) // entry.size * entry.size
        track.edits = [(length, begin) for length, begin, _ in entry.iter_unpack(payload[8:whole])]
    elif kind in _TABLES:
        track.tables[kind] = payload


def _times(payload: bytes) -> tuple[int, int]:
    """Time scale and length of ``mvhd`` and ``mdhd``."""
    try:
        scale, length = struct.unpack_from(">IQ" if payload[0] else ">II", payload, 20 if payload[0] else 12)
    except (struct.error, IndexError):
        return 0, 0
    unknown = length in (0xFFFFFFFF, (1 << 64) - 1)
    return int(scale), 0 if unknown else int(length)


def _pairs(table: bytes) -> tuple[_Numbers, _Numbers]:
    """The two columns of a table of counts and values."""
    count = struct.unpack_from(">I", table, 4)[0]
    numbers = np.frombuffer(table, ">u4", 2 * count, 8).astype(np.int64).reshape(-1, 2)
    return numbers[:, 0], numbers[:, 1]


def _column(table: bytes, kind: str = ">u4") -> _Numbers:
    count = struct.unpack_from(">I", table, 4)[0]
    return np.frombuffer(table, kind, count, 8).astype(np.int64)


def _sizes(track: _Track) -> _Sizes:
    if b"stz2" in track.tables:
        table = track.tables[b"stz2"]
        bits, count = struct.unpack_from(">II", table, 4)
        if bits in (8, 16):
            return _Sizes(count, np.frombuffer(table, ">u1" if bits == 8 else ">u2", count, 12).astype(np.int64))
        halves = np.frombuffer(table, np.uint8, (count + 1) // 2, 12)
        return _Sizes(count, np.stack([halves >> 4, halves & 15], axis=1).reshape(-1)[:count].astype(np.int64))
    table = track.tables[b"stsz"]
    same, count = struct.unpack_from(">II", table, 4)
    if same * count >= 1 << 62:
        raise ValueError("more bytes than a file holds")
    if same:
        return _Sizes(count, same=same)
    return _Sizes(count, np.frombuffer(table, ">u4", count, 12).astype(np.int64))


def _chunk_begins(track: _Track) -> _Numbers:
    if b"co64" in track.tables:
        return _column(track.tables[b"co64"], ">u8")
    return _column(track.tables[b"stco"])


def _per_chunk(track: _Track, chunks: int) -> _Numbers:
    """How many samples each chunk has."""
    table = track.tables[b"stsc"]
    count = struct.unpack_from(">I", table, 4)[0]
    runs = np.frombuffer(table, ">u4", 3 * count, 8).astype(np.int64).reshape(-1, 3)
    first = np.concatenate((runs[:, 0], [chunks + 1]))
    lengths = np.diff(first)
    if not count or first[0] != 1 or (lengths < 0).any():
        raise ValueError("runs of chunks aren't in order")
    made: _Numbers = np.repeat(runs[:, 1], lengths)
    return made


def _is_kind(kind: bytes) -> bool:
    return all(32 <= byte < 127 or byte == 0xA9 for byte in kind)


def _names(kinds: set[bytes]) -> str:
    return ", ".join(sorted(kind.decode("latin-1") for kind in kinds))
