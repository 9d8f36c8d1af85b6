"""Listen to a pass and keep a digest of each picture, and of each packet of sound."""

from array import array
from pathlib import Path
from typing import Any

import numpy as np
from av.audio.frame import AudioFrame
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from blake3 import blake3

from pipelines.media.passes import Fault
from pipelines.media.source import shown_at
from pipelines.media.timing import start_of
from pipelines.media.validation.hash_file import DIGEST_BYTES, HashedStream, write_rows

_COLOUR_BYTES = 4


class FrameHashes:
    """The listener. ``write`` once the pass is over."""

    def __init__(self) -> None:
        self._streams: list[HashedStream] = []
        self._sound: frozenset[int] = frozenset()
        self._numbers = array("h")
        self._times: list[int | None] = []
        self._digests = bytearray()

    def opened(self, container: InputContainer) -> None:
        start = str(start_of(container))
        timed = [stream for stream in container.streams if stream.type in {"video", "audio"}]
        self._sound = frozenset(stream.index for stream in timed if stream.type == "audio")
        for stream in timed:
            context = stream.codec_context
            self._streams.append(
                HashedStream(
                    index=stream.index,
                    codec=None if context is None else str(context.codec.canonical_name),
                    what="packets" if stream.type == "audio" else "frames",
                    time_base=str(stream.time_base or 0),
                    start=start,
                    header=blake3((context.extradata if context else None) or b"").hexdigest(length=DIGEST_BYTES),
                )
            )

    def packet(self, packet: "Packet[Any]") -> None:
        if packet.stream_index in self._sound:
            self._keep(packet.stream_index, packet.pts, blake3(memoryview(packet)))

    def picture(self, stream: int, frame: VideoFrame) -> None:
        self._keep(stream, shown_at(frame), digest_of(frame))

    def sound(self, stream: int, frame: AudioFrame) -> None: ...

    def fault(self, fault: Fault) -> None: ...

    def write(self, path: Path) -> None:
        write_rows(path, self._streams, self._numbers, self._times, bytes(self._digests))

    def _keep(self, stream: int, pts: int | None, digest: blake3) -> None:
        self._numbers.append(stream)
        self._times.append(pts)
        self._digests += digest.digest(length=DIGEST_BYTES)


def digest_of(frame: VideoFrame) -> blake3:
    """Of what is seen of a picture: its lines have padding behind them, which differs from run to run."""
    digest = blake3()
    for number, plane in enumerate(frame.planes):
        lines = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)
        seen = lines[:, : _line_bytes(frame, number, plane.width)]
        if plane.line_size < 0:  # from the bottom up
            seen = seen[::-1]
        digest.update(np.ascontiguousarray(seen).data)
    return digest


def _line_bytes(frame: VideoFrame, number: int, width: int) -> int:
    """How many bytes of a line of a plane are seen."""
    components = frame.format.components
    if len(frame.planes) == 1:
        return -(-frame.format.padded_bits_per_pixel * width // 8)
    inside = [component for component in components if component.plane == number]
    if not inside:
        return _COLOUR_BYTES * width  # a palette
    return width * sum(-(-component.bits // 8) for component in inside)
