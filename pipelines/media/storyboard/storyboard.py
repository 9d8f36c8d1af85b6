"""Storyboards: small pictures of a video at even times on sheets, for players to show above their time line."""

from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image

from pipelines.media.errors import LimitError, NoVideoStreamError, ParamsError
from pipelines.media.frames import FrameReader, PictureMaker
from pipelines.media.images.info import EXTENSIONS
from pipelines.media.info import VideoInfo
from pipelines.media.keyframe_seeking import KeyframeReader
from pipelines.media.keyframes import Keyframes, cut_off_warning, find_keyframes, pictures_end_s
from pipelines.media.limits import check_picture
from pipelines.media.mux import write_errors
from pipelines.media.probing.probe import probe
from pipelines.media.progress import OnProgress, Progress, ProgressMeter
from pipelines.media.source import Source, name_of, open_input
from pipelines.media.stills import save_picture
from pipelines.media.stills_spec import fitted
from pipelines.media.storyboard.storyboard_spec import (
    JSON,
    MAX_TILES,
    VTT,
    Sheet,
    Storyboard,
    StoryboardResult,
    StoryboardSpec,
    Tile,
    count_of,
    interval_of,
)
from pipelines.media.timing import Timing

_SEARCH_SHARE = 0.3  # of the work, where packets are read to find keyframes
_MAX_SIDE = 16_383  # WebP's limit
_MAX_PIXELS = 64_000_000


def storyboard(source: Source, folder: Path, spec: StoryboardSpec, on_progress: OnProgress) -> StoryboardResult:
    """Write the sheets, ``storyboard.vtt`` and ``storyboard.json`` into ``folder``.

    A tile shows the middle of its time. Of a file that was cut off, the tiles end where its pictures do.

    Raises:
        NoVideoStreamError: there is no video stream but maybe a cover.
        LimitError: the video's pictures are too large, or it would be more than MAX_TILES tiles.
        ParamsError: its sheets would be too large.
        SourceUnreadableError: nothing decodes.
    """
    info = probe(source)
    video = info.video
    if video is None:
        raise NoVideoStreamError(f"{name_of(source)} has no moving pictures; make a storyboard of a video.")
    check_picture(video)
    size = fitted(spec.tile, (video.display_width, video.display_height))
    meter = ProgressMeter(on_progress, info.duration_s, share=_SEARCH_SHARE)
    keyframes = find_keyframes(source, info, video.index, meter)
    searched = _SEARCH_SHARE if keyframes.scanned else 0.0
    with ExitStack() as stack:
        frames = _Frames(source, video, keyframes, spec, stack)
        end_s = pictures_end_s(info, video, keyframes, float(frames.timing.start))
        duration_s = end_s if keyframes.cut_off else max(end_s, info.duration_s or 0.0)
        interval_s = interval_of(spec, end_s)
        slots = _slots(interval_s, end_s, duration_s)
        _check_sheet(spec, size, len(slots))
        sheets = _Sheets(folder, spec, size, len(slots))
        maker = PictureMaker(video, frames.timing.time_base, size=size)
        found: _Found | None = None
        for number, slot in enumerate(slots, start=1):
            before, found = found, frames.at(slot.wanted_s, interval_s)
            if found is not before:
                picture = maker.make(found.frame)
            sheets.add(slot, found, picture)
            fraction = searched + (1 - searched) * number / len(slots)
            on_progress(Progress(fraction=fraction, frames=number, position_s=slot.wanted_s))
    board = Storyboard(
        count=len(slots),
        interval_s=interval_s,
        duration_s=duration_s,
        tile_width=size[0],
        tile_height=size[1],
        columns=spec.columns,
        rows=spec.rows,
        sheets=tuple(sheets.written),
        tiles=tuple(sheets.tiles),
    )
    with write_errors():
        (folder / VTT).write_text(vtt_of(board))
        (folder / JSON).write_text(board.model_dump_json())
    return StoryboardResult(
        **board.model_dump(exclude={"version", "tiles"}),
        format=spec.format,
        keyframe_tiles=sum(tile.keyframe for tile in board.tiles),
        farthest_s=round(
            max(abs(tile.time_s - slot.wanted_s) for tile, slot in zip(board.tiles, slots, strict=True)), 6
        ),
        warnings=cut_off_warning(name_of(source), info, keyframes, end_s),
    )


@dataclass(frozen=True)
class _Slot:
    """The time that a tile stands for, and that of the frame that it is to show."""

    start_s: float
    end_s: float
    wanted_s: float


@dataclass(frozen=True)
class _Found:
    frame: VideoFrame
    time_s: float
    keyframe: bool


def _check_sheet(spec: StoryboardSpec, tile: tuple[int, int], count: int) -> None:
    columns, rows = _grid(spec, count)
    width, height = columns * tile[0], rows * tile[1]
    if max(width, height) > _MAX_SIDE or width * height > _MAX_PIXELS:
        raise ParamsError(
            f"Sheets of {width}x{height} pixels are too large (limits: {_MAX_SIDE} a side, {_MAX_PIXELS} in all); "
            "give fewer columns or rows, or smaller tiles.",
            width=width,
            height=height,
        )


def _grid(spec: StoryboardSpec, count: int) -> tuple[int, int]:
    """Columns and rows of a sheet with up to ``count`` tiles: whole rows, but for a sheet of one."""
    return min(spec.columns, count), min(spec.rows, -(-count // spec.columns))


def _slots(interval_s: float, end_s: float, last_s: float) -> list[_Slot]:
    """Even times up to ``end_s``; the last goes on to ``last_s``."""
    count = count_of(interval_s, end_s)
    if count > MAX_TILES:
        raise LimitError(f"It would be {count} tiles (limit {MAX_TILES}); give a longer interval.", tiles=count)
    slots = []
    for number in range(count):
        start_s, until_s = number * interval_s, min(end_s, (number + 1) * interval_s)
        shown_s = last_s if number == count - 1 else until_s
        slots.append(_Slot(round(start_s, 6), round(shown_s, 6), (start_s + until_s) / 2))
    return slots


class _Frames:
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
        self._last: _Found | None = None

    def at(self, wanted_s: float, interval_s: float) -> _Found:
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

    def _found(self, frame: VideoFrame, *, keyframe: bool) -> _Found:
        assert frame.pts is not None
        return _Found(frame, max(0.0, self.timing.time_of(frame.pts)), keyframe)


def _stream(container: InputContainer, video: VideoInfo) -> VideoStream:
    stream = container.streams[video.index]
    assert isinstance(stream, VideoStream)
    return stream


class _Sheets:
    """Puts tiles on sheets and writes each sheet when it's full."""

    def __init__(self, folder: Path, spec: StoryboardSpec, tile: tuple[int, int], count: int) -> None:
        self.tiles: list[Tile] = []
        self.written: list[Sheet] = []
        self._folder = folder
        self._spec = spec
        self._tile = tile
        self._left = count
        self._sheet: Image.Image | None = None

    def add(self, slot: _Slot, found: _Found, picture: Image.Image) -> None:
        row, column = divmod(len(self.tiles) % (self._spec.columns * self._spec.rows), self._spec.columns)
        x, y = column * self._tile[0], row * self._tile[1]
        if self._sheet is None:
            columns, rows = _grid(self._spec, self._left)
            self._sheet = Image.new("RGB", (columns * self._tile[0], rows * self._tile[1]))
        self._sheet.paste(picture, (x, y))
        self.tiles.append(
            Tile(
                sheet=self._name(),
                x=x,
                y=y,
                start_s=slot.start_s,
                end_s=slot.end_s,
                time_s=found.time_s,
                keyframe=found.keyframe,
            )
        )
        self._left -= 1
        if not self._left or (row, column) == (self._spec.rows - 1, self._spec.columns - 1):
            self._write_sheet()

    def _name(self) -> str:
        return f"sheet-{len(self.written) + 1:03d}.{EXTENSIONS[self._spec.format]}"

    def _write_sheet(self) -> None:
        assert self._sheet is not None
        name = self._name()
        save_picture(self._sheet, self._folder / name, self._spec.format, self._spec.quality)
        size_bytes = (self._folder / name).stat().st_size
        self.written.append(Sheet(name=name, width=self._sheet.width, height=self._sheet.height, size_bytes=size_bytes))
        self._sheet = None


def vtt_of(board: Storyboard) -> str:
    """WebVTT whose cues name a part of a sheet, by a media fragment (https://www.w3.org/TR/media-frags/#naming-space).

    Players look for sheets beside it. Hours are always given, and a cue's text is on a line of its own: some read
    nothing else.
    """
    cues = [
        f"{_clock(tile.start_s)} --> {_clock(tile.end_s)}\n"
        f"{tile.sheet}#xywh={tile.x},{tile.y},{board.tile_width},{board.tile_height}\n"
        for tile in board.tiles
    ]
    return "\n".join(["WEBVTT\n", *cues])


def _clock(time_s: float) -> str:
    seconds, milliseconds = divmod(round(time_s * 1000), 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{milliseconds:03d}"
