"""The packets that a join puts into one file: of chunks, of encoded sound, of what is copied from the source.

``number`` is that of the track that a packet goes to.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet

from pipelines.media.demuxing import packets_of
from pipelines.media.errors import OutputInvalidError
from pipelines.media.pieces import known
from pipelines.media.results import EncodedChunk, SoundResult
from pipelines.media.source import open_input
from pipelines.media.ticks import rescaled
from pipelines.media.tracks import Clock

_INTERLEAVED_S = 1  # by so much subtitles may lie behind the picture they are shown with
_ZERO = Fraction(0)

TimedPacket = tuple[Fraction, int, "Packet[Any]"]  # when it is decoded, in seconds; whose it is; the packet


def picture_feed(chunks: Sequence[EncodedChunk], number: int, time_base: Fraction) -> Iterator[TimedPacket]:
    """The packets of all chunks, with the times at which they are decoded.

    A packet is decoded when the frame ``reorder`` places before it, in order of showing, is shown: the latest that is
    early enough for all, and strictly rising since the times of frames are. The first ones are made up.
    """
    reorder = max(chunk.result.reorder for chunk in chunks)
    usual = max(1, known(chunks[0].result.last_duration))
    first = known(chunks[0].result.first_pts)
    shown = [first - usual * back for back in range(reorder, 0, -1)]
    for place, chunk in enumerate(chunks):
        last = place + 1 == len(chunks)
        mine = chunk.result
        behind = known(mine.last_pts) + known(mine.last_duration)
        end = behind if last else known(chunks[place + 1].result.first_pts)
        # Read twice, since a long chunk needn't fit into memory; opened once, since libav decodes a picture for that.
        with open_input(chunk.path) as container:
            times = sorted(packet.pts or 0 for packet in _read(container, time_base))
            follows = dict(pairwise([*times, end]))
            shown += times
            _rewind(container)
            for turn, packet in enumerate(_read(container, time_base)):
                packet.dts = shown[turn]
                packet.duration = follows[packet.pts or 0] - (packet.pts or 0)
                yield packet.dts * time_base, number, packet
        shown = shown[len(times) :]


def _rewind(container: InputContainer) -> None:
    try:
        container.seek(0, unsupported_byte_offset=True)  # by time, NUT finds nothing where there is one keyframe
    except av.error.FFmpegError as error:
        raise OutputInvalidError(f"A chunk can't be read twice: {error.strerror}.") from error


def _read(container: InputContainer, time_base: Fraction) -> "Iterator[Packet[Any]]":
    for packet in container.demux(container.streams.video[0]):
        if packet.size and packet.pts is not None:
            packet.pts = rescaled(packet.pts, packet.time_base, time_base)
            packet.time_base = time_base
            yield packet


def sound_feed(container: InputContainer, number: int, result: SoundResult) -> Iterator[TimedPacket]:
    """The packets of an encoded track. Matroska tells no packet's length: the last is cut again where it was."""
    for decoded_s, _, packet in timed(packets_of(container), {0: number}):
        if packet.pts is not None and packet.duration:
            left = round(Fraction(result.end_s) / packet.time_base) - packet.pts
            packet.duration = max(1, min(packet.duration, left))
        yield decoded_s, number, packet


def until_end(packets: "Iterator[Packet[Any]]", picture_index: int, clock: Clock) -> "Iterator[Packet[Any]]":
    """Packets as far as the picture is wanted, and a little on: the rest of a long source needn't be read."""
    end = None if clock.end is None else clock.end + _INTERLEAVED_S
    for packet in packets:
        yield packet
        if end is None or packet.stream_index != picture_index or packet.dts is None:
            continue
        if packet.dts * packet.time_base >= end:
            return


def timed(packets: "Iterator[Packet[Any]]", numbers: dict[int, int], zero: Fraction = _ZERO) -> Iterator[TimedPacket]:
    """The packets of some streams, and when each is decoded, counted from ``zero``.

    One without a time counts as decoded with the one before.
    """
    last = _ZERO
    for packet in packets:
        if packet.size and packet.stream_index in numbers:
            time_ = packet.dts if packet.dts is not None else packet.pts
            last = last if time_ is None else time_ * packet.time_base - zero
            yield last, numbers[packet.stream_index], packet
