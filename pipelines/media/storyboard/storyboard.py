"""Storyboards: small pictures of a video at even times on sheets, for players to show above their time line."""

from contextlib import ExitStack
from pathlib import Path

from pipelines.media.errors import NoVideoStreamError
from pipelines.media.frames import PictureMaker
from pipelines.media.keyframes import cut_off_warning, find_keyframes, pictures_end_s
from pipelines.media.limits import check_picture
from pipelines.media.mux import write_errors
from pipelines.media.probing.probe import probe
from pipelines.media.progress import OnProgress, Progress, ProgressMeter
from pipelines.media.source import Source, name_of
from pipelines.media.stills_spec import fitted
from pipelines.media.storyboard.sheets import Sheets
from pipelines.media.storyboard.slots import slots_of
from pipelines.media.storyboard.storyboard_spec import (
    JSON,
    VTT,
    Storyboard,
    StoryboardResult,
    StoryboardSpec,
    interval_of,
)
from pipelines.media.storyboard.tile_frames import Found, TileFrames
from pipelines.media.storyboard.webvtt import vtt_of

_SEARCH_SHARE = 0.3  # of the work, where packets are read to find keyframes


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
        frames = TileFrames(source, video, keyframes, spec, stack)
        end_s = pictures_end_s(info, video, keyframes, float(frames.timing.start))
        duration_s = end_s if keyframes.cut_off else max(end_s, info.duration_s or 0.0)
        interval_s = interval_of(spec, end_s)
        slots = slots_of(interval_s, end_s, duration_s)
        sheets = Sheets(folder, spec, size, len(slots))
        maker = PictureMaker(video, frames.timing.time_base, size=size)
        found: Found | None = None
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
