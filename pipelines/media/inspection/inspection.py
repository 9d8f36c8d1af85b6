"""Find out in one pass over a file what five operations would each read and decode it for."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from pipelines.media.errors import MediaError
from pipelines.media.info import MediaInfo
from pipelines.media.inspection.inspect_spec import BOARD, InspectionPlan, InspectSpec, Seen, TilesPlan
from pipelines.media.inspection.tiles import TileListener, plan_tiles, saved_tiles
from pipelines.media.keyframes import find_keyframes
from pipelines.media.limits import check_picture
from pipelines.media.parts import Part
from pipelines.media.passes import Listener
from pipelines.media.probing.packets import packet_findings
from pipelines.media.probing.probe import probe
from pipelines.media.probing.probe_result import PacketFindings
from pipelines.media.probing.sound import SoundListener
from pipelines.media.probing.tally import StreamTally
from pipelines.media.progress import OnProgress, Progress, ProgressMeter
from pipelines.media.quality.listener import QualityListener
from pipelines.media.quality.quality import check_measurable, cut_off_warnings, full_step_s
from pipelines.media.source import Source, name_of, open_input
from pipelines.media.storyboard.storyboard import write_board
from pipelines.media.storyboard.storyboard_spec import StoryboardResult
from pipelines.media.storyboard.tile_frames import Found, TileFrames
from pipelines.media.timing import start_of
from pipelines.media.validation.decoding import check_part
from pipelines.media.validation.full import WHOLE_S, parts_of
from pipelines.media.validation.look import look
from pipelines.media.validation.report import Checked
from pipelines.media.validation.scan import Scan

# Measuring a picture takes as long as decoding ten and more: of those that quality measures in full, one in so many is.
# A hundred are more than it measures by default.
_STEPS = 3


def plan_inspection(
    source: Source, spec: InspectSpec, slots: int, on_progress: OnProgress, whole_s: float = WHOLE_S
) -> InspectionPlan:
    """Read all packets of ``source`` and cut what is to be decoded into parts, as ``plan_validation`` does.

    Of a file that can't be opened, the finding that it can't is all there is.

    Raises:
        SourceNotFoundError, SourceUnsupportedError: there is no such file, or it isn't a regular one.
    """
    looked = look(source, on_progress)
    if looked.head is None:
        return InspectionPlan(looked=looked.checked, reason="it can't be opened")
    info = probe(source, measured=True)
    parts, reason = parts_of(source, looked, slots, whole_s)
    every_s, tiles, warnings = None, None, []
    try:
        check_measurable(name_of(source), info)
        every_s = _STEPS * full_step_s(info)
        tiles = _tiles(source, info, looked.head) if spec.storyboard else None
    except MediaError as error:
        warnings.append(error.message)
    return InspectionPlan(
        looked=looked.checked,
        reason=reason,
        info=info,
        packets=_packets(source, info, looked.head),
        parts=parts,
        every_s=every_s,
        tiles=tiles,
        cut_off=cut_off_warnings(source, info),
        warnings=tuple(warnings),
    )


def _packets(source: Source, info: MediaInfo, scan: Scan) -> PacketFindings:
    with open_input(source) as container:
        start = start_of(container)
        tallies = [StreamTally(container.streams[each.index], start, each) for each in scan.streams]
    return packet_findings(source, info, tallies, scan.failed)


def _tiles(source: Source, info: MediaInfo, scan: Scan) -> TilesPlan | None:
    if info.video is None:
        return None
    meter = ProgressMeter(lambda _: None, info.duration_s)
    keyframes = find_keyframes(source, info, info.video.index, meter)
    return plan_tiles(name_of(source), info, info.video, keyframes, scan.streams[info.video.index])


def inspect_part(
    source: Source, plan: InspectionPlan, part: Part, threads: int, tiles: Path, on_progress: OnProgress
) -> Seen:
    """Decode a part of ``source`` once, for all that look at it; tiles of a storyboard are written to ``tiles``.

    Raises:
        SourceError: see ``run_pass``.
    """
    assert plan.info is not None
    started_s = time.monotonic()
    video = plan.info.video if plan.info.video is not None and plan.info.video.index in part.streams else None
    audio = [track.index for track in plan.info.audio if track.index in part.streams]
    quality = None if plan.every_s is None else QualityListener(video, plan.every_s)
    board = None if video is None or plan.tiles is None else TileListener(video, plan.tiles)
    sound = SoundListener(plan.info) if audio else None
    also: list[Listener] = [each for each in (quality, board, sound) if each is not None]
    checked = check_part(source, part, threads, on_progress, also)
    failed = _why_unread(checked)
    elapsed_s = round(time.monotonic() - started_s, 3)
    warnings = () if failed is None else (f"{name_of(source)} can't be read to its end: {failed}.",)
    return Seen(
        checked=checked,
        measured=None
        if quality is None
        else quality.result().model_copy(update={"warnings": warnings, "elapsed_s": elapsed_s}),
        sound=None
        if sound is None
        else sound.result(name_of(source), audio, failed).model_copy(update={"elapsed_s": elapsed_s}),
        tiles=tiles.name if board is not None and board.save(tiles) else None,
    )


def _why_unread(checked: Checked) -> str | None:
    return next((finding.evidence for finding in checked.findings if finding.code == "read_error"), None)


def make_storyboard(
    source: Source, plan: InspectionPlan, tiles: tuple[Path, ...], folder: Path, on_progress: OnProgress
) -> StoryboardResult:
    """Put the saved ``tiles`` on sheets in ``folder``. A tile whose frame didn't come whole is sought in ``source``.

    Raises:
        SourceError, ParamsError: see ``storyboard``.
    """
    assert plan.info is not None
    assert plan.info.video is not None
    assert plan.tiles is not None
    info, video, board, frames = plan.info, plan.info.video, plan.tiles.board, plan.tiles.frames
    check_picture(video)
    saved = saved_tiles(tiles)
    with ExitStack() as stack:
        sought: TileFrames | None = None

        def found() -> Iterator[Found]:
            nonlocal sought
            for number, (slot, frame) in enumerate(zip(board.slots, frames, strict=True), start=1):
                if frame is not None and frame.pts in saved:
                    yield Found(saved[frame.pts], frame.time_s, frame.keyframe)
                else:
                    if sought is None:
                        meter = ProgressMeter(lambda _: None, info.duration_s)
                        keyframes = find_keyframes(source, info, video.index, meter)
                        sought = TileFrames(source, video, keyframes, BOARD, board.size, stack)
                    yield sought.at(slot.wanted_s, board.interval_s)
                fraction = number / len(board.slots)
                on_progress(Progress(fraction=fraction, frames=number, position_s=slot.wanted_s))

        return write_board(folder, BOARD, board, found())
