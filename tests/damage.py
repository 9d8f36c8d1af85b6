"""Damage media files the way disks, copies, recorders and muxers do: seeded, so that a case can be made again.

Each kind takes the bytes of a clip that is whole. ``seen`` tells whether a case matters: what decodes, and when it is
shown, differs from before.
"""

import hashlib
import io
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.packet import Packet
from av.stream import Disposition

from pipelines.media.errors import SourceError
from pipelines.media.source import open_input

_TS_CELL = 188
_HOLE_BYTES = (512, 65536)
_LOST_BYTES = (256, 65536)
_FEWEST_KEPT = 0.02
_PLAIN = {"matroska": {"write_crc32": "0"}}


@dataclass(frozen=True)
class Place:
    """A packet: of which stream, and where its bytes begin in the file, with what frames them and without."""

    stream: int
    begin: int
    data: int
    end: int


@dataclass(frozen=True)
class Clip:
    """A clip that is whole: its bytes, its container, and where its packets are."""

    path: Path
    content: bytes
    container: str
    places: tuple[Place, ...]
    video: int

    @classmethod
    def of(cls, path: Path) -> "Clip":
        content = path.read_bytes()
        with open_input(path) as container:
            name = container.format.name
            streams = [s for s in container.streams if not s.disposition & Disposition.attached_pic]
            video = next((s.index for s in streams if s.type == "video"), -1)
            packets = container.demux([s for s in streams if s.type in {"video", "audio"}])
            places = [_place(content, name, packet) for packet in packets if packet.size and packet.pos is not None]
        return cls(path, content, name, tuple(places), video)


def _place(content: bytes, container: str, packet: "Packet[Any]") -> Place:
    head = content.find(bytes(packet)[:64], packet.pos) if container != "mpegts" else packet.pos
    begin = packet.pos
    if container == "avi":
        begin -= 8  # which stream, and how long
    elif container == "matroska,webm":
        begin -= next(back for back in range(2, 10) if content[packet.pos - back] in (0xA3, 0xA0))
    return Place(packet.stream_index, begin, head, head + packet.size)


Damage = Callable[[Clip, random.Random], bytes]


def cut_off(clip: Clip, rng: random.Random) -> bytes:
    """The end is missing."""
    return clip.content[: int(len(clip.content) * rng.uniform(_FEWEST_KEPT, 0.995))]


def bytes_lost(clip: Clip, rng: random.Random) -> bytes:
    """Some bytes are left out in the middle."""
    begin = rng.randrange(len(clip.content) // 50, len(clip.content))
    return clip.content[:begin] + clip.content[begin + rng.randint(*_LOST_BYTES) :]


def hole(clip: Clip, rng: random.Random) -> bytes:
    """A range of zeros, as of a block that couldn't be read."""
    length = min(rng.randint(*_HOLE_BYTES), len(clip.content) // 4)
    begin = rng.randrange(len(clip.content) - length)
    return clip.content[:begin] + bytes(length) + clip.content[begin + length :]


def header(clip: Clip, rng: random.Random) -> bytes:
    """One to four bytes of the headers are others."""
    begin, end = _header(clip)
    content = bytearray(clip.content)
    for _ in range(rng.randint(1, 4)):
        content[rng.randrange(begin, end)] = rng.randrange(256)
    return bytes(content)


def _header(clip: Clip) -> tuple[int, int]:
    if clip.container.startswith("mov"):
        begin = clip.content.rfind(b"moov") - 4
        return begin, begin + int.from_bytes(clip.content[begin : begin + 4])
    if clip.container == "mpegts":
        return 0, 20 * _TS_CELL
    first = min(place.begin for place in clip.places)
    padding = clip.content.find(b"JUNK", 0, first) if clip.container == "avi" else -1
    return 0, first if padding < 0 else padding


def flip(clip: Clip, rng: random.Random, bits: int = 1) -> bytes:
    """Bits of the picture's packets are others."""
    content = bytearray(clip.content)
    for _ in range(bits):
        content[_payload_byte(clip, rng)] ^= 1 << rng.randrange(8)
    return bytes(content)


def _payload_byte(clip: Clip, rng: random.Random) -> int:
    if clip.container == "mpegts":
        cells = np.frombuffer(clip.content, np.uint8)[: len(clip.content) // _TS_CELL * _TS_CELL].reshape(-1, _TS_CELL)
        pids = ((cells[:, 1].astype(int) & 0x1F) << 8) | cells[:, 2]
        pid = int(np.bincount(pids).argmax())
        plain = np.flatnonzero((pids == pid) & (cells[:, 3] & 0x30 == 0x10) & (cells[:, 1] & 0x40 == 0))
        return int(rng.choice(plain.tolist())) * _TS_CELL + rng.randrange(4, _TS_CELL)
    mine = [place for place in clip.places if place.stream == clip.video]
    place = rng.choices(mine, [place.end - place.data for place in mine])[0]
    return rng.randrange(place.data, place.end)


def swapped(clip: Clip, rng: random.Random) -> bytes:
    """Two packets of a stream that follow each other have changed places, with what frames them."""
    if clip.container == "mpegts":
        return _swapped_cells(clip, rng)
    stream = rng.choice(sorted({place.stream for place in clip.places}))
    mine = sorted((place for place in clip.places if place.stream == stream), key=lambda place: place.begin)
    number = rng.randrange(len(mine) - 1)
    one, other = mine[number], mine[number + 1]
    content = clip.content
    return b"".join(
        (
            content[: one.begin],
            content[other.begin : other.end],
            content[one.end : other.begin],
            content[one.begin : one.end],
            content[other.end :],
        )
    )


def _swapped_cells(clip: Clip, rng: random.Random) -> bytes:
    cells = [clip.content[begin : begin + _TS_CELL] for begin in range(0, len(clip.content), _TS_CELL)]
    place = rng.choice(clip.places)
    first = place.begin // _TS_CELL
    pid = cells[first][1:3]
    same = [number for number in range(first, len(cells)) if cells[number][2] == pid[1]][:40]
    one, other = sorted(rng.sample(same, 2)) if len(same) > 1 else (first - 1, first)
    cells[one], cells[other] = cells[other], cells[one]
    return b"".join(cells)


def dropped(clip: Clip, rng: random.Random) -> bytes:
    """One to three packets of a stream in a row are missing, and the container is written anew without them.

    AVI, which has no times, would get empty packets in their place: there they are taken out of the file.
    """
    stream = rng.choice(sorted({place.stream for place in clip.places}))
    mine = [place for place in clip.places if place.stream == stream]
    count = rng.randint(1, 3)
    first = rng.randrange(1, len(mine) - count)
    if clip.container == "avi":
        content = bytearray(clip.content)
        for place in reversed(mine[first : first + count]):
            del content[place.begin : place.end + place.end % 2]
        return bytes(content)
    lost = set(range(first, first + count))
    return remuxed(clip, lambda index, number, _: not (index == stream and number in lost))


def mistimed(clip: Clip, rng: random.Random) -> bytes:
    """A stream's packets are late: from one on all of them, or some.

    Muxers refuse a packet that is decoded before the one before it: those that come behind late ones are lost.
    """
    stream = rng.choice(sorted({place.stream for place in clip.places}))
    count = sum(place.stream == stream for place in clip.places)
    first = rng.randrange(1, count - 1)
    last = rng.choice((count, min(count, first + rng.randint(1, 20))))
    late_s = rng.uniform(0.08, 3)
    decoded: dict[int, int] = {}

    def keep(index: int, number: int, packet: "Packet[Any]") -> bool:
        assert packet.dts is not None
        if index == stream and first <= number < last:
            ticks = round(late_s / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts + ticks
            packet.dts += ticks
        if packet.dts <= decoded.get(index, -(1 << 62)):
            return False
        decoded[index] = packet.dts
        return True

    return remuxed(clip, keep)


def remuxed(clip: Clip, keep: Callable[[int, int, "Packet[Any]"], bool] = lambda *_: True) -> bytes:
    """The clip's pictures and sound in a new container of the same kind, without the packets that aren't kept.

    Matroska's checksums, which would give any change away, aren't written: many muxers don't.
    """
    target = io.BytesIO()
    formats = {"mov,mp4,m4a,3gp,3g2,mj2": "mp4", "matroska,webm": "matroska"}
    with open_input(clip.path) as source:
        name = formats.get(clip.container, clip.container)
        with av.open(target, "w", format=name, options=_PLAIN.get(name, {})) as output:
            kept = [s for s in source.streams if s.type in {"video", "audio"}]
            streams = {s.index: output.add_stream_from_template(s, opaque=True) for s in kept}
            numbers = dict.fromkeys(streams, 0)
            for packet in source.demux(kept):
                index = packet.stream_index
                if not packet.size or packet.dts is None:
                    continue
                if keep(index, numbers[index], packet):
                    packet.stream = streams[index]
                    output.mux(packet)
                numbers[index] += 1
    return target.getvalue()


Change = Callable[[int, "Packet[Any]"], bool]


def rewritten(source: Path, target: Path, change: Change, options: dict[str, str] | None = None) -> Path:
    """A copy in which ``change`` may alter the packets of the first stream, by number, or leave them out."""
    numbers: dict[int, int] = {}
    with av.open(str(source)) as container, av.open(str(target), "w", options=options or {}) as output:
        streams = [output.add_stream_from_template(each, opaque=True) for each in container.streams]
        for packet in container.demux():
            index = packet.stream_index
            number = numbers.get(index, 0)
            if not packet.size:
                continue
            numbers[index] = number + 1
            if index != 0 or change(number, packet):
                packet.stream = streams[index]
                output.mux(packet)
    return target


KINDS: dict[str, Damage] = {
    "cut off": cut_off,
    "bytes lost": bytes_lost,
    "hole": hole,
    "dropped": dropped,
    "swapped": swapped,
    "mistimed": mistimed,
    "header": header,
    "flipped": flip,
}
REMUXED = frozenset({"dropped", "mistimed"})  # compared with a clean copy made the same way


Shown = Sequence[tuple[int, int | None, bytes]]


def shown(path: Path) -> Shown:
    """What decodes of a file: stream, time and digest of each frame, in the order they come."""
    return list(_shown(path))


def _shown(path: Path) -> Iterator[tuple[int, int | None, bytes]]:
    try:
        with open_input(path) as container:
            for stream in container.streams.video:
                if stream.codec_context is not None:
                    stream.codec_context.thread_type = "AUTO"
            for packet in container.demux():
                if packet.stream.type not in {"video", "audio"} or packet.stream.codec_context is None:
                    continue
                try:
                    for frame in packet.decode():
                        time = frame.pts if frame.pts is not None else frame.dts
                        yield packet.stream.index, time, digest(frame)
                except av.error.FFmpegError:
                    continue
    except (av.error.FFmpegError, SourceError):
        return


def digest(frame: av.VideoFrame | av.AudioFrame) -> bytes:
    """Of what is seen or heard of a frame: lines have padding behind them, which differs from run to run."""
    made = hashlib.blake2b(digest_size=16)
    if isinstance(frame, av.AudioFrame):
        made.update(frame.to_ndarray().tobytes())
        return made.digest()
    wide = (max(component.bits for component in frame.format.components) + 7) // 8
    for plane in frame.planes:
        lines = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        made.update(np.ascontiguousarray(lines[: plane.height, : plane.width * wide]))
    return made.digest()
