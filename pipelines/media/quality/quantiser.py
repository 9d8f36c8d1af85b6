"""How coarsely a picture was quantised, as its stream tells: the one measure of compression that needs no original.

All codecs quantise the coefficients of a transform that keeps energy, so that their steps compare: in levels of 8 bits.
libavcodec's decoders of H.264, VP9 and MPEG-1 to -4 tell quantisers of a frame's blocks; those of HEVC and AV1 are
read from the headers of slices and frames, as its filter ``trace_headers`` spells them out.
"""

import math
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import av
import av.logging
import numpy as np
from av.bitstream import BitStreamFilterContext
from av.packet import Packet
from av.sidedata.sidedata import Type
from av.stream import Stream
from av.video.frame import VideoFrame

from pipelines.media.side_data import side_data_of

_EXPORT = {"export_side_data": "+venc_params"}
_HEADER = struct.Struct("@IQQii")  # AVVideoEncParams: blocks, where they begin, bytes of each, kind, quantiser
_BLOCK_DELTA = 4  # its place among the integers of AVVideoBlockParams
_VP9, _H264, _MPEG = 0, 1, 2
_TRACED = frozenset({"hevc", "av1"})
_TRACED_PACKETS = 12  # from a keyframe on: two to five milliseconds each
_FIELD = re.compile(r"\s(init_qp_minus26|slice_qp_delta|base_q_idx)\s.*=\s*(-?\d+)$")
_MIDDLE_QP = 26
# AV1 and VP9, AC quantisers of 8 bits by index (libvpx, ac_qlookup): each next to the one before up to 102, and then
# within 1 % of a line through the logarithms of these. Their transforms have a gain of 8.
_INDEXES = (95, 120, 136, 152, 168, 184, 200, 216, 232, 248, 255)
_QUANTISERS = (102, 152, 200, 265, 353, 474, 639, 864, 1173, 1597, 1828)
_GAIN = 8


def index_log2_step(index: int) -> float:
    """The logarithm, of base 2, of VP9's or AV1's step in levels, by its index from 0 to 255."""
    if index <= _INDEXES[0]:
        return math.log2((index + 7 if index else 4) / _GAIN)
    return float(np.interp(index, _INDEXES, np.log2(_QUANTISERS))) - math.log2(_GAIN)


def qp_log2_step(qp: float) -> float:
    """Of H.264 and HEVC: the step doubles every six (ITU-T H.264, 8.5.9)."""
    return (qp - 4) / 6


class QuantiserMeter:
    """Takes the packets and frames of a picture and tells the mean logarithm of their steps."""

    def __init__(self, stream: Stream, every_s: float) -> None:
        """To be made before the decoder opens. Headers are read from a keyframe on each ``every_s`` seconds."""
        context = stream.codec_context
        self._codec = "" if context is None else str(context.codec.canonical_name)
        self._sum, self._count = 0.0, 0
        self._every_s = every_s
        self._traced_from_s: float | None = None
        self._left = 0
        self._init_qp = _MIDDLE_QP
        self._trace: BitStreamFilterContext | None = None
        if self._codec in _TRACED:
            with _traced() as lines:
                try:
                    self._trace = BitStreamFilterContext("trace_headers", stream)
                except (av.error.FFmpegError, ValueError):
                    return
            self._note(lines)
        elif context is not None:
            context.options = {**context.options, **_EXPORT}

    def packet(self, packet: "Packet[Any]", time_s: float) -> None:
        if self._trace is None:
            return
        due = self._traced_from_s is None or not 0 <= time_s - self._traced_from_s < self._every_s
        if packet.is_keyframe and self._left == 0 and due:
            self._left, self._traced_from_s = _TRACED_PACKETS, time_s
        if not self._left:
            return
        self._left -= 1
        with _traced() as lines:
            try:
                self._trace.filter(Packet(bytes(packet)))  # a filter takes what it's given away from others
            except av.error.FFmpegError:
                self._left = 0
        self._note(lines)

    def picture(self, frame: VideoFrame) -> None:
        if self._trace is not None or (told := side_data_of(frame).get(Type.VIDEO_ENC_PARAMS)) is None:
            return
        log2_step = self._of_blocks(told, frame.format.components[0].bits)
        if log2_step is not None:
            self._add(log2_step)

    def taken(self) -> float | None:
        """The mean since it was last asked for; ``None`` where nothing told."""
        mean = self._sum / self._count if self._count else None
        self._sum, self._count = 0.0, 0
        return mean

    def _of_blocks(self, told: bytes, bits: int) -> float | None:
        count, begin, size, kind, quantiser = _HEADER.unpack_from(told)
        if kind == _VP9:
            return index_log2_step(quantiser)
        if not count:
            return None
        blocks = np.frombuffer(told, np.int32, count * size // 4, begin).reshape(count, size // 4)
        quantisers = quantiser + blocks[:, _BLOCK_DELTA]
        if kind == _H264:
            return qp_log2_step(float(quantisers.mean()) - 6 * (bits - 8))
        if kind == _MPEG:
            # ISO/IEC 13818-2, 7.4.2.3 with a flat matrix; before it and after, the step is twice the quantiser.
            return float(np.log2(np.maximum(quantisers, 1)).mean()) + (self._codec != "mpeg2video")
        return None

    def _note(self, lines: list[str]) -> None:
        for line in lines:
            if (field := _FIELD.search(line)) is None:
                continue
            value = int(field[2])
            if field[1] == "init_qp_minus26":
                self._init_qp = _MIDDLE_QP + value
            elif field[1] == "slice_qp_delta":
                self._add(qp_log2_step(self._init_qp + value))
            else:
                self._add(index_log2_step(value))

    def _add(self, log2_step: float) -> None:
        self._sum += log2_step
        self._count += 1


@contextmanager
def _traced() -> Iterator[list[str]]:
    """What libav says on this thread meanwhile; nobody else hears it."""
    lines: list[str] = []
    before, skipped = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.INFO)
    av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture(local=True) as messages:
            yield lines
        lines += [text for _, _, text in messages]
    finally:
        av.logging.set_skip_repeated(skipped)
        av.logging.set_level(before)
