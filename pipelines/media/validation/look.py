"""What can be told of a file without decoding it: from its container, and from all its packets."""

from dataclasses import dataclass

from pipelines.media.errors import NotMediaError, SourceEmptyError, SourceUnreadableError
from pipelines.media.progress import OnProgress
from pipelines.media.source import Source, size_of
from pipelines.media.validation.containers.structure import check_structure
from pipelines.media.validation.finding_log import FindingLog
from pipelines.media.validation.other_files import other_kind
from pipelines.media.validation.report import Checked, StreamReport, kind_of
from pipelines.media.validation.scan import Scan, ScannedStream, scan, scan_end
from pipelines.media.validation.timeline import check_timelines, span

TAIL_S = 20.0  # of a file that isn't read whole, the end is
_TIMED = frozenset({"video", "audio"})


@dataclass(frozen=True)
class Looked:
    """``head`` are the packets that were read, ``tail`` those of the end where not all were and it can be gone to.

    Both are ``None`` if nothing opens.
    """

    checked: Checked
    head: Scan | None
    tail: Scan | None

    @property
    def whole(self) -> bool:
        return self.head is not None and self.head.whole

    @property
    def decodable(self) -> tuple[ScannedStream, ...]:
        """Streams of pictures and sound that there is a decoder for."""
        streams = () if self.head is None else self.head.streams
        return tuple(stream for stream in streams if stream.kind in _TIMED and stream.codec is not None)


def look(source: Source, on_progress: OnProgress, limit_bytes: int | None = None, tail_s: float = TAIL_S) -> Looked:
    """Look at ``source``; of more than ``limit_bytes`` only at what comes first, and at the last ``tail_s`` seconds.

    A file that can't be opened is a finding, and so is one that is something else.

    Raises:
        SourceNotFoundError, SourceUnsupportedError: there is no such file, or it isn't a regular one.
    """
    log = FindingLog()
    try:
        head = scan(source, on_progress, limit_bytes=limit_bytes)
    except SourceUnreadableError as error:
        if isinstance(error, NotMediaError) and (kind := other_kind(source)) is not None:
            log.add("not_media", evidence=kind)
            return Looked(Checked(findings=tuple(log)), None, None)
        log.add("unreadable", evidence=error.message)
        if not isinstance(error, SourceEmptyError):
            check_structure(source, None, log, limit_bytes)
        return Looked(Checked(findings=tuple(log)), None, None)
    size_bytes = size_of(source)
    check_structure(source, head.container, log, limit_bytes)
    check_timelines(head, size_bytes, log)
    tail = None
    if not head.to_end:
        tail = scan_end(source, on_progress, tail_s)
    if tail is not None:
        check_timelines(tail, size_bytes, log, head)
    looked = Looked(Checked(), head, tail)
    if not looked.decodable:
        log.add("no_media")
    for stream in head.streams:
        if stream.kind in _TIMED and stream.codec is None:
            log.add("no_decoder", stream.index)
    streams = tuple(_report(stream) for stream in head.streams)
    return Looked(Checked(findings=tuple(log), streams=streams), head, tail)


def _report(stream: ScannedStream) -> StreamReport:
    begin_s, end_s = span(stream)
    return StreamReport(
        index=stream.index,
        kind=kind_of(stream.kind),
        codec=stream.codec,
        packets=len(stream.sizes),
        size_bytes=sum(stream.sizes),
        begin_s=begin_s,
        end_s=end_s,
    )
