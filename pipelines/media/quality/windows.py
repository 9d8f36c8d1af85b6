"""Look at short windows that are spread over a film: however long it is, a few hundred pictures are decoded."""

import contextlib
import math
import time
from collections.abc import Iterator

import av
from av.audio.frame import AudioFrame
from av.container import InputContainer
from av.video.frame import VideoFrame

from pipelines.media.demuxing import packets_of
from pipelines.media.info import MediaInfo, VideoInfo
from pipelines.media.output_streams import set_threads
from pipelines.media.progress import OnProgress, Progress
from pipelines.media.quality.listener import QualityListener
from pipelines.media.quality.quality_spec import WINDOW_PICTURES, Measured, QualityPlan, window_count
from pipelines.media.source import Source, open_input, shown_at
from pipelines.media.ticks import seconds
from pipelines.media.video_plan import nominal_rate

_MEASURED_EVERY = 5  # pictures: the keyframe's successor, and two behind
_SOUND_S = 1.0  # of a window where there is no picture
_MOST_PASSED = 600  # pictures that were seen before, where a seek goes back behind them
_MICROSECONDS = 1_000_000


def measure_windows(source: Source, plan: QualityPlan, threads: int, on_progress: OnProgress) -> Measured:
    """Measure windows of ``source``, as far as they decode.

    Raises:
        SourceError: see ``open_input``.
    """
    started_s = time.monotonic()
    video = plan.info.video
    every_s = 1.0 if video is None else _MEASURED_EVERY / float(nominal_rate(video))
    listener = QualityListener(video, every_s)
    with open_input(source) as container:
        windows = _Windows(container, plan.info, video, listener)
        if video is not None:
            set_threads(container.streams[video.index], threads)
        listener.opened(container)
        count = window_count(plan.info.duration_s)
        for number in range(count):
            time_s = (plan.info.duration_s or 0.0) * number / count
            windows.take(time_s)
            on_progress(Progress(fraction=(number + 1) / count, frames=windows.pictures, position_s=time_s))
        measured = listener.result()
    return measured.model_copy(update={"elapsed_s": round(time.monotonic() - started_s, 3)})


class _Windows:
    def __init__(
        self, container: InputContainer, info: MediaInfo, video: VideoInfo | None, listener: QualityListener
    ) -> None:
        sound = info.audio[:1]
        self.pictures = 0
        self._container = container
        self._start_s = info.start_s
        self._video = None if video is None else video.index
        self._streams = [container.streams[each.index] for each in (*((video,) if video else ()), *sound)]
        self._listener = listener
        self._passable = _MOST_PASSED
        self._last_s: dict[int, float] = {}  # of what was shown of each stream

    def take(self, time_s: float) -> None:
        """Go to ``time_s`` and show what follows the keyframe there, but nothing twice. The start needs no seek."""
        if not self._streams:
            return
        if time_s > 0:
            try:
                self._container.seek(int((time_s + self._start_s) * _MICROSECONDS))
            except av.error.FFmpegError:
                return
        self._listener.leap()
        with contextlib.suppress(av.error.FFmpegError):
            self._show()

    def _show(self) -> None:
        shown, first_s = 0, None
        after_s = dict(self._last_s)
        for packet in packets_of(self._container, *self._streams):
            if packet.size:
                self._listener.packet(packet)
            for frame in _decoded(packet):
                pts = shown_at(frame)
                at_s = None if pts is None or not frame.time_base else seconds(pts, frame.time_base)
                if at_s is not None and at_s <= after_s.get(packet.stream_index, -math.inf):
                    self._passable -= 1
                    if self._passable < 0:
                        return
                    continue
                if at_s is not None:
                    self._last_s[packet.stream_index] = max(self._last_s.get(packet.stream_index, at_s), at_s)
                if isinstance(frame, AudioFrame):
                    first_s = at_s if first_s is None else first_s
                    self._listener.sound(packet.stream_index, frame)
                    if self._video is None and at_s is not None and at_s - (first_s or 0.0) >= _SOUND_S:
                        return
                else:
                    self._listener.picture(packet.stream_index, frame)
                    self.pictures += 1
                    shown += 1
                    if shown == WINDOW_PICTURES:
                        return


def _decoded(packet: "av.packet.Packet[av.stream.Stream]") -> Iterator[VideoFrame | AudioFrame]:
    """What comes of a packet; nothing, where it's damaged."""
    try:
        frames = packet.decode()
    except av.error.FFmpegError:
        return
    for frame in frames:
        if isinstance(frame, VideoFrame | AudioFrame) and not frame.is_corrupt:
            yield frame
