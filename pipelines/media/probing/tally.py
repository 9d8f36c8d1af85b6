"""What the packets of one stream come to: its span, bit rates, groups of pictures, and how long frames are shown."""

import math
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from av.packet import Packet
from av.stream import Stream
from numpy.typing import NDArray

from pipelines.media.demuxing import UNDATED, PacketTable, Ticks, time_of
from pipelines.media.probing.probe_result import BitRateCurve, FrameTimes, Groups, PicturePackets, StreamPackets

_MOST_POINTS = 600
_LEFT_OUT_S = {"audio": 1.0, "video": 10.0}  # a picture may stand for seconds
_KEPT_JUMPS = 10
_LONGEST_S = 1e9  # what spans more than thirty years has times that mean nothing


class StreamTally:
    """The packets of one stream: noted one by one, and asked about once all were; or a ``table`` of them all."""

    def __init__(self, stream: Stream, start: Fraction, table: PacketTable | None = None) -> None:
        self.index = stream.index
        self.kind = stream.type
        self._tick_s = float(stream.time_base or Fraction(1, 1000))
        self._start_s = float(start)
        self._table = PacketTable() if table is None else table
        self._reorders = stream.codec_context is not None and getattr(stream.codec_context, "reorder_depth", 0) > 0
        self._last_s = 0.0

    def __len__(self) -> int:
        return len(self._table)

    def note(self, packet: "Packet[Any]") -> float:
        """Keep what a packet tells; returns when it is shown."""
        self._table.note(packet)
        shown = packet.pts if self._reorders else time_of(packet)
        if shown is not None:
            self._last_s = shown * self._tick_s - self._start_s
        return self._last_s

    @property
    def latest_s(self) -> float:
        """When the last packet is shown."""
        times = self._shown[self._dated]
        return float(times.max() * self._tick_s - self._start_s) if len(times) else 0.0

    @cached_property
    def _shown(self) -> Ticks:
        # Where frames are reordered, the time of decoding says nothing about the time of showing.
        return np.array(self._table.shown, np.int64) if self._reorders else self._table.times

    @cached_property
    def _durations(self) -> Ticks:
        return np.array(self._table.durations, np.int64)

    @cached_property
    def _dated(self) -> NDArray[np.bool_]:
        return np.asarray(self._shown != UNDATED)

    def found(self) -> StreamPackets:
        return StreamPackets.model_validate(self._common())

    def picture(self) -> PicturePackets:
        shown, hidden = self._shown, np.array(self._table.hidden, bool)
        dated = bool(self._dated.all()) and len(self) > 0
        off = _places_off(shown) if dated else 0
        return PicturePackets.model_validate(
            self._common()
            | {
                "curve": self._curve(),
                "groups": self._groups(dated=dated),
                "times": _frame_times(np.sort(shown[~hidden]), self._tick_s) if dated else None,
                "reordered": off > 0,
                "reorder_frames": off,
                "hidden": int(hidden.sum()),
                "undated": int((~self._dated).sum()),
            }
        )

    def _common(self) -> dict[str, object]:
        size_bytes = sum(self._table.sizes)
        begin_s, end_s = self._span
        length_s = None if begin_s is None or end_s is None else end_s - begin_s
        jumps = self._jumps()
        return {
            "index": self.index,
            "packets": len(self),
            "size_bytes": size_bytes,
            "begin_s": begin_s,
            "end_s": end_s,
            "bit_rate_bps": round(size_bytes * 8 / length_s) if length_s and length_s > 0 else None,
            "jumps": len(jumps),
            "jumps_at_s": tuple(jumps[:_KEPT_JUMPS]),
        }

    def _seconds(self, ticks: int) -> float:
        return round(float(ticks * self._tick_s - self._start_s), 6)

    @cached_property
    def _span(self) -> tuple[float | None, float | None]:
        """When the first packet is shown, and until when the last."""
        if not self._dated.any():
            return None, None
        ends = self._shown + self._durations
        return self._seconds(int(self._shown[self._dated].min())), self._seconds(int(ends[self._dated].max()))

    def _jumps(self) -> list[float]:
        decoded = np.array(self._table.decoded, np.int64)
        if not self._reorders:
            decoded = np.where(decoded == UNDATED, self._shown, decoded)
        dated = decoded != UNDATED
        decoded, durations = decoded[dated], self._durations[dated]
        if self.kind not in _LEFT_OUT_S or len(decoded) < 2:
            return []
        steps = np.diff(decoded.astype(np.float64))
        left_out = (steps - durations[:-1]) * self._tick_s > _LEFT_OUT_S[self.kind]
        ends = decoded + durations
        return [self._seconds(int(ends[place])) for place in np.flatnonzero((steps < 0) | left_out)]

    def _curve(self) -> BitRateCurve | None:
        begin_s, end_s = self._span
        if begin_s is None or end_s is None:
            return None
        times_s = self._shown[self._dated] * self._tick_s
        times_s -= times_s.min()
        if times_s.max() > _LONGEST_S:
            return None
        seconds, places = np.unique(np.floor(times_s).astype(np.int64), return_inverse=True)
        bits = np.bincount(places, weights=np.array(self._table.sizes)[self._dated]) * 8
        step = math.ceil((int(seconds[-1]) + 1) / _MOST_POINTS)
        values = np.bincount(seconds // step, weights=bits) / step
        length_s = end_s - begin_s
        whole = seconds + 1 <= length_s
        fullest = int(np.argmax(np.where(whole, bits, 0)))
        peak = bits[fullest] if whole.any() else bits.sum() / length_s if length_s > 0 else bits.sum()
        return BitRateCurve(
            begin_s=begin_s,
            step_s=step,
            values_bps=tuple(round(float(value)) for value in values),
            peak_bps=round(float(peak)),
            peak_at_s=round(begin_s + int(seconds[fullest]), 6),
        )

    def _groups(self, *, dated: bool) -> Groups | None:
        shown, keys = self._shown, np.array(self._table.keys, bool)
        starts = np.flatnonzero(keys)
        if not len(starts):
            return None
        lengths = np.diff(np.append(starts, len(keys)))
        group = Groups(
            keyframes=len(starts),
            shortest_frames=int(lengths.min()),
            mean_frames=round(float(lengths.mean()), 3),
            longest_frames=int(lengths.max()),
            leading=int(starts[0]),
        )
        if not dated:
            return group
        _, end_s = self._span
        times_s = np.append(shown[starts] * self._tick_s - self._start_s, end_s or 0.0)
        lengths_s = np.diff(np.sort(times_s))
        owner = np.cumsum(keys) - 1  # the number of each packet's group; -1 before the first
        early = (owner > 0) & (shown < shown[starts[owner]])
        return group.model_copy(
            update={
                "shortest_s": round(float(lengths_s.min()), 6),
                "mean_s": round(float(lengths_s.mean()), 6),
                "longest_s": round(float(lengths_s.max()), 6),
                "open": len(np.unique(owner[early])),
            }
        )


def _places_off(shown: Ticks) -> int:
    """How many places a frame is decoded after its turn to be shown, at most."""
    order = np.argsort(shown, kind="stable")
    places = np.empty(len(shown), np.int64)
    places[order] = np.arange(len(shown))
    return max(0, int((np.arange(len(shown)) - places).max()))


def _frame_times(times: Ticks, tick_s: float) -> FrameTimes | None:
    if len(times) < 2 or not 0 < (int(times[-1]) - int(times[0])) * tick_s <= _LONGEST_S:
        return None
    steps = np.diff(times)
    median = float(np.median(steps))
    irregular = int((np.abs(steps - median) > 1).sum())
    return FrameTimes(
        mode="variable" if irregular else "constant",
        shortest_s=round(float(steps.min()) * tick_s, 6),
        median_s=round(median * tick_s, 6),
        longest_s=round(float(steps.max()) * tick_s, 6),
        irregular=irregular,
        frame_rate=round(len(steps) / (float(times[-1] - times[0]) * tick_s), 6),
    )
