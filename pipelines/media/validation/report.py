"""What a validation tells: findings, what was read and decoded, and a verdict. The values that travel. Pure."""

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel

Severity = Literal["info", "warning", "error"]
Verdict = Literal["ok", "suspect", "broken", "not_media"]
Level = Literal["quick", "full"]
Kind = Literal["video", "audio", "subtitle", "data", "attachment", "unknown"]

_KEPT = 100  # findings; of each kind and stream there is one
_RANK: dict[Severity, int] = {"error": 0, "warning": 1, "info": 2}


class Finding(BaseModel, frozen=True, extra="forbid"):
    """One kind of fault in one stream, or in the file as a whole (``stream`` is ``None``).

    ``time_s`` is when it is met first and ``last_s`` when last, of ``count`` times, in seconds from the container's
    start, as far as known. ``evidence`` is what was read, or what a decoder said, the first time.
    """

    code: str
    severity: Severity
    message: str
    stream: int | None = None
    time_s: float | None = None
    last_s: float | None = None
    count: int = 1
    evidence: str | None = None


class StreamReport(BaseModel, frozen=True, extra="forbid"):
    """What was read and decoded of one stream. ``frames`` are pictures, or pieces of sound of ``samples`` in all.

    ``begin_s`` and ``end_s``: when it is shown, by its packets, from the container's start.
    """

    index: int
    kind: Kind
    codec: str | None = None
    packets: int = 0
    size_bytes: int = 0
    frames: int = 0
    samples: int = 0
    begin_s: float | None = None
    end_s: float | None = None


class Checked(BaseModel, frozen=True, extra="forbid"):
    """What one piece of the work came to; ``merge`` puts pieces together."""

    findings: tuple[Finding, ...] = ()
    streams: tuple[StreamReport, ...] = ()
    elapsed_s: float = 0.0


class ValidationResult(BaseModel, frozen=True, extra="forbid"):
    """A file's verdict: ``broken`` by an error, ``suspect`` by a warning, else ``ok``.

    ``not_media``: it is something else, by its content and by its name.

    ``findings``: the worst first, then by time; of more than a hundred kinds ``unlisted`` are left out.
    ``packets_read``: all of them, or the first GiB and, where a seek leads there, the last seconds (``part``).
    ``decoded``: all frames, the first and last of each stream (``edges``; of raw streams the first), or none.
    ``worked_s`` is the time it took, of all pieces together.
    """

    verdict: Verdict
    level: Level
    findings: tuple[Finding, ...]
    unlisted: int = 0
    streams: tuple[StreamReport, ...] = ()
    packets_read: Literal["all", "part", "none"] = "all"
    decoded: Literal["all", "edges", "none"] = "none"
    frames: int = 0
    samples: int = 0
    worked_s: float = 0.0


_KINDS: tuple[Kind, ...] = ("video", "audio", "subtitle", "data", "attachment")


def kind_of(name: str) -> Kind:
    """What a stream holds, by libav's word for what a stream holds."""
    return next((kind for kind in _KINDS if kind == name), "unknown")


def verdict_of(findings: Iterable[Finding]) -> Verdict:
    findings = tuple(findings)
    if any(finding.code == "not_media" for finding in findings):
        return "not_media"
    severities = {finding.severity for finding in findings}
    return "broken" if "error" in severities else "suspect" if "warning" in severities else "ok"


def verdict_warning(name: str, result: ValidationResult) -> tuple[str, ...]:
    """What is told of a file of that ``name`` that isn't whole, by the worst that was found; nothing of one that is."""
    if result.verdict == "ok":
        return ()
    worst = result.findings[0]
    if result.verdict == "not_media":
        return (f"{name} is {worst.evidence}, neither a film nor sound: there is nothing to validate.",)
    more = len(result.findings) + result.unlisted - 1
    others = f" And {more} more finding{'s' * (more != 1)}." if more else ""
    return (f"{name} is {result.verdict}: {worst.message}{others}",)


def folded(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """One finding for each code and stream, with the first and the last time, the worst first."""
    kinds: dict[tuple[str, int | None], Finding] = {}
    for finding in findings:
        key = (finding.code, finding.stream)
        kinds[key] = both(kinds[key], finding) if key in kinds else finding
    return tuple(sorted(kinds.values(), key=_order))


def listed(findings: tuple[Finding, ...]) -> tuple[tuple[Finding, ...], int]:
    """Those that are told, and how many aren't."""
    return findings[:_KEPT], max(0, len(findings) - _KEPT)


def both(one: Finding, other: Finding) -> Finding:
    """Two of one code and stream as one."""
    times = [time for each in (one, other) for time in (each.time_s, each.last_s) if time is not None]
    earlier = other if other.time_s is not None and (one.time_s is None or other.time_s < one.time_s) else one
    worse = one if _RANK[one.severity] <= _RANK[other.severity] else other
    return earlier.model_copy(
        update={
            "severity": worse.severity,
            "message": worse.message,
            "time_s": min(times, default=None),
            "last_s": max(times, default=None),
            "count": one.count + other.count,
        }
    )


def _order(finding: Finding) -> tuple[int, float, str, int]:
    time_s = -1.0 if finding.time_s is None else finding.time_s
    return _RANK[finding.severity], time_s, finding.code, -1 if finding.stream is None else finding.stream


def conclude(
    checked: Checked,
    *,
    level: Level,
    packets_read: Literal["all", "part", "none"],
    decoded: Literal["all", "edges", "none"],
) -> ValidationResult:
    """The result that merged pieces come to."""
    crashed = {finding.stream for finding in checked.findings if finding.code == "decoder_crashed"}
    tried = [stream for stream in checked.streams if decoded == "all" and stream.index not in crashed]
    lost = [stream for stream in tried if _gave_nothing(stream)]
    findings, unlisted = listed(folded((*checked.findings, *map(_nothing, lost))))
    return ValidationResult(
        verdict=verdict_of(findings),
        level=level,
        findings=findings,
        unlisted=unlisted,
        streams=checked.streams,
        packets_read=packets_read,
        decoded=decoded,
        frames=sum(stream.frames for stream in checked.streams if stream.kind == "video"),
        samples=sum(stream.samples for stream in checked.streams),
        worked_s=round(checked.elapsed_s, 3),
    )


def _gave_nothing(stream: StreamReport) -> bool:
    return stream.kind in {"video", "audio"} and stream.codec is not None and not stream.frames


def _nothing(stream: StreamReport) -> Finding:
    message = "Nothing in the stream decodes." if stream.packets else "The stream is empty."
    return Finding(code="nothing_decodes", severity="error", message=message, stream=stream.index)


def merge(pieces: Iterable[Checked]) -> Checked:
    """Findings folded, streams by index with their counts added up."""
    pieces = list(pieces)
    streams: dict[int, StreamReport] = {}
    for piece in pieces:
        for stream in piece.streams:
            known = streams.get(stream.index)
            streams[stream.index] = stream if known is None else _added(known, stream)
    return Checked(
        findings=folded(finding for piece in pieces for finding in piece.findings),
        streams=tuple(streams[index] for index in sorted(streams)),
        elapsed_s=sum(piece.elapsed_s for piece in pieces),
    )


def _added(one: StreamReport, other: StreamReport) -> StreamReport:
    update: dict[str, object] = {
        name: getattr(one, name) + getattr(other, name) for name in ("packets", "size_bytes", "frames", "samples")
    }
    for name in ("begin_s", "end_s", "codec"):
        if getattr(one, name) is None:
            update[name] = getattr(other, name)
    return one.model_copy(update=update)
