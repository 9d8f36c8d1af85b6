"""Sheets of tiles."""

from pathlib import Path

from PIL import Image

from pipelines.media.errors import ParamsError
from pipelines.media.images.info import EXTENSIONS
from pipelines.media.stills import save_picture
from pipelines.media.storyboard.slots import Slot
from pipelines.media.storyboard.storyboard_spec import Sheet, StoryboardSpec, Tile
from pipelines.media.storyboard.tile_frames import Found

_MAX_SIDE = 16_383  # WebP's limit
_MAX_PIXELS = 64_000_000


class Sheets:
    """Puts tiles on sheets and writes each sheet when it's full."""

    def __init__(self, folder: Path, spec: StoryboardSpec, tile: tuple[int, int], count: int) -> None:
        """For ``count`` tiles of the size ``tile``.

        Raises:
            ParamsError: the sheets would be too large.
        """
        _check_size(spec, tile, count)
        self.tiles: list[Tile] = []
        self.written: list[Sheet] = []
        self._folder = folder
        self._spec = spec
        self._tile = tile
        self._left = count
        self._sheet: Image.Image | None = None

    def add(self, slot: Slot, found: Found) -> None:
        row, column = divmod(len(self.tiles) % (self._spec.columns * self._spec.rows), self._spec.columns)
        x, y = column * self._tile[0], row * self._tile[1]
        if self._sheet is None:
            columns, rows = _grid(self._spec, self._left)
            self._sheet = Image.new("RGB", (columns * self._tile[0], rows * self._tile[1]))
        self._sheet.paste(found.picture, (x, y))
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


def _check_size(spec: StoryboardSpec, tile: tuple[int, int], count: int) -> None:
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
