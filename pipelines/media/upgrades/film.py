"""What is seen of a film that is to be judged: headers, packets, the edges of its streams, windows of its picture."""

import time
from dataclasses import dataclass

from pipelines.media.errors import SourceError
from pipelines.media.info import MediaInfo
from pipelines.media.probing.probe import probe
from pipelines.media.progress import OnProgress
from pipelines.media.quality.quality import quality_of
from pipelines.media.quality.quality_spec import QualityResult, QualitySpec
from pipelines.media.source import Source, size_of
from pipelines.media.upgrades.upgrades_spec import READ_BYTES
from pipelines.media.validation.containers.file_bytes import file_bytes
from pipelines.media.validation.containers.mp4 import top_boxes
from pipelines.media.validation.finding_log import FindingLog
from pipelines.media.validation.look import Looked, look
from pipelines.media.validation.quick import validate_looked
from pipelines.media.validation.report import Finding

_BITS = 8


@dataclass(frozen=True)
class SeenFilm:
    """``errors``: what makes it broken. ``info`` is ``None`` where it can't be opened, ``quality`` where it's
    broken, or has no picture.

    ``picture_bytes``: of its picture's packets. ``group_frames``: the mean length of its groups of pictures.
    ``index_last``: an MP4 that a player has to seek in before it can begin.
    """

    size_bytes: int
    errors: tuple[Finding, ...]
    info: MediaInfo | None = None
    quality: QualityResult | None = None
    picture_bytes: int | None = None
    group_frames: float | None = None
    index_last: bool = False


def see(source: Source, on_progress: OnProgress) -> SeenFilm:
    """Look at ``source``: of more than 256 MiB of packets only those and the last, of its pictures some hundred.

    Raises:
        SourceNotFoundError, SourceUnsupportedError: there is no such file, or it isn't a regular one.
        LimitError: its pictures are too large.
    """
    started_s = time.monotonic()
    looked = look(source, lambda _: None, READ_BYTES)
    findings = validate_looked(source, looked, started_s).findings
    errors, size_bytes = tuple(each for each in findings if each.severity == "error"), size_of(source)
    try:
        info = probe(source)
    except SourceError:
        if not errors:
            raise
        return SeenFilm(size_bytes, errors)
    if errors or info.video is None:
        return SeenFilm(size_bytes, errors, info)
    picture_bytes, group_frames = _packets(info, looked)
    return SeenFilm(
        size_bytes=size_bytes,
        errors=(),
        info=info,
        quality=quality_of(source, QualitySpec(), 1, on_progress),
        picture_bytes=picture_bytes,
        group_frames=group_frames,
        index_last=info.container.startswith("mov") and _index_last(source),
    )


def _packets(info: MediaInfo, looked: Looked) -> tuple[int | None, float | None]:
    """Bytes of the picture, and the mean length of its groups; from a part of the packets, where not all were read."""
    video, head = info.video, looked.head
    if video is None or head is None or not len(head.streams[video.index]):
        return None, None
    stream = head.streams[video.index]
    group_frames = len(stream) / max(1, sum(stream.keys))
    if looked.whole:
        return sum(stream.sizes), group_frames
    if video.bit_rate_bps is not None and info.duration_s is not None:
        return round(video.bit_rate_bps * info.duration_s / _BITS), group_frames
    share = sum(stream.sizes) / sum(sum(each.sizes) for each in head.streams)
    return round(info.size_bytes * share), group_frames


def _index_last(source: Source) -> bool:
    with file_bytes(source, None) as data:
        kinds = [kind for kind, *_ in top_boxes(data, FindingLog()) if kind in {b"moov", b"mdat"}]
    return kinds[:1] == [b"mdat"] and b"moov" in kinds
