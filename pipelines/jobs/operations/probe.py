"""``probe``: what is in this file; if asked, what its packets and its decoded frames show, too."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from pipelines.jobs.catalogue import FreshParams, Operation, Outcome
from pipelines.jobs.models import Needs, Plan, Unit
from pipelines.jobs.workbench import Finished, Workbench
from pipelines.media.info import MediaInfo
from pipelines.media.probing.probe_result import AllSoundFindings, PacketFindings, PictureFindings, ProbeResult
from pipelines.media.probing.probe_spec import (
    ProbeSpec,
    packets_cost_s,
    picture_cost_s,
    picture_memory_bytes,
    sound_cost_s,
)

_HEADERS, _PACKETS, _PICTURE, _SOUND = "headers", "packets", "picture", "sound"
_PROBE = "pipelines.media.probing.probe:probe"
_MEMORY_BYTES = 256 << 20
_MOST_PICTURE_CPUS = 4
_SHOWN_SILENCES = 10
_SHOWN = {
    "video": (
        *("codec", "profile", "level", "width", "height", "display_width", "display_height", "sample_aspect_ratio"),
        *("pixel_format", "frame_rate", "average_frame_rate", "frames", "field_order", "color_range", "color_space"),
        *("color_transfer", "color_primaries", "hdr", "rotation_deg", "mirrored", "attached_picture"),
    ),
    "audio": ("codec", "profile", "sample_rate_hz", "channels", "channel_layout", "sample_format"),
    "subtitle": ("codec", "form"),
    "data": ("codec", "codec_tag"),
    "attachment": ("codec", "file_name", "media_type"),
}
_SHOWN_OF_ALL = ("language", "title", "dispositions", "bit_rate_bps", "start_s", "duration_s", "side_data")
_UNSHOWN = {"container", "streams", "chapters", "packets", "picture", "sound", "container_start_s"}


class ProbeParams(ProbeSpec, FreshParams):
    """Nothing but the headers, if not asked for more."""


def plan(bench: Workbench) -> Plan:
    if not (bench.params.packets or bench.params.deep):
        return Plan(units=(Unit(name=_HEADERS, needs=Needs(cpus=0, max_cpus=0, seconds=0.05)),))
    source = bench.sources[0]
    identity = bench.identity(source)
    info = bench.call(_PROBE, MediaInfo, source)
    units = [Unit(name=_PACKETS, needs=_needs(packets_cost_s(info)))]
    if bench.params.deep and info.audio:
        units.append(Unit(name=_SOUND, needs=_needs(sound_cost_s(info))))
    if bench.params.deep and info.video:
        seconds, memory_bytes = picture_cost_s(info), picture_memory_bytes(info)
        units.append(Unit(name=_PICTURE, needs=_needs(seconds, memory_bytes, most_cpus=_MOST_PICTURE_CPUS)))
    units.sort(key=lambda unit: -unit.needs.seconds)
    return Plan(
        units=tuple(units),
        shared={"info": info.model_dump(mode="json"), "identities": {source: identity.digest}},
        media_s=info.duration_s,
        explain={
            "reads": [unit.name for unit in units],
            "estimated_seconds": round(sum(unit.needs.seconds for unit in units), 3),
        },
    )


def _needs(seconds: float, memory_bytes: int = _MEMORY_BYTES, most_cpus: int = 1) -> Needs:
    short = seconds < 1
    return Needs(cpus=0 if short else 1, max_cpus=most_cpus, memory_bytes=memory_bytes, seconds=seconds)


def run(bench: Workbench, unit: Unit) -> BaseModel:
    source = bench.sources[0]
    if unit.name == _HEADERS:
        return bench.call(_PROBE, MediaInfo, source)
    info = MediaInfo.model_validate(bench.shared["info"])
    if unit.name == _PACKETS:
        return bench.call("pipelines.media.probing.packets:find_in_packets", PacketFindings, source, info=info)
    if unit.name == _SOUND:
        return bench.call("pipelines.media.probing.sound:listen", AllSoundFindings, source, info=info)
    function = "pipelines.media.probing.pictures:look_at_picture"
    return bench.call(function, PictureFindings, source, info=info, threads=max(1, bench.cpus))


def join(bench: Workbench, units: Mapping[str, Finished]) -> Outcome:
    headers = units[_HEADERS].manifest if _HEADERS in units else bench.shared["info"]
    parts = {name: unit.manifest for name, unit in units.items() if name != _HEADERS}
    result = ProbeResult.model_validate(headers | parts)
    found = (result.packets, result.picture, result.sound)
    warnings = [warning for part in found if part is not None for warning in part.warnings]
    return Outcome(result, warnings=warnings)


def _told(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a person reads: no number that only a program needs, and of long lists the beginning."""
    told = {name: value for name, value in result.items() if name not in _UNSHOWN}
    for stream in result.get("streams", ()):
        names = (*_SHOWN.get(stream["kind"], ()), *_SHOWN_OF_ALL)
        told[f"{stream['kind']} {stream['index']}"] = {name: stream[name] for name in names if stream.get(name)}
    if chapters := result.get("chapters"):
        told["chapters"] = [f"{chapter['start_s']:.3f} s {chapter['title'] or ''}".strip() for chapter in chapters]
    if packets := result.get(_PACKETS):
        streams = [stream for kind in ("video", "audio", "other") for stream in packets[kind]]
        told[_PACKETS] = {f"stream {stream['index']}": _gist(stream) for stream in streams}
    if picture := result.get(_PICTURE):
        told[_PICTURE] = _gist(picture)
    if sound := result.get(_SOUND):
        told[_SOUND] = {f"stream {track['index']}": _gist(track) for track in sound["tracks"]}
    return told


def _gist(part: Mapping[str, Any]) -> Mapping[str, Any]:
    told = {name: value for name, value in part.items() if name not in {"index", "warnings", "elapsed_s"}}
    if curve := told.get("curve"):
        told["curve"] = {"peak_bps": curve["peak_bps"], "peak_at_s": curve["peak_at_s"]}
    if silences := told.get("silences"):
        told["silences"] = [f"{each['start_s']:.1f}-{each['end_s']:.1f} s" for each in silences][:_SHOWN_SILENCES]
    return told


OPERATION = Operation(
    name="probe",
    summary="Tell what is in a file: container, streams, codecs, duration, colour, chapters and tags; if asked, "
    "groups of pictures and bit rates, and with decoding loudness, silences, fields, black bars and HDR10+.",
    params=ProbeParams,
    result=ProbeResult,
    plan=plan,
    run=run,
    join=join,
    kinds=frozenset({"video", "audio"}),
    interactive=True,
    told=_told,
    cached="metadata",
    libraries=("av",),
    examples=(
        {"sources": ["/films/example.mkv"], "params": {}},
        {"sources": ["/films/example.mkv"], "params": {"deep": True}},
    ),
)
