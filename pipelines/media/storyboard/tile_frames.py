"""The frames that tiles show, by keyframes or exactly."""

from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image

from pipelines.media.frames import FrameReader, PictureMaker
from pipelines.media.info import VideoInfo
from pipelines.media.keyframe_seeking import KeyframeReader
from pipelines.media.keyframes import Keyframes
from pipelines.media.source import Source, open_input
from pipelines.media.storyboard.storyboard_spec import Mode, StoryboardSpec
from pipelines.media.timing import Timing


@dataclass(frozen=True)
class Found:
    """What a tile shows; ``time_s`` is when its frame starts, from the container's start."""

    picture: Image.Image
    time_s: float
    keyframe: bool


def place_of(keyframes: Keyframes, mode: Mode, pts: int, time_base: Fraction, interval_s: float) -> int | None:
    """The place of the keyframe to show for ``pts``, or ``None`` for the very frame."""
    place = None if mode == "exact" else keyframes.nearest(pts)
    if place is None or mode == "keyframes":
        return place
    return place if abs(keyframes.times[place] - pts) * time_base <= interval_s else None


class TileFrames:
    """Gets the frames that tiles show, by keyframes or exactly, as pictures of ``size``."""

    def __init__(
        self,
        source: Source,
        video: VideoInfo,
        keyframes: Keyframes,
        spec: StoryboardSpec,
        size: tuple[int, int],
        stack: ExitStack,
        threads: int = 1,
    ) -> None:
        self._source = source
        self._video = video
        self._keyframes = keyframes
        self._mode = spec.mode
        self._stack = stack
        self._threads = threads
        container = stack.enter_context(open_input(source))
        self.timing = Timing.of(container, video.index)
        self._maker = PictureMaker(video, self.timing.time_base, size=size)
        self._keyframe_reader = KeyframeReader(container, _stream(container, video), keyframes.times)
        self._last_place: int | None = None
        self._last: Found | None = None

    def at(self, wanted_s: float, interval_s: float) -> Found:
        """The frame for ``wanted_s``: an object met before where it's the keyframe given last.

        Raises:
            SourceUnreadableError: nothing decodes.
        """
        pts = self.timing.pts_of(wanted_s)
        place = place_of(self._keyframes, self._mode, pts, self.timing.time_base, interval_s)
        if place is None or place != self._last_place:
            frame = None if place is None else self._keyframe_reader.frame(place)
            self._last_place = place
            self._last = self._found(frame, keyframe=True) if frame is not None else None
        if self._last is not None:
            return self._last
        return self._found(self._exact_reader.at(pts), keyframe=False)

    @cached_property
    def _exact_reader(self) -> FrameReader:
        container = self._stack.enter_context(open_input(self._source))
        return FrameReader(container, _stream(container, self._video), self._keyframes.times, self._threads)

    def _found(self, frame: VideoFrame, *, keyframe: bool) -> Found:
        assert frame.pts is not None
        return Found(self._maker.make(frame), max(0.0, self.timing.time_of(frame.pts)), keyframe)


def _stream(container: InputContainer, video: VideoInfo) -> VideoStream:
    stream = container.streams[video.index]
    assert isinstance(stream, VideoStream)
    return stream
