"""Decode all of a file: its picture in parts, which may be done beside each other, and the rest in one."""

from pathlib import Path

from pipelines.media.container_index import has_index
from pipelines.media.mux import write_errors
from pipelines.media.parts import Part
from pipelines.media.progress import OnProgress
from pipelines.media.source import Source, open_input
from pipelines.media.validation.cutting import cut, decode_cost_s, entrances
from pipelines.media.validation.decoding import check_part
from pipelines.media.validation.entering import opens
from pipelines.media.validation.hashing import FrameHashes
from pipelines.media.validation.look import Looked, look
from pipelines.media.validation.report import Checked, ValidationResult, conclude, merge
from pipelines.media.validation.scan import ScannedStream
from pipelines.media.validation.validate_spec import ValidationPlan

WHOLE_S = 2.0  # of work: less isn't worth a second process
_SOUND_BYTES_PER_S = 8e6  # decoded on one CPU: AAC


def validate_full(source: Source, threads: int, on_progress: OnProgress) -> ValidationResult:
    """Validate ``source`` by decoding all of it, one part after the other.

    Raises:
        SourceNotFoundError, SourceUnsupportedError: there is no such file, or it isn't a regular one.
    """
    plan = plan_validation(source, 1, on_progress)
    pieces = [check_part(source, part, threads, on_progress) for part in plan.parts]
    return conclude(
        merge([plan.looked, *pieces]),
        level="full",
        packets_read="all" if plan.packets_read else "none",
        decoded="all" if pieces else "none",
    )


def plan_validation(source: Source, slots: int, on_progress: OnProgress, whole_s: float = WHOLE_S) -> ValidationPlan:
    """Look at ``source`` and cut what is to be decoded into parts, for ``slots`` CPUs; not what takes ``whole_s``.

    Raises:
        SourceNotFoundError, SourceUnsupportedError: there is no such file, or it isn't a regular one.
    """
    looked = look(source, on_progress)
    parts, reason = parts_of(source, looked, slots, whole_s)
    return ValidationPlan(looked=looked.checked, parts=parts, packets_read=looked.head is not None, reason=reason)


def check_part_hashed(
    source: Source, part: Part, threads: int, hashes: Path | None, on_progress: OnProgress
) -> Checked:
    """Decode a part of ``source`` and tell what is wrong with it; write digests of its frames to ``hashes``.

    Raises:
        SourceError: see ``run_pass``.
    """
    if hashes is None:
        return check_part(source, part, threads, on_progress)
    digests = FrameHashes()
    checked = check_part(source, part, threads, on_progress, [digests])
    with write_errors():
        digests.write(hashes)
    return checked


def parts_of(source: Source, looked: Looked, slots: int, whole_s: float) -> tuple[tuple[Part, ...], str]:
    """The parts to decode, for ``slots`` CPUs, and why the picture is cut so; what takes ``whole_s`` isn't cut."""
    streams = looked.decodable
    if not streams:
        return (), "there is nothing to decode"
    whole = Part(streams=tuple(s.index for s in streams), cost_s=round(sum(map(_cost_s, streams)), 3))
    picture = next((stream for stream in streams if stream.kind == "video" and not stream.attached), None)
    if picture is None:
        return (whole,), "there is no picture to cut"
    whole = whole.model_copy(update={"frames": len(picture.sizes), "pixels": picture.pixels})
    if _cost_s(picture) <= whole_s:
        return (whole,), "it is short"
    parts = _cut(source, picture, slots)
    if len(parts) < 2:
        return (whole,), "its picture has no keyframe where another decoder could begin"
    rest = [stream for stream in streams if stream is not picture]
    if rest:
        cost_s = round(sum(map(_cost_s, rest)), 3)
        parts += (Part(streams=tuple(stream.index for stream in rest), cost_s=cost_s),)
    return parts, f"its picture is cut into {len(parts) - bool(rest)} parts at keyframes"


def _cost_s(stream: ScannedStream) -> float:
    size_bytes = sum(stream.sizes)
    if stream.kind == "video":
        return decode_cost_s(stream.pixels, len(stream.sizes), size_bytes)
    return size_bytes / _SOUND_BYTES_PER_S


def _cut(source: Source, picture: ScannedStream, slots: int) -> tuple[Part, ...]:
    """Parts that all begin where a decoder can: a keyframe may only be named so, or need what was before."""
    doors = entrances(picture)
    with open_input(source) as container:
        few = not has_index(container, container.streams[picture.index], [door.pts for door in doors])
    tried: dict[int | None, bool] = {}
    while True:
        parts = cut(picture, doors, slots, few=few)
        for part in parts[1:]:
            if part.key_pts not in tried:
                tried[part.key_pts] = opens(source, picture, part)
        closed = {pts for pts, opens in tried.items() if not opens}
        if not any(part.key_pts in closed for part in parts):
            return parts
        doors = [door for door in doors if door.pts not in closed]
