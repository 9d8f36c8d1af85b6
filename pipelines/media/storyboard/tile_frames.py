"""The frames that tiles show, by keyframes or exactly."""

from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property

from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from pipelines.media.frames import FrameReader
from pipelines.media.info import VideoInfo
from pipelines.media.keyframe_seeking import KeyframeReader
from pipelines.media.keyframes import Keyframes
from pipelines.media.source import Source, open_input
from pipelines.media.storyboard.storyboard_spec import StoryboardSpec
from pipelines.media.timing import Timing


@dataclass(frozen=True)
class Found:
    frame: VideoFrame
    time_s: float
    keyframe: bool


class TileFrames:
    """Gets the frames that tiles show, by keyframes or exactly."""

    def __init__(
        self, source: Source, video: VideoInfo, keyframes: Keyframes, spec: StoryboardSpec, stack: ExitStack
    ) -> None:
        self._source = source
        self._video = video
        self._keyframes = keyframes
        self._mode = spec.mode
        self._stack = stack
        container = stack.enter_context(open_input(source))
        self.timing = Timing.of(container, video.index)
        self._keyframe_reader = KeyframeReader(container, _stream(container, video), keyframes.times)
        self._last_place: int | None = None
        self._last: Found | None = None

    def at(self, wanted_s: float, interval_s: float) -> Found:
        """The frame for ``wanted_s``: an object met before where it's the keyframe given last.

        Raises:
            SourceUnreadableError: nothing decodes.
        """
        place = self._place(self.timing.pts_of(wanted_s), interval_s)
        if place is None or place != self._last_place:
            frame = None if place is None else self._keyframe_reader.frame(place)
            self._last_place = place
            self._last = self._found(frame, keyframe=True) if frame is not None else None
        if self._last is not None:
            return self._last
        return self._found(self._exact_reader.at(self.timing.pts_of(wanted_s)), keyframe=False)

    def _place(self, pts: int, interval_s: float) -> int | None:
        """Of the keyframe to show, or ``None`` for the very frame."""
        place = None if self._mode == "exact" else self._keyframes.nearest(pts)
        if place is None or self._mode == "keyframes":
            return place
        away_s = abs(self._keyframes.times[place] - pts) * self.timing.time_base
        return place if away_s <= interval_s else None

    @cached_property
    def _exact_reader(self) -> FrameReader:
        container = self._stack.enter_context(open_input(self._source))
        return FrameReader(container, _stream(container, self._video), self._keyframes.times)

    def _found(self, frame: VideoFrame, *, keyframe: bool) -> Found:
        assert frame.pts is not None
        return Found(frame, max(0.0, self.timing.time_of(frame.pts)), keyframe)


def _stream(container: InputContainer, video: VideoInfo) -> VideoStream:
    stream = container.streams[video.index]
    assert isinstance(stream, VideoStream)
    return stream
