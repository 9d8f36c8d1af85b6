"""Tiles of a storyboard from the frames that a pass shows."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from av.audio.frame import AudioFrame
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from PIL import Image

from pipelines.media.demuxing import UNDATED
from pipelines.media.frames import PictureMaker
from pipelines.media.info import MediaInfo, VideoInfo
from pipelines.media.inspection.inspect_spec import BOARD, TileFrame, TilesPlan
from pipelines.media.keyframes import Keyframes
from pipelines.media.mux import write_errors
from pipelines.media.passes import Fault
from pipelines.media.source import shown_at
from pipelines.media.storyboard.storyboard import plan_board
from pipelines.media.storyboard.tile_frames import place_of
from pipelines.media.timing import Timing
from pipelines.media.validation.scan import ScannedStream


def plan_tiles(name: str, info: MediaInfo, video: VideoInfo, keyframes: Keyframes, picture: ScannedStream) -> TilesPlan:
    """The tiles that ``storyboard`` makes of a file of that ``name``, and their frames, by the packets of its picture.

    Raises:
        LimitError: see ``plan_board``.
    """
    board = plan_board(name, info, video, keyframes, BOARD)
    timing = Timing(picture.time_base, picture.start)
    frames = _FramesByTime(keyframes, picture)
    wanted = [timing.pts_of(slot.wanted_s) for slot in board.slots]
    places = [place_of(keyframes, BOARD.mode, pts, timing.time_base, board.interval_s) for pts in wanted]
    shown = [
        frames.at(pts) if place is None else frames.keyframe(place) for pts, place in zip(wanted, places, strict=True)
    ]
    return TilesPlan(
        board=board,
        frames=tuple(
            None
            if pts is None
            else TileFrame(pts=pts, time_s=max(0.0, timing.time_of(pts)), keyframe=place is not None)
            for pts, place in zip(shown, places, strict=True)
        ),
    )


class _FramesByTime:
    def __init__(self, keyframes: Keyframes, picture: ScannedStream) -> None:
        self._keyframes = keyframes
        times = picture.times
        seen = (times != UNDATED) & ~np.array(picture.hidden, bool)
        self._times = np.sort(times[seen]).tolist()
        self._shown_by_time: dict[int, int] = {}  # of keyframes: an index may tell when they are decoded
        for place in np.flatnonzero(np.array(picture.keys, bool) & seen):
            for time in (picture.decoded[place], picture.shown[place]):
                self._shown_by_time[time] = int(times[place])

    def at(self, pts: int) -> int | None:
        """The frame shown at ``pts``, or the first."""
        return self._times[max(0, bisect_right(self._times, pts) - 1)] if self._times else None

    def keyframe(self, place: int) -> int | None:
        return self._shown_by_time.get(self._keyframes.times[place])


class TileListener:
    """Keeps small pictures of the frames of ``video`` that are shown at times that are wanted."""

    def __init__(self, video: VideoInfo, tiles: TilesPlan) -> None:
        self._video = video
        self._wanted = tiles.wanted
        self._size = tiles.board.size
        self._maker: PictureMaker | None = None
        self._pictures: dict[int, Image.Image] = {}

    def opened(self, container: InputContainer) -> None:
        time_base = container.streams[self._video.index].time_base or Fraction(1, 1000)
        self._maker = PictureMaker(self._video, time_base, size=self._size)

    def packet(self, packet: "Packet[Any]") -> None: ...

    def picture(self, stream: int, frame: VideoFrame) -> None:
        pts = shown_at(frame)
        if stream == self._video.index and pts in self._wanted and not frame.is_corrupt:
            assert self._maker is not None
            assert pts is not None
            frame.pts = pts
            self._pictures[pts] = self._maker.make(frame)

    def sound(self, stream: int, frame: AudioFrame) -> None: ...

    def fault(self, fault: Fault) -> None: ...

    def save(self, path: Path) -> bool:
        """Write what was kept, if anything was.

        Raises:
            OutOfSpaceError, EncodeError: see ``mux``.
        """
        if not self._pictures:
            return False
        with write_errors(), path.open("wb") as file:
            np.savez(file, pts=list(self._pictures), pictures=np.stack([*map(np.asarray, self._pictures.values())]))
        return True


def saved_tiles(paths: Iterable[Path]) -> Mapping[int, Image.Image]:
    """The pictures that were saved, by the ``pts`` of their frames."""
    pictures: dict[int, Image.Image] = {}
    for path in paths:
        with np.load(path) as saved:
            pictures |= zip(saved["pts"].tolist(), map(Image.fromarray, saved["pictures"]), strict=True)
    return pictures
