"""``transcode``: one file into another codec, size or container, its picture in chunks on every CPU."""

import hashlib
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from cluster.errors import ChildFailedError
from pipelines.jobs.build import build_id
from pipelines.jobs.catalogue import CommonParams, Made, Operation, Outcome
from pipelines.jobs.errors import InvalidError
from pipelines.jobs.models import Needs, Plan, Unit
from pipelines.jobs.workbench import Finished, Workbench
from pipelines.media.estimate import picture_memory_bytes, sound_cost_s
from pipelines.media.plan import Chunk, Cutting, StreamPlan, TranscodePlan
from pipelines.media.profiles import Profile, TranscodeParams, TranscodeSettings, merge
from pipelines.media.results import ChunkResult, EncodedChunk, EncodedSound, SoundResult, TranscodeResult

_FILM, _CHUNK, _SOUND = "film", "chunk", "sound"
_MEDIA_TYPES = {
    "mp4": "video/mp4",
    "mkv": "video/x-matroska",
    "webm": "video/webm",
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
}
_MEMORY_BYTES = 2 << 30  # SVT-AV1 at 1080p has 0.7 GB resident on many threads; larger pictures more
_SOUND_MEMORY_BYTES = 256 << 20
_MIN_HEAVY_S = 1.0  # encoders start threads and look ahead: never a thing for the interactive lane
_CHUNK_FILE = "chunk.nut"
_JOIN_BYTES_PER_S = 60e6
_MAX_SERIAL_CPUS = 16
_TOLD = (
    *("method", "reason", "chunks", "reused_chunks", "duration_s", "width", "height", "video_codec"),
    *("audio_codecs", "loudness", "decode_errors", "damaged_at_s"),
)
_JOINED_TWICE = 2  # a film lies in scratch as chunks and as a whole before it is published


class Params(TranscodeParams, CommonParams):
    """A profile, and what differs from it."""

    profile: str = Field("web-1080p", description="A profile's name; `mediaray profiles` lists them.")


def _profile(name: str, profiles: Mapping[str, Profile]) -> Profile:
    if name not in profiles:
        raise InvalidError(
            f"There is no profile {name!r}. There are: {', '.join(sorted(profiles))}.", "profile_unknown"
        )
    return profiles[name]


def suffix(params: Params, profiles: Mapping[str, Profile]) -> str:
    """Of the file that is made. Raises where profile and parameters don't go together."""
    return f".{_settings(params, profiles).container}"


def _settings(params: Params, profiles: Mapping[str, Profile]) -> TranscodeSettings:
    overrides = TranscodeParams.model_validate(params.model_dump(include=set(TranscodeParams.model_fields)))
    return merge(_profile(params.profile, profiles), overrides)


def plan(bench: Workbench) -> Plan:
    params: Params = bench.params
    source = bench.sources[0]
    identity = bench.identity(source)
    transcode = bench.call(
        "pipelines.media.preflight:preflight",
        TranscodePlan,
        source,
        settings=_settings(params, bench.profiles()),
        cutting=Cutting(slots=bench.slots, chunk_s=params.chunk_s),
    )
    scratch_bytes = _JOINED_TWICE * (transcode.estimated_size_bytes or 0)
    bench.check_space(scratch_bytes, transcode.estimated_size_bytes or 0, _read_share(transcode))
    chunked = transcode.method == "chunk"
    address = _Address(identity.digest, bench.settled_stamps(bench.sources), transcode)
    return Plan(
        units=_pieces(transcode, address) if chunked else (_film(transcode),),
        shared={
            "plan": transcode.model_copy(update={"chunks": ()}).model_dump(mode="json"),
            "identities": {source: identity.digest},
        },
        media_s=transcode.duration_s,
        join=_join_needs(transcode) if chunked else Plan.model_fields["join"].default,
        explain=_explain(transcode, scratch_bytes),
        warnings=transcode.warnings,
    )


def _read_share(transcode: TranscodePlan) -> float:
    """How much of the source is read, 0 to 1."""
    whole_s = transcode.source.duration_s
    return min(1.0, transcode.duration_s / whole_s) if transcode.duration_s and whole_s else 1.0


class _Address:
    """Addresses of pieces: whatever their bytes depend on. None for a source that may still be written.

    The stamp alone doesn't tell it: where a file system has no inode numbers of its own, they are drawn at each mount.
    """

    def __init__(self, identity: str, stamps: tuple[str, ...] | None, transcode: TranscodePlan) -> None:
        self._identity = identity
        self._stamps = stamps
        fields = {"start_s", "end_s", "container", "damage"}
        self._settings = transcode.model_dump_json(include=fields)

    def of(self, stream: StreamPlan, chunk: Chunk | None = None) -> str | None:
        if self._stamps is None:
            return None
        piece = "" if chunk is None else f"{chunk.number > 0} {chunk.model_dump_json(exclude={'number', 'cost_s'})}"
        version = (self._identity, *self._stamps)
        parts = (build_id("pieces"), *version, self._settings, stream.model_dump_json(exclude={"reason"}), piece)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _pieces(transcode: TranscodePlan, address: _Address) -> tuple[Unit, ...]:
    """A unit for each chunk and each sound track, the longest first: short ones fill the gaps at the end."""
    assert transcode.video is not None
    picture, original = transcode.video.video, transcode.source.video
    assert picture is not None
    assert original is not None
    memory_bytes = picture_memory_bytes(picture, original)
    units = [
        Unit(
            name=f"chunk-{chunk.number:04d}",
            needs=Needs(memory_bytes=memory_bytes, seconds=max(_MIN_HEAVY_S, chunk.cost_s)),
            payload={_CHUNK: chunk.model_dump(mode="json")},
            key=address.of(transcode.video, chunk),
        )
        for chunk in transcode.chunks
    ]
    units += [
        Unit(
            name=f"sound-{stream.source_index}",
            needs=Needs(
                memory_bytes=_SOUND_MEMORY_BYTES,
                seconds=max(_MIN_HEAVY_S, sound_cost_s(transcode.duration_s)),
            ),
            payload={_SOUND: stream.source_index},
            key=address.of(stream),
        )
        for stream in transcode.kept
        if stream.audio is not None
    ]
    return tuple(sorted(units, key=lambda unit: -unit.needs.seconds))


def _film(transcode: TranscodePlan) -> Unit:
    """The one unit of a transcode that isn't cut."""
    seconds = max(_MIN_HEAVY_S, transcode.estimated_seconds or _MIN_HEAVY_S)
    picture = transcode.video.video if transcode.video is not None else None
    if picture is None or transcode.source.video is None:
        return Unit(name=_FILM, needs=Needs(cpus=1, max_cpus=1, memory_bytes=_SOUND_MEMORY_BYTES, seconds=seconds))
    memory_bytes = max(_MEMORY_BYTES, picture_memory_bytes(picture, transcode.source.video))
    needs = Needs(cpus=0, max_cpus=_MAX_SERIAL_CPUS, memory_bytes=memory_bytes, seconds=seconds)
    return Unit(name=_FILM, needs=needs)


def _join_needs(transcode: TranscodePlan) -> Needs:
    size_bytes = (transcode.estimated_size_bytes or 0) + transcode.source.size_bytes
    seconds = 0.1 + size_bytes / _JOIN_BYTES_PER_S
    cpus = 0 if seconds < 1 else 1
    return Needs(cpus=cpus, max_cpus=cpus, memory_bytes=_SOUND_MEMORY_BYTES, seconds=seconds)


def _explain(transcode: TranscodePlan, scratch_bytes: int) -> dict[str, Any]:
    return {
        "container": transcode.container,
        "method": transcode.method,
        "reason": transcode.reason,
        "chunks": len(transcode.chunks),
        "streams": [decision.model_dump() for decision in transcode.decisions],
        "estimated_seconds": transcode.estimated_seconds,
        "estimated_size_bytes": transcode.estimated_size_bytes,
        "estimated_frames": transcode.estimated_frames,
        "scratch_bytes": scratch_bytes,
    }


def run(bench: Workbench, unit: Unit) -> BaseModel:
    transcode = _shared_plan(bench)
    source = bench.sources[0]
    if _CHUNK in unit.payload:
        chunk = Chunk.model_validate(unit.payload[_CHUNK])
        return bench.call(
            "pipelines.media.chunk:encode_chunk",
            ChunkResult,
            source,
            target=str(bench.scratch / _CHUNK_FILE),
            plan=transcode,
            chunk=chunk,
        )
    if _SOUND in unit.payload:
        return bench.call(
            "pipelines.media.sound:encode_sound",
            SoundResult,
            source,
            target=str(bench.scratch / _sound_file(transcode)),
            plan=transcode,
            source_index=unit.payload[_SOUND],
        )
    return bench.call(
        "pipelines.media.transcode:transcode_verified",
        TranscodeResult,
        source,
        target=str(bench.scratch / _film_file(transcode)),
        plan=transcode.model_copy(update={"threads": bench.cpus}),
    )


def _sound_file(transcode: TranscodePlan) -> str:
    return f"sound.{transcode.container}"


def _film_file(transcode: TranscodePlan) -> str:
    return f"{_FILM}.{transcode.container}"


def _shared_plan(bench: Workbench) -> TranscodePlan:
    return TranscodePlan.model_validate(bench.shared["plan"])


def join(bench: Workbench, units: Mapping[str, Finished]) -> Outcome | Plan:
    transcode = _shared_plan(bench)
    name = f"{bench.source_stem}.{transcode.container}"
    if _FILM in units:
        film = units[_FILM]
        result, folder = TranscodeResult.model_validate(film.manifest), film.folder
    else:
        try:
            result = _joined(bench, transcode, units)
        except ChildFailedError as error:
            if error.code != "output_invalid":
                raise
            return _serial_instead(bench, transcode, error)
        folder = bench.scratch
    made = Made(folder / _film_file(transcode), name, _MEDIA_TYPES[transcode.container])
    return Outcome(result.model_copy(update={"name": name}), (made,), result.warnings)


def _joined(bench: Workbench, transcode: TranscodePlan, units: Mapping[str, Finished]) -> TranscodeResult:
    pictures = [unit for unit in units.values() if _CHUNK in unit.payload]
    planned = sorted((Chunk.model_validate(unit.payload[_CHUNK]) for unit in pictures), key=lambda chunk: chunk.number)
    chunks = [EncodedChunk(path=unit.folder / _CHUNK_FILE, result=_chunk_result(unit)) for unit in pictures]
    sounds = [
        EncodedSound(path=unit.folder / _sound_file(transcode), result=SoundResult.model_validate(unit.manifest))
        for unit in units.values()
        if _SOUND in unit.payload
    ]
    result = bench.call(
        "pipelines.media.join:join",
        TranscodeResult,
        bench.sources[0],
        target=str(bench.scratch / _film_file(transcode)),
        plan=transcode.model_copy(update={"chunks": tuple(planned)}),
        chunks=[chunk.model_dump(mode="json") for chunk in chunks],
        sounds=[sound.model_dump(mode="json") for sound in sounds],
    )
    reused = sum(unit.reused for unit in pictures)
    return result.model_copy(update={"reused_chunks": reused})


def _chunk_result(unit: Finished) -> ChunkResult:
    """What came of a chunk, by its number in this plan: it may be taken over from one that was cut otherwise."""
    number = Chunk.model_validate(unit.payload[_CHUNK]).number
    return ChunkResult.model_validate(unit.manifest).model_copy(update={"number": number})


def _serial_instead(bench: Workbench, transcode: TranscodePlan, error: ChildFailedError) -> Plan:
    """What is done when the chunks don't make a film: the same in one pass."""
    warning = f"The chunks couldn't be joined ({error.message}) The film was encoded in one pass instead."
    serial = transcode.model_copy(
        update={
            "method": "serial",
            "reason": "its chunks couldn't be joined",
            "warnings": (*transcode.warnings, warning),
        }
    )
    return Plan(
        units=(_film(serial),),
        shared={**bench.shared, "plan": serial.model_dump(mode="json")},
        media_s=serial.duration_s,
        explain=_explain(serial, 0),
        warnings=serial.warnings,
        replanned=True,
    )


OPERATION = Operation(
    name="transcode",
    summary="Encode a film or a sound file to a profile: streams that conform are copied, the output is verified.",
    params=Params,
    result=TranscodeResult,
    plan=plan,
    run=run,
    join=join,
    output="file",
    suffix=suffix,
    told=lambda result: {name: result[name] for name in _TOLD if name in result},
    examples=(
        {
            "sources": ["/films/example.mkv"],
            "params": {"profile": "web-1080p", "output": "/films/example-web.mp4"},
        },
    ),
)
