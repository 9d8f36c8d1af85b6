"""Look at a source before it is transcoded: what becomes of each stream, and where its picture can be cut."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import islice

import av
import numpy as np
from av.container import InputContainer
from av.stream import Stream

from pipelines.media.container_index import has_index
from pipelines.media.cuts import MOST_CHUNKS, CutRules, cut
from pipelines.media.errors import ParamsError
from pipelines.media.estimate import picture_cost_s
from pipelines.media.info import MediaInfo
from pipelines.media.keyframe_seeking import find_keyframe
from pipelines.media.output_streams import clock_of
from pipelines.media.packet_index import PacketIndex, read_index
from pipelines.media.plan import Chunk, Cutting, StreamPlan, TranscodePlan, VideoEncode
from pipelines.media.probing.fields import look
from pipelines.media.probing.probe import probe
from pipelines.media.probing.probe_result import Scan
from pipelines.media.profiles import Deinterlace, TranscodeSettings
from pipelines.media.reading import with_losses
from pipelines.media.source import Source, open_input
from pipelines.media.streams import no_frame, plan_streams
from pipelines.media.tracks import Window
from pipelines.media.truncation import check_end, check_index
from pipelines.media.video_filters import WARM_UP, temporal_steps

_SEEK_CHECKED_PACKETS = 3
_WHOLE_PICTURES = (
    "The picture is marked as interlaced but doesn't look it: it isn't deinterlaced. If it should be, set deinterlace."
)
_SKIPPING_CHUNKS = 64  # reading from the start for each of more would take longer than encoding


def preflight(source: Source, settings: TranscodeSettings, cutting: Cutting) -> TranscodePlan:
    """Plan a transcode: reads the headers, and every packet if the picture is to be encoded.

    Decodes nothing, but some of a picture that is marked as interlaced.

    Raises:
        SourceError: see ``probe`` and ``plan_streams``; SourceTruncatedError where the file was cut off;
            TimeOutOfRangeError where no frame begins in the part that is wanted.
    """
    info = probe(source)
    looked_at = _looked_at(source, info, settings)
    plan = plan_streams(info, looked_at)
    if settings.deinterlace == "auto" and looked_at.deinterlace == "off":
        plan = plan.model_copy(update={"warnings": (*plan.warnings, _WHOLE_PICTURES)})
    with open_input(source) as container:
        check_index(source, container, plan)
    picture = plan.video
    if picture is None or picture.video is None:
        what = "there is no picture to encode" if picture is None else "the picture is copied"
        return plan.model_copy(update={"method": "copy", "reason": what})
    index, read = read_index(source, picture.source_index, plan)
    if picture.video.telecine_rate is not None and not index.even:
        if settings.deinterlace == "telecine":
            raise ParamsError("Its pictures don't come at one rate: telecine can't be undone. Set deinterlace to on.")
        return preflight(source, settings.model_copy(update={"deinterlace": "on"}), cutting)
    check_end(source, plan, read)
    read.finish()
    plan = with_losses(plan, read)
    if plan.estimated_seconds is None:  # the header tells no duration
        frames = len(index.table)
        seconds = round(picture_cost_s(picture.video, frames), 2)
        plan = plan.model_copy(update={"estimated_frames": frames, "estimated_seconds": seconds})
    if index.doubtful is not None:
        return plan.model_copy(update={"method": "serial", "reason": f"it can't be cut: {index.doubtful}"})
    return _with_chunks(source, plan, picture, index, cutting)


def _looked_at(source: Source, info: MediaInfo, settings: TranscodeSettings) -> TranscodeSettings:
    """Settings that say what becomes of the fields of a picture that is marked as interlaced."""
    if settings.deinterlace != "auto" or settings.video is None or info.video is None or not info.video.interlaced:
        return settings
    scan = look(source, info.video, info.duration_s)
    means: dict[Scan | None, Deinterlace] = {"progressive": "off", "unmarked": "on", "telecined": "telecine"}
    return settings.model_copy(update={"deinterlace": means.get(scan, "auto")})


def _obstacle(encode: VideoEncode) -> str | None:
    """Why a picture isn't to be cut, or ``None``."""
    if encode.telecine_rate is not None:
        return "its telecine is undone, which leaves out a picture of five wherever it begins"
    return None if encode.settings.bitrate is None else "an average bit rate is kept over the whole film"


def _with_chunks(
    source: Source, plan: TranscodePlan, picture: StreamPlan, index: PacketIndex, cutting: Cutting
) -> TranscodePlan:
    assert picture.video is not None
    obstacle = _obstacle(picture.video)
    with open_input(source) as container:
        clock = clock_of(container, plan)
        window = clock.window(index.time_base)
        frames = len(index.within(window))
        if plan.trimmed and not frames:
            raise no_frame(plan, _beside(index, window, clock.zero - clock.start))
        rules = CutRules(
            cost_s=picture_cost_s(picture.video, frames),
            slots=cutting.slots,
            chunk_s=cutting.chunk_s,
            warm_up=WARM_UP if temporal_steps(picture.video) else 0,
            most=MOST_CHUNKS if obstacle is None else 1,
        )
        stream = container.streams[picture.source_index]
        chunks = _sought(container, stream, index, cut(index, window, rules))
        if len(_skipping(chunks)) > _SKIPPING_CHUNKS:
            chunks = _sought(container, stream, index, cut(index, window, replace(rules, most=_SKIPPING_CHUNKS)))
    if len(chunks) < 2:
        serial: dict[str, object] = {"method": "serial", "reason": obstacle or "it is too short to be cut"}
        return plan.model_copy(update=serial | _start(chunks, window))
    skipping = len(_skipping(chunks))
    how = "by seeking"
    if skipping:
        how = f"{skipping} of them by reading from the start: no seek leads to them"
    return plan.model_copy(
        update={
            "method": "chunk",
            "reason": f"cut into {len(chunks)} chunks at frames, {how}",
            "chunks": chunks,
            "estimated_frames": frames,
            **_start(chunks, window),
        }
    )


def _beside(index: PacketIndex, window: Window, start: Fraction) -> Sequence[float]:
    """When the last frame before ``window`` and the first one behind it are shown, in seconds from ``start``."""
    place = 0 if window.begin_pts is None else int(np.searchsorted(index.times, window.begin_pts))
    beside = index.times[max(0, place - 1) : place + 1].tolist()
    return [float(pts * index.time_base - start) for pts in beside]


def _start(chunks: Sequence[Chunk], window: Window) -> dict[str, object]:
    """Where decoding the whole picture begins, if what is before is cut off; sound may begin before a picture."""
    key_pts = chunks[0].key_pts if chunks else None
    if key_pts is None or window.begin_pts is None or key_pts > window.begin_pts:
        return {}
    return {"start_key_pts": key_pts, "start_seek_pts": chunks[0].seek_pts}


def _skipping(chunks: Sequence[Chunk]) -> Sequence[Chunk]:
    """Those that no seek leads to: they read the source from its start."""
    return [chunk for chunk in chunks if chunk.key_pts is not None and chunk.seek_pts is None]


def _sought(
    container: InputContainer, stream: Stream, index: PacketIndex, chunks: Sequence[Chunk]
) -> tuple[Chunk, ...]:
    """The chunks with where to seek for each; none has that where seeks read all that is before, or lead elsewhere."""
    if not has_index(container, stream, index.key_times.tolist()):
        return tuple(chunks)
    places = {int(index.shown[place]): int(place) for place in index.key_places}
    seeks: dict[int, int] = {}
    for pts in {chunk.key_pts for chunk in chunks if chunk.key_pts is not None}:
        place = places[pts]
        try:
            found = find_keyframe(container, stream, pts, size_bytes=index.table.sizes[place])
            if found is None:
                continue
            packets = islice((packet for packet in found[1] if packet.size), _SEEK_CHECKED_PACKETS)
            if not index.is_at(place, list(packets)):
                return tuple(chunks)
        except av.error.FFmpegError:
            return tuple(chunks)
        seeks[pts] = found[0]
    return tuple(
        chunk if chunk.key_pts is None else chunk.model_copy(update={"seek_pts": seeks.get(chunk.key_pts)})
        for chunk in chunks
    )
