"""Storyboards: small pictures of a video at even times on sheets, for players to show above their time line."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

from pipelines.media.errors import NoVideoStreamError
from pipelines.media.info import MediaInfo, VideoInfo
from pipelines.media.keyframes import Keyframes, cut_off_warning, find_keyframes, pictures_end_s
from pipelines.media.limits import check_picture
from pipelines.media.mux import write_errors
from pipelines.media.probing.probe import probe
from pipelines.media.progress import OnProgress, Progress, ProgressMeter
from pipelines.media.source import Source, name_of
from pipelines.media.stills_spec import fitted
from pipelines.media.storyboard.sheets import Sheets
from pipelines.media.storyboard.slots import BoardPlan, slots_of
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


def storyboard(
    source: Source, folder: Path, spec: StoryboardSpec, on_progress: OnProgress, threads: int = 1
) -> StoryboardResult:
    """Write the sheets, ``storyboard.vtt`` and ``storyboard.json`` into ``folder``.

    A tile shows the middle of its time. Of a file that was cut off, the tiles end where its pictures do.

    Raises:
        NoVideoStreamError: there is no video stream but maybe a cover.
        LimitError: the video's pictures are too large, or it would be more than MAX_TILES tiles.
        ParamsError: its sheets would be too large.
        SourceUnreadableError: nothing decodes.
    """
    info = probe(source, measured=True)
    video = info.video
    if video is None:
        raise NoVideoStreamError(f"{name_of(source)} has no moving pictures; make a storyboard of a video.")
    check_picture(video)
    meter = ProgressMeter(on_progress, info.duration_s, share=_SEARCH_SHARE)
    keyframes = find_keyframes(source, info, video.index, meter)
    searched = _SEARCH_SHARE if keyframes.scanned else 0.0
    with ExitStack() as stack:
        board = plan_board(name_of(source), info, video, keyframes, spec)
        frames = TileFrames(source, video, keyframes, spec, board.size, stack, threads)

        def tiles() -> Iterator[Found]:
            for number, slot in enumerate(board.slots, start=1):
                yield frames.at(slot.wanted_s, board.interval_s)
                fraction = searched + (1 - searched) * number / len(board.slots)
                on_progress(Progress(fraction=fraction, frames=number, position_s=slot.wanted_s))

        return write_board(folder, spec, board, tiles())


def plan_board(name: str, info: MediaInfo, video: VideoInfo, keyframes: Keyframes, spec: StoryboardSpec) -> BoardPlan:
    """The tiles of the picture ``video`` of a file of that ``name``.

    Raises:
        LimitError: it would be more than MAX_TILES.
    """
    end_s = pictures_end_s(info, video, keyframes, info.start_s)
    duration_s = end_s if keyframes.cut_off else max(end_s, info.duration_s or 0.0)
    interval_s = interval_of(spec, end_s)
    return BoardPlan(
        slots=tuple(slots_of(interval_s, end_s, duration_s)),
        interval_s=interval_s,
        duration_s=duration_s,
        size=fitted(spec.tile, (video.display_width, video.display_height)),
        warnings=cut_off_warning(name, info, keyframes, end_s),
    )


def write_board(folder: Path, spec: StoryboardSpec, plan: BoardPlan, tiles: Iterable[Found]) -> StoryboardResult:
    """Put ``tiles``, one for each slot, on sheets in ``folder``, beside ``storyboard.vtt`` and ``storyboard.json``.

    Raises:
        ParamsError: the sheets would be too large.
    """
    sheets = Sheets(folder, spec, plan.size, len(plan.slots))
    for slot, found in zip(plan.slots, tiles, strict=True):
        sheets.add(slot, found)
    board = Storyboard(
        count=len(plan.slots),
        interval_s=plan.interval_s,
        duration_s=plan.duration_s,
        tile_width=plan.size[0],
        tile_height=plan.size[1],
        columns=spec.columns,
        rows=spec.rows,
        sheets=tuple(sheets.written),
        tiles=tuple(sheets.tiles),
    )
    with write_errors():
        (folder / VTT).write_text(vtt_of(board))
        (folder / JSON).write_text(board.model_dump_json())
    away_s = [abs(tile.time_s - slot.wanted_s) for tile, slot in zip(board.tiles, plan.slots, strict=True)]
    return StoryboardResult(
        **board.model_dump(exclude={"version", "tiles"}),
        format=spec.format,
        keyframe_tiles=sum(tile.keyframe for tile in board.tiles),
        farthest_s=round(max(away_s), 6),
        warnings=plan.warnings,
    )
