"""Find the frame that is shown at a given time, and make it a picture."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import islice

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image

from pipelines.media.demuxing import packets_of
from pipelines.media.errors import SourceUnreadableError
from pipelines.media.info import VideoInfo
from pipelines.media.keyframe_seeking import MAX_READ, STEPS_BACK_S, KeyframeSeeker, decoded_alone
from pipelines.media.side_data import Orientation
from pipelines.media.source import shown_at
from pipelines.media.video_filters import TONEMAP, PictureFilter, Step, orient

_FORWARD_S = 0.5  # nearer than this, decoding on is cheaper than a seek
_SCALER = "flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"
_HD_HEIGHT = 720


class FrameReader:
    """Reads frames of one stream by time, on the stream's own clock; asking in rising order is fastest.

    ``keyframes``, their times as ``Keyframes`` has them, save vain seeks where the container has no index. ``threads``
    decode; ``None`` leaves it to the decoder, which takes every CPU.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        keyframes: Sequence[int] = (),
        threads: int | None = 1,
    ) -> None:
        self._container = container
        self._stream = stream
        self._seeker = KeyframeSeeker(container, stream, keyframes)
        self._time_base = stream.time_base or Fraction(1, 1000)
        self._frames: Iterator[VideoFrame] = iter(())
        self._shown: VideoFrame | None = None
        self._next: VideoFrame | None = None
        self._seeks = True
        stream.codec_context.thread_type, stream.codec_context.thread_count = "AUTO", threads or 0

    def at(self, pts: int) -> VideoFrame:
        """The frame shown at ``pts``: the last one that starts at or before it, or the first if all start later.

        Raises:
            SourceUnreadableError: nothing decodes.
        """
        if not self._reaches(pts):
            self._seek_before(pts)
        while self._next is not None and _start(self._next) <= pts:
            self._step()
        if self._shown is None:
            raise SourceUnreadableError("No frame of the video stream decodes; the file is damaged.")
        return self._shown

    def first(self) -> VideoFrame | None:
        """The first frame of a container that was just opened: no seek is in its way. None where nothing decodes."""
        self._begin(packets_of(self._container, self._stream))
        self._step()
        self._step()
        return self._shown

    def following(self) -> VideoFrame | None:
        """The frame that is shown after the one given last; None at the end."""
        if self._next is None:
            return None
        self._step()
        return self._shown

    def keyframe_at(self, pts: int) -> VideoFrame | None:
        """A keyframe near ``pts``; no other packet is given to the decoder."""
        self._rewind(pts)
        packets = islice(packets_of(self._container, self._stream), MAX_READ)
        try:
            keyframe = next((packet for packet in packets if packet.is_keyframe and packet.size), None)
        except av.error.FFmpegError:
            return None
        finally:
            self._begin(iter(()))
        return None if keyframe is None else decoded_alone(keyframe, self._stream.codec_context)

    def _reaches(self, pts: int) -> bool:
        """Whether decoding on from here gets to ``pts`` without passing a keyframe that a seek would go to."""
        if self._shown is None or pts < _start(self._shown):
            return False
        if self._next is None or not self._seeks or pts < _start(self._next) + int(_FORWARD_S / self._time_base):
            return True
        keyframes = self._seeker.times
        if keyframes:
            return keyframes[max(0, bisect_right(keyframes, pts) - 1)] <= _start(self._shown)
        entries = self._stream.index_entries
        found = entries.search_timestamp(pts) if len(entries) else -1
        return found >= 0 and entries[found].timestamp <= _start(self._shown)

    def _seek_before(self, pts: int) -> None:
        if self._from_keyframe(pts):
            return
        for back_s in STEPS_BACK_S:
            self._rewind(pts - int(back_s / self._time_base))
            self._step()
            self._step()
            if self._shown is not None and _start(self._shown) <= pts:
                return
        # In MPEG-TS a seek to the first picture's time lands behind it.
        self._rewind((self._stream.start_time or 0) - int(STEPS_BACK_S[-1] / self._time_base))
        self._step()
        self._step()

    def _from_keyframe(self, pts: int) -> bool:
        """Go to the last keyframe that is shown at ``pts`` or before, if it's known and found."""
        place = bisect_right(self._seeker.times, pts) - 1
        for near in (place, place - 1):  # a time may be that of decoding
            packets = self._seeker.packets_from(near) if near >= 0 else None
            if packets is None:
                return False
            self._begin(packets)
            self._step()
            self._step()
            if self._shown is not None and _start(self._shown) <= pts:
                return True
        return False

    def _rewind(self, pts: int) -> None:
        try:
            self._container.seek(pts, stream=self._stream)
        except av.error.FFmpegError:
            self._to_begin()
        self._begin(packets_of(self._container, self._stream))

    def _begin(self, packets: "Iterator[Packet[VideoStream]]") -> None:
        self._shown = self._next = None
        self._frames = decoded(packets, raw_step_of(self._stream))

    def _to_begin(self) -> None:
        try:
            self._container.seek(0)
        except av.error.FFmpegError:
            self._seeks = False
            self._container.seek(0, unsupported_byte_offset=True)  # all that raw streams can do

    def _step(self) -> None:
        self._shown = self._next if self._next is not None else self._shown
        self._next = next(self._frames, None)


def decoded(
    packets: "Iterator[Packet[VideoStream]]", raw_step: int, on_damage: Callable[[], None] = lambda: None
) -> Iterator[VideoFrame]:
    """The frames of ``packets`` that are whole, with the time they are shown at.

    Those of raw streams have none: they get one every ``raw_step``. ``on_damage`` is told of each packet that can't be
    read or decoded.
    """
    count = 0
    while True:
        try:
            frames = next(packets).decode()
        except StopIteration:
            return
        except av.error.FFmpegError:
            on_damage()
            continue
        for frame in frames:
            if isinstance(frame, VideoFrame) and not frame.is_corrupt:
                pts = shown_at(frame)
                frame.pts = pts if pts is not None else count * raw_step
                count += 1
                yield frame


def raw_step_of(stream: VideoStream) -> int:
    """Ticks from picture to picture at the stream's rate: those of raw streams have no times."""
    return round(1 / (stream.guessed_rate or 25) / (stream.time_base or Fraction(1, 1000)))


class PictureMaker:
    """Makes RGB pictures as a player shows them: turned, with square pixels, HDR mapped to SDR.

    They have the size the video is shown in, or ``size``. Of HDR, no more than ``largest`` is mapped.
    """

    def __init__(
        self,
        info: VideoInfo,
        time_base: Fraction,
        largest: tuple[int, int] | None = None,
        size: tuple[int, int] | None = None,
    ) -> None:
        self._info = info
        self._time_base = time_base
        self._largest = largest
        self._shown = size or (info.display_width, info.display_height)
        self._filter = PictureFilter(self._steps)

    def make(self, frame: VideoFrame) -> Image.Image:
        frame.time_base = self._time_base
        (shown,) = self._filter.run(frame)
        return Image.fromarray(shown.to_ndarray(format="rgb24"))

    def _steps(self, frame: VideoFrame) -> list[Step]:
        info = self._info
        turned = info.rotation_deg % 180 != 0
        width, height = self._shown
        size = (height, width) if turned else (width, height)
        steps: list[Step] = []
        if info.hdr != "sdr":
            width, height = _within(size, self._largest)  # the fewer pixels, the faster they are mapped
            steps += [("scale", f"{width}:{height}:{_SCALER}"), ("format", "yuv420p10le"), *TONEMAP]
            size = (width, height)
        matrix = "" if frame.colorspace != 2 or frame.height < _HD_HEIGHT else ":in_color_matrix=bt709"
        steps.append(("scale", f"{size[0]}:{size[1]}:{_SCALER}{matrix}"))
        steps += orient(Orientation(info.rotation_deg, info.mirrored))
        steps.append(("format", "rgb24"))
        return steps


def _within(size: tuple[int, int], largest: tuple[int, int] | None) -> tuple[int, int]:
    if largest is None:
        return size
    factor = min(1.0, max(max(largest) / max(size), min(largest) / min(size)))
    return max(2, round(size[0] * factor)), max(2, round(size[1] * factor))


def _start(frame: VideoFrame) -> int:
    assert frame.pts is not None
    return frame.pts
