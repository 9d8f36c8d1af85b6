"""What the packets of a file show without being decoded: groups of pictures, bit rates, how long frames are shown."""

import math
import time
from array import array
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from numpy.typing import NDArray

from pipelines.media.info import MediaInfo, VideoInfo
from pipelines.media.probing.probe_result import (
    BitRateCurve,
    FrameTimes,
    Groups,
    PacketFindings,
    PicturePackets,
    StreamPackets,
)
from pipelines.media.progress import OnProgress, ProgressMeter
from pipelines.media.source import Source, name_of, open_input
from pipelines.media.timing import start_of
from pipelines.media.truncation import ends_early

Ticks = NDArray[np.int64]

_MOST_POINTS = 600
_LEFT_OUT_S = {"audio": 1.0, "video": 10.0}  # a picture may stand for seconds
_KEPT_JUMPS = 10
_LONGEST_S = 1e9  # what spans more than thirty years has times that mean nothing
_UNDATED = -(1 << 63)


def find_in_packets(source: Source, info: MediaInfo, on_progress: OnProgress) -> PacketFindings:
    """Read all packets of ``source``, whose headers tell ``info``, as far as they can be read.

    Raises:
        SourceError: see ``open_input``.
    """
    started_s = time.monotonic()
    meter = ProgressMeter(on_progress, info.duration_s)
    with open_input(source) as container:
        start = start_of(container)
        tracks = [_Track(stream, start) for stream in container.streams]
        failed = _read(container, tracks, meter)
        pictures = {stream.index for stream in info.streams if isinstance(stream, VideoInfo)} - _covers(info)
        video = tuple(track.picture() for track in tracks if track.index in pictures)
        audio = tuple(track.found() for track in tracks if track.kind == "audio")
        timed = {stream.index for stream in (*video, *audio)}
        other = tuple(track.found() for track in tracks if track.index not in timed)
    end_s = max((stream.end_s for stream in (*video, *audio) if stream.end_s is not None), default=None)
    meter.finish(end_s or 0.0, sum(stream.packets for stream in video))
    return PacketFindings(
        video=video,
        audio=audio,
        other=other,
        end_s=end_s,
        warnings=_warnings(source, info, sum(map(len, tracks)), end_s, failed),
        elapsed_s=round(time.monotonic() - started_s, 3),
    )


def _covers(info: MediaInfo) -> set[int]:
    return {stream.index for stream in info.streams if isinstance(stream, VideoInfo) and stream.attached_picture}


def _read(container: InputContainer, tracks: "list[_Track]", meter: ProgressMeter) -> str | None:
    """Why it can't be read to its end, if so."""
    frames, last_s = 0, 0.0
    try:
        for packet in container.demux():
            if packet.size and packet.stream_index < len(tracks):
                track = tracks[packet.stream_index]
                last_s = max(last_s, track.note(packet))
                frames += track.kind == "video"
                meter.update(last_s, frames)
    except av.error.FFmpegError as error:
        return f"can't be read beyond {last_s:.1f} s: {error.strerror}"
    return None


def _warnings(
    source: Source, info: MediaInfo, packets: int, end_s: float | None, failed: str | None
) -> tuple[str, ...]:
    warnings = []
    if failed is not None:
        warnings.append(f"{name_of(source)} {failed}.")
    if not packets:
        warnings.append(f"Nothing of {name_of(source)} can be read but its headers: it was cut off, or is damaged.")
    elif end_s is None:
        warnings.append(f"{name_of(source)} has no sound and no pictures with a time.")
    elif ends_early(info, end_s + info.start_s):
        warnings.append(f"{name_of(source)} ends after {end_s:.1f} of {info.duration_s or 0:.1f} s: it was cut off.")
    return tuple(warnings)


class _Track:
    """The packets of one stream, in order of decoding."""

    def __init__(self, stream: Stream, start: Fraction) -> None:
        self.index = stream.index
        self.kind = stream.type
        self._tick_s = float(stream.time_base or Fraction(1, 1000))
        self._start_s = float(start)
        self._shown = array("q")
        self._decoded = array("q")
        self._durations = array("q")
        self._sizes = array("q")
        self._keys = array("b")
        self._hidden = array("b")
        self._reorders = stream.codec_context is not None and getattr(stream.codec_context, "reorder_depth", 0) > 0
        self._last_s = 0.0

    def __len__(self) -> int:
        return len(self._sizes)

    def note(self, packet: "Packet[Any]") -> float:
        """Keep what a packet tells; returns when it is shown."""
        pts, dts = packet.pts, packet.dts
        # Where frames are reordered, the time of decoding says nothing about the time of showing.
        shown = pts if pts is not None else None if self._reorders else dts
        decoded = dts if dts is not None or self._reorders else pts
        self._shown.append(_UNDATED if shown is None else shown)
        self._decoded.append(_UNDATED if decoded is None else decoded)
        self._durations.append(packet.duration or 0)
        self._sizes.append(packet.size)
        self._keys.append(packet.is_keyframe)
        self._hidden.append(packet.is_discard)
        if shown is not None:
            self._last_s = shown * self._tick_s - self._start_s
        return self._last_s

    def found(self) -> StreamPackets:
        return StreamPackets.model_validate(self._common())

    def picture(self) -> PicturePackets:
        shown, keys = np.array(self._shown, np.int64), np.array(self._keys, bool)
        hidden = np.array(self._hidden, bool)
        dated = bool((shown != _UNDATED).all()) and len(shown) > 0
        off = _places_off(shown) if dated else 0
        return PicturePackets.model_validate(
            self._common()
            | {
                "curve": self._curve(),
                "groups": self._groups(shown, keys, dated=dated),
                "times": _frame_times(np.sort(shown[~hidden]), self._tick_s) if dated else None,
                "reordered": off > 0,
                "reorder_frames": off,
                "hidden": int(hidden.sum()),
                "undated": int((shown == _UNDATED).sum()),
            }
        )

    def _common(self) -> dict[str, object]:
        size_bytes = sum(self._sizes)
        begin_s, end_s = self._span()
        length_s = None if begin_s is None or end_s is None else end_s - begin_s
        jumps = self._jumps()
        return {
            "index": self.index,
            "packets": len(self._sizes),
            "size_bytes": size_bytes,
            "begin_s": begin_s,
            "end_s": end_s,
            "bit_rate_bps": round(size_bytes * 8 / length_s) if length_s and length_s > 0 else None,
            "jumps": len(jumps),
            "jumps_at_s": tuple(jumps[:_KEPT_JUMPS]),
        }

    def _seconds(self, ticks: int) -> float:
        return round(float(ticks * self._tick_s - self._start_s), 6)

    def _span(self) -> tuple[float | None, float | None]:
        shown, durations = np.array(self._shown, np.int64), np.array(self._durations, np.int64)
        dated = shown != _UNDATED
        if not dated.any():
            return None, None
        return self._seconds(int(shown[dated].min())), self._seconds(int((shown + durations)[dated].max()))

    def _jumps(self) -> list[float]:
        decoded = np.array(self._decoded, np.int64)
        dated = decoded != _UNDATED
        decoded, durations = decoded[dated], np.array(self._durations, np.int64)[dated]
        if self.kind not in _LEFT_OUT_S or len(decoded) < 2:
            return []
        steps = np.diff(decoded.astype(np.float64))
        left_out = (steps - durations[:-1]) * self._tick_s > _LEFT_OUT_S[self.kind]
        ends = decoded + durations
        return [self._seconds(int(ends[place])) for place in np.flatnonzero((steps < 0) | left_out)]

    def _curve(self) -> BitRateCurve | None:
        shown, sizes = np.array(self._shown, np.int64), np.array(self._sizes, np.int64)
        dated = shown != _UNDATED
        if not dated.any():
            return None
        times_s = shown[dated] * self._tick_s
        times_s -= times_s.min()
        if times_s.max() > _LONGEST_S:
            return None
        seconds, places = np.unique(np.floor(times_s).astype(np.int64), return_inverse=True)
        bits = np.bincount(places, weights=sizes[dated]) * 8
        step = math.ceil((int(seconds[-1]) + 1) / _MOST_POINTS)
        values = np.bincount(seconds // step, weights=bits) / step
        begin_s, end_s = self._span()
        length_s = (end_s or 0.0) - (begin_s or 0.0)
        whole = seconds + 1 <= length_s
        fullest = int(np.argmax(np.where(whole, bits, 0)))
        peak = bits[fullest] if whole.any() else bits.sum() / length_s if length_s > 0 else bits.sum()
        return BitRateCurve(
            begin_s=begin_s or 0.0,
            step_s=step,
            values_bps=tuple(round(float(value)) for value in values),
            peak_bps=round(float(peak)),
            peak_at_s=round((begin_s or 0.0) + int(seconds[fullest]), 6),
        )

    def _groups(self, shown: Ticks, keys: NDArray[np.bool_], *, dated: bool) -> Groups | None:
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
        _, end_s = self._span()
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
