"""Look at a source before it is transcoded: what becomes of each stream, and where its picture can be cut."""

from collections.abc import Sequence

import av
from av.container import InputContainer

from pipelines.media.cuts import CutRules, cut
from pipelines.media.demuxing import packets_of, time_of
from pipelines.media.errors import ParamsError
from pipelines.media.estimate import picture_cost_s
from pipelines.media.info import MediaInfo
from pipelines.media.output_streams import clock_of
from pipelines.media.packet_index import PacketIndex, read_index
from pipelines.media.plan import Chunk, Cutting, StreamPlan, TranscodePlan, VideoEncode
from pipelines.media.probing.fields import look
from pipelines.media.probing.probe import probe
from pipelines.media.probing.probe_result import Scan
from pipelines.media.profiles import Deinterlace, TranscodeSettings
from pipelines.media.source import Source, name_of, open_input
from pipelines.media.streams import plan_streams
from pipelines.media.tracks import Window
from pipelines.media.truncation import check_end, check_index
from pipelines.media.video_filters import WARM_UP, temporal_steps

_SEEK_CHECKED_PACKETS = 3
_WHOLE_PICTURES = (
    "The picture is marked as interlaced but doesn't look it: it isn't deinterlaced. If it should be, set deinterlace."
)
_SKIPPED_CHUNKS = 64  # reading from the start for each of more would take longer than encoding


def preflight(source: Source, settings: TranscodeSettings, cutting: Cutting) -> TranscodePlan:
    """Plan a transcode: reads the headers, and every packet if the picture is to be encoded.

    Decodes nothing, but some of a picture that is marked as interlaced.

    Raises:
        SourceError: see ``probe`` and ``plan_streams``; SourceTruncatedError where the file was cut off.
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
    index = read_index(source, picture.source_index)
    if picture.video.telecine_rate is not None and not index.even:
        if settings.deinterlace == "telecine":
            raise ParamsError("Its pictures don't come at one rate: telecine can't be undone. Set deinterlace to on.")
        return preflight(source, settings.model_copy(update={"deinterlace": "on"}), cutting)
    check_end(plan, index.end_s, name_of(source))
    if plan.estimated_seconds is None:  # the header tells no duration
        frames = len(index.entries)
        seconds = round(picture_cost_s(picture.video, frames), 2)
        plan = plan.model_copy(update={"estimated_frames": frames, "estimated_seconds": seconds})
    obstacle = _obstacle(picture.video, index)
    if obstacle is not None:
        return plan.model_copy(update={"method": "serial", "reason": obstacle})
    return _with_chunks(source, plan, picture, index, cutting)


def _looked_at(source: Source, info: MediaInfo, settings: TranscodeSettings) -> TranscodeSettings:
    """Settings that say what becomes of the fields of a picture that is marked as interlaced."""
    if settings.deinterlace != "auto" or settings.video is None or info.video is None or not info.video.interlaced:
        return settings
    scan = look(source, info.video, info.duration_s)
    means: dict[Scan | None, Deinterlace] = {"progressive": "off", "unmarked": "on", "telecined": "telecine"}
    return settings.model_copy(update={"deinterlace": means.get(scan, "auto")})


def _obstacle(encode: VideoEncode, index: PacketIndex) -> str | None:
    """Why a picture can't be cut, or ``None``."""
    if encode.telecine_rate is not None:
        return "its telecine is undone, which leaves out a picture of five wherever it begins"
    if encode.settings.bitrate is not None:
        return "an average bit rate is kept over the whole film"
    return None if index.doubtful is None else f"it can't be cut: {index.doubtful}"


def _with_chunks(
    source: Source, plan: TranscodePlan, picture: StreamPlan, index: PacketIndex, cutting: Cutting
) -> TranscodePlan:
    assert picture.video is not None
    with open_input(source) as container:
        window = clock_of(container, plan).window(index.time_base)
        frames = sum(map(window.holds, index.times))
        rules = CutRules(
            cost_s=picture_cost_s(picture.video, frames),
            slots=cutting.slots,
            chunk_s=cutting.chunk_s,
            warm_up=WARM_UP if temporal_steps(picture.video) else 0,
        )
        chunks = cut(index, window, rules)
        seekable = not index.trimmed and _seeks_exactly(container, picture.source_index, index, chunks)
    if not seekable and len(chunks) > _SKIPPED_CHUNKS:
        chunk_s = _length_s(index, window) / _SKIPPED_CHUNKS
        chunks = cut(index, window, CutRules(rules.cost_s, 1, chunk_s, rules.warm_up))
    if len(chunks) < 2:
        return plan.model_copy(update={"method": "serial", "reason": "it is too short to be cut"})
    how = "by seeking" if seekable else "by reading from the start, since seeking isn't exact in it"
    reason = f"cut into {len(chunks)} chunks at frames, {how}"
    return plan.model_copy(
        update={"method": "chunk", "reason": reason, "chunks": chunks, "seeks": seekable, "estimated_frames": frames}
    )


def _length_s(index: PacketIndex, window: Window) -> float:
    times = [pts for pts in index.times if window.holds(pts)]
    return float((times[-1] - times[0]) * index.time_base)


def _seeks_exactly(container: InputContainer, stream_index: int, index: PacketIndex, chunks: Sequence[Chunk]) -> bool:
    """Seek to each keyframe that a chunk begins at: what is read there has to be what the index has there."""
    stream = container.streams[stream_index]
    places = {(entry.pts, entry.size_bytes): place for place, entry in enumerate(index.entries)}
    keyframes = {entry.pts: place for place, entry in enumerate(index.entries) if entry.keyframe}
    for pts in {chunk.key_pts for chunk in chunks if chunk.key_pts is not None}:
        try:
            container.seek(pts, stream=stream)
            packets = []
            for packet in packets_of(container, stream):
                packets.append((time_of(packet), packet.size))
                if len(packets) == _SEEK_CHECKED_PACKETS:
                    break
        except av.error.FFmpegError:
            return False
        found = places.get(packets[0]) if packets else None  # type: ignore[arg-type]  # a time that isn't there is None
        if found is None or found > keyframes[pts] or not index.entries[found].keyframe:
            return False
        expected = [(entry.pts, entry.size_bytes) for entry in index.entries[found : found + len(packets)]]
        if [packet for packet in packets if packet[1]] != expected:
            return False
    return True
